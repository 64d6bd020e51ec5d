"""Networks of torchvision and timm by name, with their published weights and preprocessing.

Each function returns what a `Classifier` is made of. Preprocessing is the published one: resize of
the shorter side (or of both, where the library squashes), interpolation, centre crop, mean and
standard deviation.
"""

from __future__ import annotations

import math
from typing import Any

from ostrich.errors import InputError, MissingExtra, UnknownName
from ostrich.images import INTERPOLATIONS


def torchvision_facts(name: str, own_weights: bool) -> dict[str, Any]:
    """`torchvision:NAME`. Raises UnknownName, and InputError where the weights cannot be had."""
    from torchvision import models as tv

    known = tv.list_models(module=tv)
    if name not in known:
        raise UnknownName("model", f"torchvision:{name}", [f"torchvision:{n}" for n in known])
    published = tv.get_model_weights(name).DEFAULT
    preset = published.transforms()
    if own_weights:
        network = tv.get_model(name, weights=None)
    else:
        try:
            network = tv.get_model(name, weights=published)
        except OSError as error:
            raise InputError(
                f"The weights of torchvision:{name} cannot be downloaded ({error}). "
                "Give a file with --weights FILE."
            ) from None
    return {
        "network": network,
        "size": (preset.crop_size[0], preset.crop_size[0]),
        "resize": preset.resize_size[0],
        "interpolation": preset.interpolation.value,
        "mean": preset.mean,
        "std": preset.std,
        "class_names": published.meta["categories"],
        "source": f"torchvision {published.meta.get('recipe', '')}".strip(),
    }


def timm_facts(name: str, own_weights: bool) -> dict[str, Any]:
    """`timm:NAME` or `timm:NAME.TAG`. Raises MissingExtra, UnknownName, and InputError without weights."""
    try:
        import timm
    except ImportError as error:
        raise MissingExtra(
            f"timm:{name} needs timm, which is not installed; "
            'install it with: pip install "ostrich-vision[zoo]"'
        ) from error
    known = {*timm.list_models(), *timm.list_models(pretrained=True)}
    if name not in known:
        raise UnknownName("model", f"timm:{name}", [f"timm:{n}" for n in sorted(known)])
    published = timm.models.get_pretrained_cfg(name)
    has_weights = name in timm.list_models(pretrained=True) or timm.models.is_model_pretrained(name)
    if not own_weights and not has_weights:
        raise InputError(f"timm publishes no weights for {name}. Give a file with --weights FILE.")
    if published is not None and not published.num_classes:
        raise InputError(f"timm:{name} is published without classes: it returns features, not scores.")
    try:
        network = timm.create_model(name, pretrained=not own_weights)
    except Exception as error:  # the hub's client fails with its own exceptions, httpx's and the system's
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"The weights of timm:{name} cannot be downloaded ({reason[0]}). Give a file with --weights FILE."
        ) from None
    return {"network": network, **timm_preprocessing(name, vars(network)["pretrained_cfg"])}


def timm_preprocessing(name: str, published: dict[str, Any]) -> dict[str, Any]:
    """Size, resize, interpolation, mean, std and class names of a timm `pretrained_cfg`.

    As timm's evaluation transform: the shorter side becomes floor(size / crop_pct), both sides
    where the crop mode is "squash".
    """
    size = tuple(published["input_size"][1:])
    mode, interpolation = published.get("crop_mode") or "center", published.get("interpolation") or "bicubic"
    if mode not in ("center", "squash") or interpolation not in INTERPOLATIONS:
        raise InputError(
            f"timm:{name} is published with crop mode {mode!r} and {interpolation!r} interpolation, which "
            f"is not done here. Wrap it as PATH.py:FUNCTION and give its --size, --mean and --std."
        )
    scaled = tuple(math.floor(side / (published.get("crop_pct") or 0.875)) for side in size)
    return {
        "size": size,
        "resize": scaled if mode == "squash" or size[0] != size[1] else scaled[0],
        "interpolation": interpolation,
        "mean": published["mean"],
        "std": published["std"],
        "class_names": _class_names(published),
        "source": f"timm {published.get('tag', '')}".strip(),
    }


def _class_names(published: dict[str, Any]) -> tuple[str, ...] | None:
    """Names where the labels are a known part of ImageNet; of its thousand classes, torchvision's."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(published)
    if subset is None:
        return None
    if subset == "imagenet-1k":
        from torchvision.models import ResNet18_Weights

        return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(i).split(",")[0] for i in range(info.num_classes()))
