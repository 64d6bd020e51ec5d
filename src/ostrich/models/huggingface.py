"""`hf:DIR` and `hf:ORG/NAME`: image classifiers of transformers, with their own preprocessing (extra `hf`).

A folder that exists wins over a name; a name is taken from the local cache, or downloaded. Nothing of the
folder is run: its classes are those of transformers. Its processor becomes what a `Classifier` is made of:

    size                height and width: both sides, as they are; shortest_edge: the shorter side
    crop_pct            the shorter side becomes size / crop_pct, and the centre is cropped (ConvNeXt from 384
                        pixels on: both sides, no crop)
    do_center_crop      the centre of crop_size
    do_rescale, do_normalize, rescale_offset, include_top      one mean and one standard deviation
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ostrich.errors import InputError, MissingExtra, first_line
from ostrich.images import LEVELS
from ostrich.models.asked import Asked, Builder, constructed, with_options
from ostrich.models.libraries import timm_facts

RESAMPLES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
LISTED = 4  # names of weights in a message
LEVIT = 256 / 224  # how much larger than the crop LeViT's images are


def hf_facts(spec: str, asked: Asked) -> dict[str, Any]:
    """What a `Classifier` of transformers is made of. Raises MissingExtra, InputError."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra(
            f"hf:{spec} needs transformers, which is not installed; "
            'install it with: pip install "ostrich-vision[hf]"'
        ) from error
    place, options = with_options(spec)
    folder = Path(place).is_dir()
    if folder and not (Path(place) / "config.json").is_file():
        raise InputError(f"hf:{place}: the folder has no config.json, as save_pretrained writes it.")
    if not folder and (place.startswith((".", "/", "~")) or place.count("/") > 1):
        raise InputError(f"hf:{place}: there is no such folder. hf: takes a folder or a name, ORG/NAME.")
    if "num_classes" in options:
        options["num_labels"] = options.pop("num_classes")
    transformers.logging.disable_progress_bar()
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.CRITICAL)  # its complaints come back as the exception
    try:
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=folder, **options)
        if config.model_type == "timm_wrapper":
            return timm_facts(f"{'local-dir' if folder else 'hf-hub'}:{spec}", asked)
        judged = head_remarks(f"hf:{spec}", vars(config).get("problem_type"), asked.output)
        auto = transformers.AutoModelForImageClassification
        if asked.own_weights:
            network = constructed(f"hf:{spec}", lambda: auto.from_config(config))
        else:
            network, loading = auto.from_pretrained(
                place,
                config=config,
                local_files_only=folder,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
            _refuse_random_weights(f"hf:{spec}", loading)
        if folder and not any((Path(place) / name).is_file() for name in PROCESSORS):
            prepared = _unknown_processor(config)
        else:
            processor = transformers.AutoImageProcessor.from_pretrained(place, local_files_only=folder)
            prepared = processor_facts(f"hf:{place}", processor.to_dict())
    except InputError:
        raise
    except Exception as error:  # transformers fails with its own exceptions, the hub's and the system's
        reason = first_line(error)
        raise InputError(f"hf:{place} cannot be had: {_way_out(folder, reason)}") from error
    finally:
        hub.setLevel(level)

    def build(classes: int) -> nn.Module:
        other = transformers.AutoConfig.from_pretrained(place, local_files_only=folder, num_labels=classes)
        return auto.from_config(other)

    return {
        "network": network,
        **({} if "num_labels" in options else {"builder": Builder(classes=config.num_labels, build=build)}),
        **prepared,
        "told": {**prepared.get("told", {}), **judged},
        "class_names": label_names(config.id2label),
        "source": f"transformers {type(network).__name__}",
    }


def head_remarks(name: str, problem: str | None, output: str | None) -> dict[str, str]:
    """What is told of a head that was trained for a `problem`, as transformers' configurations name it.

    `output` is --output. Raises InputError for regression, and for several labels at once unless the largest
    score is asked for.
    """
    if problem == "regression":
        raise InputError(
            f"{name} is a regression, as its config says: it returns amounts, not scores of classes. Where a "
            "threshold makes classes of them, write that into a PATH.py:FUNCTION."
        )
    if problem != "multi_label_classification":
        return {}
    if "logits" not in [word.strip() for word in (output or "").split(",")]:
        raise InputError(
            f"{name} was trained for several labels at once, as its config says: several classes can be true "
            "at once, or none. To judge the largest as the one answer, say --output logits (in Python: "
            "output='logits')."
        )
    return {"labels": "trained for several at once, of which the largest is taken: several can be true"}


def _refuse_random_weights(name: str, loading: Mapping[str, Any]) -> None:
    """Refuse a network some of whose weights are not in the folder, as the head of a backbone.

    `loading` is what transformers says of it. Counters of batch norm may be missing: none is asked for.
    """
    sizes = {one[0] if isinstance(one, tuple) else one for one in loading["mismatched_keys"]}
    drawn = sorted(
        {one for one in loading["missing_keys"] if not one.endswith("num_batches_tracked")} | sizes
    )
    if drawn:
        listed = ", ".join(drawn[:LISTED]) + (", ..." if len(drawn) > LISTED else "")
        raise InputError(
            f"{name} is published without {listed}, or in other sizes: transformers draws these at random. "
            "A backbone returns features, not scores; with a head of its own, give --weights FILE."
        )


def _unknown_processor(config: Any) -> dict[str, Any]:
    """What stands in for a processor that was not saved: the input size alone, and that it is so."""
    side = config.to_dict().get("image_size")
    return {
        "size": _side_pair(side) if not isinstance(side, list | tuple) else tuple(side),
        "told": {
            "preprocessing": "the folder has no preprocessor_config.json: nothing is normalised but by "
            "--mean and --std, and pictures are resized as --size, or --resize and --crop, say"
        },
    }


def _way_out(folder: bool, reason: str) -> str:
    if folder:
        return f"{reason} An image classifier as save_pretrained writes it is expected."
    return (
        f"{reason} Without a network, copy its folder here (hf download ORG/NAME --local-dir DIR) and name "
        "hf:DIR."
    )


def label_names(id2label: Mapping[Any, Any] | None) -> tuple[str, ...] | None:
    """The names of `id2label`; None where they are only numbers, LABEL_0."""
    if not id2label:
        return None
    numbered = {int(number): str(name) for number, name in id2label.items()}
    if sorted(numbered) != list(range(len(numbered))):
        return None
    names = tuple(numbered[i] for i in range(len(numbered)))
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names


def processor_facts(name: str, processor: Mapping[str, Any]) -> dict[str, Any]:
    """Size, resize, interpolation, mean and std of an image processor's settings. Raises InputError."""
    if processor.get("do_flip_channel_order") or processor.get("do_pad"):
        what = "flips" if processor.get("do_flip_channel_order") else "pads"
        raise InputError(
            f"{name}: its processor {what} images, which is not done here. Write a file with a function that "
            "returns a Module which does it, and name that as PATH.py:FUNCTION."
        )
    resample = processor.get("resample")
    if resample is not None and int(resample) not in RESAMPLES:
        raise InputError(
            f"{name}: its processor resamples as Pillow's number {resample}, which is not done "
            f"here. Load it in a PATH.py:FUNCTION, and say --interpolation {'|'.join(RESAMPLES.values())}."
        )
    size, resize = _sizes(name, processor)
    mean, std = _normalisation(processor)
    return {
        "size": size,
        "resize": resize,
        "interpolation": RESAMPLES[int(resample)] if resample is not None else "bilinear",
        "mean": mean,
        "std": std,
    }


def _sizes(
    name: str, processor: Mapping[str, Any]
) -> tuple[tuple[int, int] | None, int | tuple[int, int] | None]:
    """The input (H, W), and what pictures are resized to before the crop."""
    crop = _side_pair(processor.get("crop_size")) if processor.get("do_center_crop") else None
    if not processor.get("do_resize", True):
        return crop, None
    asked = processor.get("size") or {}
    both, shorter = _side_pair(asked), None
    if isinstance(asked, int):
        both, shorter = None, asked
    elif "shortest_edge" in asked:
        both, shorter = None, int(asked["shortest_edge"])
    if both is None and shorter is None:
        raise InputError(f"{name}: its processor resizes to {asked}, which is not done here.")
    kind, part = str(processor.get("image_processor_type", "")), processor.get("crop_pct")
    if kind.startswith("Levit") and shorter is not None:
        shorter = int(LEVIT * shorter)
    elif part and crop is None and shorter is not None:  # ConvNeXt
        crop = (shorter, shorter)
        both, shorter = (None, int(shorter / part)) if shorter < 384 else (crop, None)
    elif part and crop is not None:  # PoolFormer
        shorter, both = int((shorter or min(both or crop)) / part), None
    if both is not None:
        return crop or both, both
    return crop or ((shorter, shorter) if shorter is not None else None), shorter


def _side_pair(found: Any) -> tuple[int, int] | None:
    if isinstance(found, int):
        return found, found
    if isinstance(found, Mapping) and found.get("height") and found.get("width"):
        return int(found["height"]), int(found["width"])
    return None


def _normalisation(processor: Mapping[str, Any]) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """What is done with a value in 0..255, as one mean and standard deviation of it in [0, 1]."""
    factor = processor.get("rescale_factor", 1 / LEVELS) if processor.get("do_rescale", True) else 1.0
    mean, std = [0.0], [1.0]  # (value - mean) / std, of the value after the factor
    if processor.get("rescale_offset"):
        mean = [1.0]
    if processor.get("do_normalize"):
        means, stds = _numbers(processor["image_mean"]), _numbers(processor["image_std"])
        mean, std = [m + mean[0] for m in means], stds
        if processor.get("include_top"):  # EfficientNet divides once more
            std = [s * s for s in stds]
    scale = factor * LEVELS
    mean, std = [m / scale for m in mean], [s / scale for s in std]
    if all(abs(m) < 1e-12 for m in mean) and all(abs(s - 1) < 1e-9 for s in std):
        return None, None
    return tuple(mean), tuple(std)


def _numbers(values: Any) -> list[float]:
    return [float(values)] if isinstance(values, int | float) else [float(v) for v in values]
