"""`load`: a classifier from a MODEL spec (`named.FORMS` lists them), or of one's own network or function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ostrich.errors import InputError
from ostrich.models.asked import Asked, Builder
from ostrich.models.cards import card_of
from ostrich.models.checkpoints import Checkpoint
from ostrich.models.class_names import given_class_names
from ostrich.models.classifier import Classifier
from ostrich.models.exported import settled
from ostrich.models.named import FORMS, named_facts, own_facts
from ostrich.models.preprocessing import Numbers, Preprocessing, Size
from ostrich.models.quantised import is_quantised
from ostrich.runtime import events


def load(
    model: str | nn.Module | Callable[[torch.Tensor], Any],
    *,
    weights: str | Path | None = None,
    rename: Sequence[tuple[str, str]] = (),
    drop: Sequence[str] = (),
    ema: bool | None = None,
    mean: Numbers = None,
    std: Numbers = None,
    size: Size = None,
    resize: Size = None,
    crop: Size = None,
    interpolation: str | None = None,
    classes: str | Path | Sequence[str] | Mapping[int, str] | None = None,
    output: str | None = None,
    draws: int | None = None,
    device: str | torch.device | None = None,
) -> Classifier:
    """The classifier that `model` names, in evaluation mode; or of a network or function of your own.

    A function takes images (N, C, H, W) in [0, 1] and returns scores (N, K) or labels (N,). Your own network
    stays where it is unless `device` says otherwise, in the mode it is in; it is asked in evaluation mode.
    `weights` is a safetensors or torch file, read without running anything of it; `rename` pairs (old, new)
    of text in its names, `drop` patterns of names to leave out, `ema` whether averaged weights are taken
    where there are others (None: they are). Where the head in the file has another number of classes, so has
    the network. Beside weights of `ostrich train` lies a card, from which their mean, std and class names
    are taken; remarks say so. `mean` and `std` are per channel of images in [0, 1]; `size` N or HxW is a
    plain resize, `resize` and `crop` (N or HxW) with `interpolation` the published kind; `classes` names,
    a mapping of numbers to them, or a file: each replaces what the model brings. `draws` is how often a
    network whose answers are random is asked; None: 20 times. `output` chooses among several outputs by name
    or place, and says what one output is: "logit", "sigmoid"; "logits" takes the largest of independent
    sigmoids for the answer.
    Raises InputError: wrong names, weights that do not fit, a network whose answers cannot be read as scores.
    """
    if weights is None and (rename or drop or ema is not None):
        raise InputError("--rename, --drop and --ema are about a weights file; give it with --weights FILE.")
    checkpoint = None if weights is None else Checkpoint(weights, rename, drop, ema)
    asked = Asked(own_weights=weights is not None, checkpoint=checkpoint, output=output)
    facts = named_facts(model, asked) if isinstance(model, str) else _own(model, asked)
    if (trained := facts.pop("weights", None)) is not None and checkpoint is None:
        checkpoint = Checkpoint(trained)
    if checkpoint is not None:
        if not isinstance(facts["network"], nn.Module):
            raise InputError(f"{model} is only a prediction function: it takes no weights.")
        facts = _as_its_card_says(_filled(facts, checkpoint), checkpoint.path, mean, std, classes)
    chosen = Preprocessing(
        size=size, resize=resize, crop=crop, interpolation=interpolation, mean=mean, std=std
    )
    facts = chosen.over(facts)
    if classes is not None:
        facts["class_names"] = given_class_names(classes)
    network = facts["network"] = settled(facts["network"])
    if isinstance(network, nn.Module):
        if isinstance(model, str):
            network.eval()
        if isinstance(model, str) or device is not None:
            network.to(torch.device("cpu") if is_quantised(network) else pick_device(device or "auto"))
    for used in ("builder", "takes_bytes"):
        facts.pop(used, None)
    classifier = Classifier(output=output, draws=draws, **{"name": model, **facts})
    if classifier.size is not None:
        classifier.probe()
    events.detail(_described(classifier))
    return classifier


def _filled(facts: dict[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """The facts with the weights of a file in the network, which gets the file's head."""
    network: nn.Module = facts["network"]
    told: dict[str, str] = dict(facts.get("told", {}))
    builder: Builder | None = facts.get("builder")
    count = None if builder is None else checkpoint.other_classes(network, builder.classes)
    if builder is not None and count is not None:
        network = builder.build(count)
        told["classes"] = f"{count}, as the head in the weights file has"
        facts = {**facts, "network": network, "class_names": None}
    checkpoint.load_into(network)
    names = checkpoint.class_names(_outputs(network))
    return {**facts, **({"class_names": names} if names else {}), "told": {**told, **checkpoint.remarks}}


def _outputs(network: nn.Module) -> int:
    """The classes of a network, as its last tensor has them."""
    tensors = [v for v in network.state_dict().values() if isinstance(v, torch.Tensor) and v.ndim]
    return len(tensors[-1])


def _as_its_card_says(facts: dict[str, Any], weights: Path, *given: object) -> dict[str, Any]:
    """The facts with what the card beside weights of `ostrich train` says, where it is not `given`."""
    card = card_of(weights)
    if card is None:
        return facts
    said = {key: card[key] for key, chosen in zip(("mean", "std", "class_names"), given) if chosen is None}
    if len(card["class_names"]) != _outputs(facts["network"]):
        said.pop("class_names", None)
    told = {}
    for key, values in said.items():
        shown = ", ".join([*map(str, values[:4]), *(["..."] if len(values) > 4 else [])])
        told[key.replace("_", " ")] = f"{shown}, as the card beside the weights says"
    return {**facts, **said, "told": {**facts.get("told", {}), **told}}


def _described(classifier: Classifier) -> str:
    """What was loaded, in a sentence."""
    network = classifier.network
    what = "a function"
    if isinstance(network, nn.Module):
        what = f"{sum(p.numel() for p in network.parameters()):,} parameters"
    size = "any size" if classifier.size is None else "{}x{}".format(*classifier.size)
    return f"network {classifier.name}: {what}, images of {size}, on {classifier.device}"


def _own(model: object, asked: Asked) -> dict[str, Any]:
    """A network or function of the user's own."""
    if isinstance(model, Classifier):
        raise InputError(f"{model.name} is loaded already; give its network: model.network.")
    if isinstance(model, type) or not callable(model):
        raise InputError(
            f"A model is a torch.nn.Module, a function from images (N, C, H, W) to scores (N, K) or labels "
            f"(N,), or text, one of {', '.join(FORMS)}; got {model!r}."
        )
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "function")
    return {"network": model, "name": name, **own_facts(name, model, asked)}


def pick_device(device: str | torch.device) -> torch.device:
    """auto, cpu or cuda as a device that exists; one that is picked already stays as it is."""
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise InputError(f"A device is auto, cpu or cuda; got {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA device here; use --device cpu.")
    return torch.device(device)
