"""`load`: a classifier from a MODEL spec.

zoo:NAME                  ours, trained: weights and card in `models/zoo/`
arch:NAME[,option=value]  ours, untrained unless weights are given
torchvision:NAME          torchvision's, with its published preprocessing
timm:NAME                 timm's, likewise (extra `zoo`)
PATH.py:FUNCTION          anyone's: the function returns a Module, or a callable to scores or labels
onnx:FILE                 an ONNX file: scores without gradients (extra `onnx`)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ostrich.errors import InputError, OstrichError, UnknownName
from ostrich.models import architectures
from ostrich.models.checkpoints import load_weights
from ostrich.models.class_names import read_class_names
from ostrich.models.classifier import Classifier, input_channels
from ostrich.models.functions import needs_arguments
from ostrich.models.libraries import timm_facts, torchvision_facts
from ostrich.models.onnx import onnx_facts
from ostrich.models.quantised import is_quantised
from ostrich.runtime import events
from ostrich.runtime.python_file import checksum, from_file

ZOO = Path(__file__).parent / "zoo"
KINDS = ("zoo:NAME", "arch:NAME", "torchvision:NAME", "timm:NAME", "PATH.py:FUNCTION", "onnx:FILE")
Numbers = Sequence[float] | float | None


def load(
    model: str | nn.Module | Callable[[torch.Tensor], Any],
    *,
    weights: str | Path | None = None,
    rename: Sequence[tuple[str, str]] = (),
    mean: Numbers = None,
    std: Numbers = None,
    size: int | str | tuple[int, int] | None = None,
    classes: str | Path | Sequence[str] | None = None,
    output: str | None = None,
    draws: int | None = None,
    device: str | torch.device | None = None,
) -> Classifier:
    """The classifier that `model` names, in evaluation mode; or of a network or function of your own.

    A function takes images (N, C, H, W) in [0, 1] and returns scores (N, K) or labels (N,). Your own network
    stays where it is unless `device` says otherwise, in the mode it is in; it is asked in evaluation mode.
    `weights` is a safetensors or torch file, `rename` pairs (old, new) of text in its names; `mean`
    and `std` per channel of images in [0, 1], `size` N or HxW, `classes` names or a file of them: each
    replaces what the model brings. `draws` is how often a network whose answers are random is asked; None: 20
    times. `output` chooses among several outputs by name or place, and says what one output
    is: "logit", "sigmoid"; "logits" takes the largest of independent sigmoids for the answer. Raises
    InputError (wrong names, weights that do not fit, a network whose answers cannot be read as scores).
    """
    facts = _named(model, weights is not None) if isinstance(model, str) else _own(model)
    network = facts["network"]
    if weights is not None:
        if not isinstance(network, nn.Module):
            raise InputError(f"{model} is only a prediction function: it takes no weights.")
        load_weights(network, weights, rename)
    elif rename:
        raise InputError("--rename changes names in a weights file; give it with --weights FILE.")
    if mean is not None:
        facts["mean"] = _numbers(mean)
    if std is not None:
        facts["std"] = _numbers(std)
    if size is not None:
        facts |= {"size": architectures.parse_size(size), "resize": None}
    if isinstance(classes, str | Path):
        facts["class_names"] = read_class_names(classes)
    elif classes is not None:
        facts["class_names"] = tuple(classes)
    if isinstance(network, nn.Module):
        if isinstance(model, str):
            network.eval()
        if isinstance(model, str) or device is not None:
            network.to(torch.device("cpu") if is_quantised(network) else pick_device(device or "auto"))
    classifier = Classifier(output=output, draws=draws, **{"name": model, **facts})
    if classifier.size is not None:
        classifier.probe()
    events.detail(_described(classifier))
    return classifier


def _described(classifier: Classifier) -> str:
    """What was loaded, in a sentence."""
    network = classifier.network
    what = "a function"
    if isinstance(network, nn.Module):
        what = f"{sum(p.numel() for p in network.parameters()):,} parameters"
    size = "any size" if classifier.size is None else "{}x{}".format(*classifier.size)
    return f"network {classifier.name}: {what}, images of {size}, on {classifier.device}"


def _named(model: str, own_weights: bool) -> dict[str, Any]:
    """What a MODEL spec says of a classifier."""
    kind, _, rest = model.partition(":")
    if kind == "detector":
        raise InputError(
            f"{model} finds faces and classifies nothing: `ostrich attack dazzle {model} faces`."
        )
    loaders = {
        "zoo": _zoo,
        "arch": _arch,
        "torchvision": torchvision_facts,
        "timm": timm_facts,
        "onnx": onnx_facts,
    }
    if kind in loaders and rest:
        return loaders[kind](rest, own_weights)
    if ".py:" in model:
        return _python_file(model)
    raise InputError(f"{model!r} is no model. A model is one of: {', '.join(KINDS)}.")


def _own(model: object) -> dict[str, Any]:
    """A network or function of the user's own."""
    if isinstance(model, Classifier):
        raise InputError(f"{model.name} is loaded already; give its network: model.network.")
    if isinstance(model, type) or not callable(model):
        raise InputError(
            f"A model is a torch.nn.Module, a function from images (N, C, H, W) to scores (N, K) or labels "
            f"(N,), or text, one of {', '.join(KINDS)}; got {model!r}."
        )
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "function")
    return {"network": model, "name": name}


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


def zoo_cards() -> dict[str, dict[str, Any]]:
    """The cards of the bundled networks by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(ZOO.glob("*.json"))}


def known_models() -> list[dict[str, Any]]:
    """What `ostrich list models` shows: name, kind, parameters at the published size, input, source."""
    rows = []
    for name, card in zoo_cards().items():
        network, _, size = architectures.build(card["architecture"])
        source = (
            f"trained on {card['data']}, {card['test_accuracy']:.1%} of {card['test_images']} test images"
        )
        rows.append(_row(f"zoo:{name}", "trained", network, size, source))
    for name, entry in architectures.ARCHITECTURES.items():
        network, _, size = architectures.build(name)
        rows.append(_row(f"arch:{name}", "architecture", network, size, entry.source))
    return rows


def _row(name: str, kind: str, network: nn.Module, size: tuple[int, int], source: str) -> dict[str, Any]:
    count = sum(p.numel() for p in network.parameters())
    shape = [input_channels(network), *size]
    return {"name": name, "kind": kind, "parameters": count, "input": shape, "source": source}


def _zoo(name: str, own_weights: bool) -> dict[str, Any]:
    cards = zoo_cards()
    if name not in cards:
        raise UnknownName("model", f"zoo:{name}", [f"zoo:{n}" for n in cards])
    card = cards[name]
    network, _, size = architectures.build(card["architecture"])
    if not own_weights:
        load_weights(network, ZOO / f"{name}.safetensors")
    return {
        "network": network,
        "size": size,
        "mean": card["mean"],
        "std": card["std"],
        "class_names": card["class_names"],
        "source": f"trained here on {card['data']}",
    }


def _arch(spec: str, own_weights: bool) -> dict[str, Any]:
    network, entry, size = architectures.build(spec)
    return {"network": network, "size": size, "source": entry.source}


def _python_file(model: str) -> dict[str, Any]:
    path, _, function = model.rpartition(":")
    build = from_file(Path(path), function)
    if not callable(build):
        raise InputError(f"{function} of {path} is no function; a function without arguments is expected.")
    try:
        network = build()
    except OstrichError:
        raise
    except Exception as error:
        hint = (
            f" Where {function} is itself the prediction function, write a function that returns it: "
            f"`def build(): return {function}`."
            if needs_arguments(build)
            else ""
        )
        raise InputError(f"{model} fails when called without arguments: {error!r}.{hint}") from error
    if not isinstance(network, nn.Module) and not callable(network):
        raise InputError(
            f"{model} returns a {type(network).__name__}; a torch.nn.Module or a callable from images "
            "(N, C, H, W) to scores (N, K) or labels (N,) is expected."
        )
    return {"network": network, "source": path, "checksum": checksum(Path(path))}


def _numbers(values: Sequence[float] | float) -> tuple[float, ...]:
    return (float(values),) if isinstance(values, int | float) else tuple(float(v) for v in values)
