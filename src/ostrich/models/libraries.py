"""Networks of torchvision and timm by name, with their published weights and preprocessing.

Each function returns what a `Classifier` is made of. Preprocessing is the published one: resize of
the shorter side (or of both, where the library squashes), interpolation, centre crop, mean and
standard deviation; for weights from a file a network is built as the library builds it for the published.
Options after the name go to the library's constructor; with `classes=K` other than the published number the
network is untrained, unless weights come from a file.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ostrich.errors import InputError, MissingExtra, UnknownName
from ostrich.images import INTERPOLATIONS
from ostrich.models.asked import Asked, Builder, constructed, count_of_classes, with_options
from ostrich.models.published_weights import followed, side_of

WORDNET = re.compile(r"n\d{8}")  # ids, which are no names
# weights=... sets transform_input, in torchvision/models/NAME.py; and what the heads are called that only
# training needs, which the published networks come without.
TRANSFORMED = {"googlenet": "aux1", "inception_v3": "AuxLogits"}
TRANSFORMER = "vit_"  # weights=... sets image_size
PLACES = ("local-dir", "hf-hub")  # where timm finds networks that are not its own


def torchvision_facts(spec: str, asked: Asked) -> dict[str, Any]:
    """`torchvision:NAME`. Raises UnknownName, and InputError where the weights cannot be had."""
    from torchvision import models as tv

    name, options = with_options(spec)
    known = tv.list_models(module=tv)
    if name not in known:
        raise UnknownName("model", f"torchvision:{name}", [f"torchvision:{n}" for n in known])
    entries = tv.get_model_weights(name)
    side = options.get("image_size", side_of(asked.checkpoint)) if name.startswith(TRANSFORMER) else None
    published, why = followed(entries, entries.DEFAULT, asked.checkpoint, side)
    preset, names = published.transforms(), published.meta["categories"]
    count = count_of_classes(f"torchvision:{spec}", options, len(names))
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    if type(side) is int and side != crop:
        crop, resize, why = side, math.floor(side * resize / crop), f"at {side} pixels"
    options, told = _as_built(spec, options, asked, crop)
    if why is not None:
        told["preprocessing"] = f"as published for {published.name}, {why}; options change it"
    head = _head(options, count, len(names), asked, lambda k: make(num_classes=k))

    def make(**more: Any) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # on how untrained ones are initialised
            return tv.get_model(name, **{"weights": None, **options, **more})

    if asked.own_weights or count != len(names):
        network = constructed(f"torchvision:{spec}", make)
    else:
        try:
            network = constructed(f"torchvision:{spec}", lambda: make(weights=published))
        except OSError as error:
            raise InputError(
                f"The weights of torchvision:{name} cannot be downloaded ({error}). "
                "Give a file with --weights FILE."
            ) from None
    return {
        "network": network,
        **head,
        "told": {**told, **head.get("told", {})},
        "size": (crop, crop),
        "resize": resize,
        "interpolation": preset.interpolation.value,
        "mean": preset.mean,
        "std": preset.std,
        "class_names": names if count == len(names) else None,
        "source": f"torchvision {published.meta.get('recipe', '')}".strip(),
    }


def _as_built(
    spec: str, options: dict[str, Any], asked: Asked, side: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """The options with those that the library's builder adds for published weights, and what is told."""
    name, added, told = with_options(spec)[0], {}, {}
    if name.startswith(TRANSFORMER):
        added["image_size"] = side
    if name in TRANSFORMED and asked.own_weights:
        added["transform_input"] = True
        told["input"] = (
            "brought to mean 0.5 and deviation 0.5 within the network, as by the published one; "
            f"of weights trained without that: torchvision:{spec},transform_input=false"
        )
    if name in TRANSFORMED and asked.checkpoint is not None:
        head = f"{TRANSFORMED[name]}."
        added["aux_logits"] = any(head in entry for entry in asked.checkpoint.entries)
    return {**added, **options}, {} if "transform_input" in options else told


def _head(
    options: dict[str, Any], count: int, published: int, asked: Asked, build: Callable[[int], nn.Module]
) -> dict[str, Any]:
    """How to build another head, where its size was not said; and that one without weights is untrained."""
    if "num_classes" not in options:
        return {"builder": Builder(classes=count, build=build)}
    if count == published or asked.own_weights:
        return {}
    return {"told": {"weights": f"untrained: none are published for {count} classes; --weights FILE"}}


def timm_facts(spec: str, asked: Asked) -> dict[str, Any]:
    """`timm:NAME`, `timm:NAME.TAG`, `timm:local-dir:DIR`, `timm:hf-hub:NAME`.

    Raises MissingExtra, UnknownName, and InputError without weights.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtra(
            f"timm:{spec} needs timm, which is not installed; "
            'install it with: pip install "ostrich-vision[zoo]"'
        ) from error
    name, options = with_options(spec)
    place, _, rest = name.partition(":")
    elsewhere = place in PLACES
    if place == "local-dir" and not (Path(rest) / "config.json").is_file():
        raise InputError(
            f"timm:{name}: {rest!r} is no folder with a config.json, as timm's push_to_hf_hub and "
            "save_for_hf write them."
        )
    known = {*timm.list_models(), *timm.list_models(pretrained=True)}
    if not elsewhere and name not in known:
        raise UnknownName("model", f"timm:{name}", [f"timm:{n}" for n in sorted(known)])
    published = None if elsewhere else timm.models.get_pretrained_cfg(name)
    headless = InputError(f"timm:{name} is published without classes: it returns features, not scores.")
    if published is not None and not published.num_classes:
        raise headless
    count = count_of_classes(f"timm:{spec}", options, published.num_classes if published else 1000)
    other_head = published is not None and count != published.num_classes
    pretrained = not asked.own_weights and not other_head
    if pretrained and not elsewhere and not _has_weights(name):
        raise InputError(f"timm publishes no weights for {name}. Give a file with --weights FILE.")

    def make(**more: Any) -> nn.Module:
        return timm.create_model(name, **{"pretrained": False, **options, **more})

    network = _downloaded(f"timm:{spec}", lambda: make(pretrained=pretrained))
    own = vars(network)
    found = own["pretrained_cfg"]
    found = found if isinstance(found, dict) else found.to_dict()
    standard = int(found["num_classes"])
    classes = int(own.get("num_classes", standard))
    if not classes:
        raise headless
    head = _head(options, classes, standard, asked, lambda k: make(num_classes=k))
    return {"network": network, **head, **timm_preprocessing(name, found, options, classes)}


def _has_weights(name: str) -> bool:
    import timm

    return name in timm.list_models(pretrained=True) or timm.models.is_model_pretrained(name)


def _downloaded(model: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return constructed(model, make)
    except InputError:
        raise
    except Exception as error:  # the hub's client fails with its own exceptions, httpx's and the system's
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"The weights of {model} cannot be downloaded ({reason[0]}). Give a file with --weights FILE."
        ) from None


def timm_preprocessing(
    name: str, published: dict[str, Any], options: dict[str, Any] | None = None, classes: int | None = None
) -> dict[str, Any]:
    """Size, resize, interpolation, mean, std and class names of a timm `pretrained_cfg`.

    As timm's evaluation transform: the shorter side becomes floor(size / crop_pct), both sides
    where the crop mode is "squash"; what is not square is covered, and refused where crop_pct is not 1.
    `options` are those of the constructor (`img_size`, `in_chans`), and
    `classes` is the number of classes, where it is another one.
    """
    options = options or {}
    side = options.get("img_size")
    size = (side, side) if isinstance(side, int) else tuple(published["input_size"][1:])
    mode, interpolation = published.get("crop_mode") or "center", published.get("interpolation") or "bicubic"
    share, square = published.get("crop_pct") or 0.875, size[0] == size[1]
    known = mode == "squash" or (mode == "center" and (square or share == 1))
    if not known or interpolation not in INTERPOLATIONS:
        raise InputError(
            f"timm:{name} is published with crop mode {mode!r} ({share:.4g} of {size[0]}x{size[1]} pixels) "
            f"and {interpolation!r} interpolation, which is not done here. Wrap it as PATH.py:FUNCTION and "
            "give its --size, --mean and --std."
        )
    scaled = tuple(math.floor(side / share) for side in size)
    channels = options.get("in_chans", len(published["mean"]))
    mean, std = (_for_channels(published[what], channels) for what in ("mean", "std"))
    names = _class_names(published)
    return {
        "size": size,
        "resize": scaled if mode == "squash" else scaled[0] if square else None,
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
        "class_names": names if names is None or classes in (None, len(names)) else None,
        "source": f"timm {published.get('tag') or ''}".strip(),
    }


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Of another number of channels, their mean for each, as timm averages the weights of the first layer."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _class_names(published: dict[str, Any]) -> tuple[str, ...] | None:
    """Names of its own; or where the labels are a known part of ImageNet; of its thousand, torchvision's."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    own = tuple(map(str, published.get("label_names") or ()))
    if own and not all(WORDNET.fullmatch(name) for name in own):
        return own
    subset = infer_imagenet_subset(published)
    if subset is None:
        return None
    if subset == "imagenet-1k":
        from torchvision.models import ResNet18_Weights

        return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(i).split(",")[0] for i in range(info.num_classes()))
