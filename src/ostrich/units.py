"""Units: one thing a network computes, named.

    class:ostrich             the logit of a class, by name or number
    probability:ostrich       its softmax output
    layer3.2.conv1:17         a channel of a layer: its mean over the map
    layer3.2.conv1:17@4,5     one neuron of it, at row 4, column 5
    fc:123                    one output of a layer without a map

`parse` reads the text, `resolve` checks it against a network, `values` computes it for images
without running the network any further than the unit's layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ostrich.errors import InputError, UnknownName
from ostrich.networks import untouched

if TYPE_CHECKING:  # a room above: units only take classifiers
    from ostrich.models.classifier import Classifier

FORMS = "class:NAME, probability:NAME, LAYER:CHANNEL or LAYER:CHANNEL@ROW,COLUMN"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A parsed unit. `layer` is "class", "probability" or a module's name; `index` a class or channel."""

    text: str
    layer: str
    index: str
    position: tuple[int, int] | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def is_output(self) -> bool:
        """Whether it is one of the network's scores."""
        return self.layer in ("class", "probability")


@dataclass(frozen=True)
class LayerRow:
    """One line of `ostrich list units`: shape is (C, H, W) or (C,), without the batch."""

    name: str
    type: str
    shape: tuple[int, ...]
    parameters: int


class _Reached(Exception):
    """Ends a forward at the layer that was asked for."""


def parse(text: str) -> Unit:
    """Read a unit's name. Raises InputError with the forms there are."""
    layer, colon, rest = text.strip().partition(":")
    if not colon or not layer or not rest:
        raise InputError(f"{text!r} is no unit; a unit is {FORMS}.")
    if layer in ("class", "probability"):
        return Unit(text=text.strip(), layer=layer, index=rest)
    found = re.fullmatch(r"(\d+)(?:@(\d+),(\d+))?", rest)
    if not found:
        raise InputError(f"{text!r} is no unit: after the layer stands CHANNEL or CHANNEL@ROW,COLUMN.")
    position = (int(found[2]), int(found[3])) if found[2] else None
    return Unit(text=text.strip(), layer=layer, index=found[1], position=position)


def layers(classifier: Classifier, images: Tensor | None = None) -> list[LayerRow]:
    """The layers without children, in the order a forward meets them first."""
    network = _module(classifier)
    rows: dict[str, LayerRow] = {}

    def watch(name: str, module: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and name not in rows:
                count = sum(p.numel() for p in module.parameters())
                rows[name] = LayerRow(name, type(module).__name__, tuple(output.shape[1:]), count)

        return hook

    leaves = [(n, m) for n, m in network.named_modules() if n and not any(m.children())]
    handles = [module.register_forward_hook(watch(name, module)) for name, module in leaves]
    try:
        if images is None:
            classifier.probe()
        else:
            with untouched(classifier.network), torch.no_grad():
                classifier(images)
    finally:
        for handle in handles:
            handle.remove()
    return list(rows.values())


def resolve(classifier: Classifier, unit: Unit | str) -> Unit:
    """Check a unit against a network. Raises UnknownName with the nearest layers, or InputError."""
    unit = parse(unit) if isinstance(unit, str) else unit
    if unit.is_output:
        classifier.class_index(unit.index)
        return unit
    names = [name for name, _ in _module(classifier).named_modules() if name]
    if unit.layer not in names:
        raise UnknownName("layer", unit.layer, names, f"`ostrich list units {classifier.name}` lists all.")
    height, width = classifier.size or (224, 224)
    grey = torch.full((1, classifier.channels, height, width), 0.5, device=classifier.device)
    with untouched(classifier.network), torch.no_grad():
        output = activations(classifier, grey.to(classifier.dtype), unit.layer)
    shape = tuple(output.shape[1:])
    if int(unit.index) >= shape[0]:
        raise InputError(f"Layer {unit.layer!r} has channels 0 to {shape[0] - 1}; got {unit.index}.")
    if unit.position is not None:
        if len(shape) != 3:
            raise InputError(f"Layer {unit.layer!r} has no map; its outputs are {shape}.")
        if unit.position[0] >= shape[1] or unit.position[1] >= shape[2]:
            raise InputError(f"Layer {unit.layer!r} has a map of {shape[1]}x{shape[2]}; got {unit.position}.")
    return unit


def activations(classifier: Classifier, images: Tensor, layer: str) -> Tensor:
    """The output (N, C, ...) of a layer for images (N, C, H, W); the forward ends there.

    The output is a copy: what later layers do in place does not reach it.
    """
    caught: list[Tensor] = []

    def stop(_module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise InputError(f"Layer {layer!r} returns a {type(output).__name__}, not a tensor.")
        caught.append(output.clone())
        raise _Reached

    handle = _module(classifier).get_submodule(layer).register_forward_hook(stop)
    try:
        classifier(images)
    except _Reached:
        return caught[0]
    finally:
        handle.remove()
    raise InputError(f"Layer {layer!r} is never called in a forward of {classifier.name}.")


def values(classifier: Classifier, images: Tensor, units: Sequence[Unit]) -> Tensor:
    """The units' values (U, N) for images (N, C, H, W), one forward per layer concerned."""
    found: dict[str, Tensor] = {}
    rows = []
    for unit in units:
        source = "class" if unit.is_output else unit.layer
        if source not in found:
            found[source] = (
                classifier(images) if unit.is_output else activations(classifier, images, unit.layer)
            )
        rows.append(_value(classifier, found[source], unit))
    return torch.stack(rows)


def _value(classifier: Classifier, output: Tensor, unit: Unit) -> Tensor:
    if unit.layer == "class":
        return output[:, classifier.class_index(unit.index)]
    if unit.layer == "probability":
        return output.softmax(1)[:, classifier.class_index(unit.index)]
    channel = output[:, int(unit.index)]  # (N,) or (N, H, W)
    if unit.position is not None:
        return channel[:, unit.position[0], unit.position[1]]
    return channel.flatten(1).mean(1) if channel.ndim > 1 else channel


def _module(classifier: Classifier) -> nn.Module:
    if not isinstance(classifier.network, nn.Module):
        raise InputError(f"{classifier.name} is only a prediction function: its layers cannot be seen.")
    return classifier.network
