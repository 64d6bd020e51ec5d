"""Units: one thing a network computes, named.

How they are written: `unit_names.py`. Which axis of a layer's output holds its channels or features:
`layouts.py`.

`parse` and `parse_sum` read the text, `resolve` checks it against a network, `values`
computes many of them for images from one forward, which runs no further than the last of their layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ostrich.errors import InputError
from ostrich.inspection.layouts import Axes, Layout, layout_of
from ostrich.inspection.unit_names import FORMS, AnyUnit, Sum, Unit, parse, parse_sum, place, split_terms
from ostrich.inspection.watching import Calls, Seen, module_of, observe
from ostrich.models.classifier import HALVES, Classifier
from ostrich.models.untouched import untouched

__all__ = [
    "FORMS",
    "AnyUnit",
    "LayerRow",
    "Sum",
    "Unit",
    "activations",
    "every",
    "laid",
    "layers",
    "look",
    "parse",
    "parse_sum",
    "place",
    "read",
    "resolve",
    "sources",
    "split_terms",
    "values",
]

PARAMETRISED = "parametrizations"  # the child by which torch computes a module's weights


@dataclass(frozen=True)
class LayerRow:
    """One line of `ostrich list units`: the output's shape without the batch, and what it is read as.

    `features` is how many units the layer has, none where its output cannot be read by features; `map`
    the rows and columns of their places, where they have any; `calls` how often a forward calls the layer,
    whose first output is what is read.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    parameters: int
    features: int | None = None
    map: tuple[int, int] | None = None
    calls: int = 1


def layers(classifier: Classifier, images: Tensor | None = None) -> list[LayerRow]:
    """The layers without children, in the order a forward meets them first."""
    network = module_of(classifier)
    rows: dict[str, LayerRow] = {}
    seen = (1, classifier.channels, *(classifier.size or (224, 224))) if images is None else images.shape

    def readable(name: str, output: Tensor) -> Layout | None:
        try:
            return layout_of(network, name, output.shape, seen, axis=axes.of(output))
        except InputError:
            return None

    def watch(name: str, module: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and name not in rows:
                count = sum(p.numel() for p in module.parameters())
                found = readable(name, output)
                size = found.grid.size if found and found.grid else None
                features = found.features if found else None
                shape = tuple(output.shape[1:])
                kind = type_before_parametrizations(module).__name__
                rows[name] = LayerRow(name, kind, shape, count, features, size)

        return hook

    leaves = _leaves(network)
    handles = [module.register_forward_hook(watch(name, module)) for name, module in leaves]
    try:
        with Axes(network) as axes, Calls(network) as calls:
            if images is None:
                classifier.probe()
            else:
                with untouched(classifier.network), torch.no_grad():
                    classifier(images)
    finally:
        for handle in handles:
            handle.remove()
    return [replace(row, calls=calls.count[name]) for name, row in rows.items()]


def _leaves(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules without children, by name; what a weight is computed by (spectral norm) is none."""
    return [
        (name, module)
        for name, module in network.named_modules()
        if name
        and PARAMETRISED not in name.split(".")
        and not dict(module.named_children()).keys() - {PARAMETRISED}
    ]


def every(classifier: Classifier, layer: str) -> list[str]:
    """The names of all units of a layer, in order. Raises UnknownName, or InputError for one without."""
    with untouched(classifier.network), torch.no_grad():
        return [f"{layer}:{k}" for k in range(activations(classifier, _grey(classifier), layer).shape[1])]


def resolve(classifier: Classifier, unit: Unit | str) -> Unit:
    """Check a unit against a network. Raises UnknownName with the nearest layers, or InputError."""
    unit = parse(unit) if isinstance(unit, str) else unit
    if unit.is_output:
        classifier.class_index(unit.index)
        return unit
    with untouched(classifier.network), torch.no_grad():
        values(classifier, _grey(classifier), [unit])
    return unit


def _grey(classifier: Classifier) -> Tensor:
    """One grey image (1, C, H, W)."""
    shape = (1, classifier.channels, *(classifier.size or (224, 224)))
    return torch.full(shape, 0.5, device=classifier.device, dtype=classifier.image_dtype)


def activations(classifier: Classifier, images: Tensor, layer: str) -> Tensor:
    """The output of a layer for images (N, C, H, W), its features first: (N, C, h, w), or (N, C, ...).

    The forward ends there. The output is a copy: what later layers do in place does not reach it.
    """
    return laid(classifier, observe(classifier, images, [layer]), layer)


def laid(classifier: Classifier, seen: Seen, layer: str) -> Tensor:
    """The output of a layer that a forward showed, its features first; of halves in float32.

    Raises InputError.
    """
    output = seen.outputs[layer]
    output = output.float() if output.dtype in HALVES else output  # what is summed needs more than they hold
    network, axis = module_of(classifier), seen.axes[layer]
    return layout_of(network, layer, output.shape, seen.images, axis=axis).lay(output)


def values(classifier: Classifier, images: Tensor, units: Sequence[AnyUnit]) -> Tensor:
    """The units' values (U, N) for images (N, C, H, W), from one forward that ends at the last of them.

    Where answers are random and no gradient is followed, they are means over the classifier's `draws`.
    Raises InputError for a unit that does not exist.
    """
    times = 1 if torch.is_grad_enabled() else classifier.draws
    if times == 1:
        return read(classifier, look(classifier, images, units), units)
    asked = (
        look(classifier, images.clone(), units) for _ in range(times)
    )  # it may change its input in place
    return torch.stack([read(classifier, seen, units) for seen in asked]).mean(0)


def look(
    classifier: Classifier,
    images: Tensor,
    units: Sequence[AnyUnit],
    layer: str | None = None,
    begin: bool = False,
) -> Seen:
    """One forward that shows all that the units are read from, and a further layer.

    With `begin` its graph begins at that layer, where it can: see `watching.observe`.
    """
    every = [unit for one in units for unit, _ in one.terms]
    wanted = [unit.layer for unit in every if not unit.is_output] + ([layer] if layer is not None else [])
    end = any(unit.is_output for unit in every)
    return observe(classifier, images, wanted, to_the_end=end, begin=layer if begin else None)


def sources(seen: Seen, unit: AnyUnit) -> dict[str, Tensor]:
    """What a unit is read from in what a forward showed: outputs of layers by name, the logits by ""."""
    found: dict[str, Tensor] = {}
    for term, _ in unit.terms:
        if not term.is_output:
            found[term.layer] = seen.outputs[term.layer]
        elif seen.logits is not None:
            found[""] = seen.logits
    return found


def read(classifier: Classifier, seen: Seen, units: Sequence[AnyUnit]) -> Tensor:
    """The units' values (U, N) in what a forward showed. Raises InputError for one that is not there."""
    if all(isinstance(unit, Unit) for unit in units):
        return _read(classifier, seen, [term for unit in units for term, _ in unit.terms])
    distinct = list(dict.fromkeys(term for unit in units for term, _ in unit.terms))
    found = dict(zip(distinct, _read(classifier, seen, distinct)))
    sums = [torch.stack([weight * found[term] for term, weight in unit.terms]).sum(0) for unit in units]
    return torch.stack(sums)


def _read(classifier: Classifier, seen: Seen, units: Sequence[Unit]) -> Tensor:
    groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        groups[unit.layer, unit.position is not None].append(number)
    columns = [_columns(classifier, seen, [units[i] for i in places]) for places in groups.values()]
    order = [i for places in groups.values() for i in places]
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return torch.cat(columns, 1)[:, inverse].T


def _columns(classifier: Classifier, seen: Seen, units: Sequence[Unit]) -> Tensor:
    """The values (N, U) of units of one layer and one kind."""
    kind = units[0]
    if kind.is_output:
        assert seen.logits is not None, "the forward ended before the logits"
        scores = seen.logits if kind.layer == "class" else seen.logits.softmax(1)
        if kind.layer == "class" and classifier.of_one_output:  # of which class 0 is what the other is not
            scores = scores - scores.flip(1)
        return scores[:, [_class(classifier, unit.index, scores.shape[1]) for unit in units]]
    output, own = laid(classifier, seen, kind.layer), tuple(seen.outputs[kind.layer].shape[1:])
    for unit in units:
        _check(unit, tuple(output.shape[1:]), own)
    channels = [int(unit.index) for unit in units]
    if kind.position is not None:
        rows, columns = zip(*(place(unit, tuple(output.shape[2:])) for unit in units))
        return output[:, channels, list(rows), list(columns)]
    return (output.flatten(2).mean(2) if output.ndim > 2 else output)[:, channels]


def _class(classifier: Classifier, name: str, count: int) -> int:
    """A class's place among `count` scores, without a forward to learn how many there are."""
    if classifier.class_names is None and name.isdigit() and int(name) < count:
        return int(name)
    return classifier.class_index(name)


def _check(unit: Unit, shape: tuple[int, ...], own: tuple[int, ...]) -> None:
    """Refuse a feature or a place that an output (C, ...), laid out from its `own` shape, does not have."""
    if not shape or int(unit.index) >= shape[0]:
        kind = "channels" if shape == own else "features"
        last = f"{kind} 0 to {shape[0] - 1}" if shape else "no channels"
        raise InputError(f"Layer {unit.layer!r} has {last}; got {unit.index}.")
    if unit.position is None:
        return
    if len(shape) != 3:
        raise InputError(f"Layer {unit.layer!r} has no map; its outputs are {own}.")
    row, column = place(unit, shape[1:])
    if row >= shape[1] or column >= shape[2]:
        raise InputError(
            f"Layer {unit.layer!r} has a map of {shape[1]}x{shape[2]}, rows from 0 to {shape[1] - 1} and "
            f"columns from 0 to {shape[2] - 1}; got {row},{column}."
        )
