"""Layers whose output lies on a grid over the image (`layouts.py`), and which to read before a unit."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ostrich.attribution.question import Question
from ostrich.errors import InputError
from ostrich.layouts import Grid, layout_of
from ostrich.models.classifier import Classifier
from ostrich.randomness import keyed
from ostrich.units import Unit, look, read
from ostrich.watching import module_of

PURPOSE = 0x4D50  # of random numbers


def named(
    classifier: Classifier, layer: str, output: Tensor, images: Tensor, given: tuple[int, int] | None
) -> Grid:
    """The grid of a layer that was asked for, from its output (N, ...) for images. Raises InputError."""
    shape = tuple(output.shape[1:])
    grid = layout_of(module_of(classifier), layer, output.shape, images.shape, given).grid
    if grid is None:
        wish = f" of {given[0]}x{given[1]}" if given else ""
        raise InputError(
            f"Layer {layer!r} has no map{wish} over the image: its outputs are {shape}. The grid of "
            "tokens is found where it has the image's proportions; another is given with grid=HxW."
        )
    return grid


def before(question: Question, unit: Unit, given: tuple[int, int] | None) -> str:
    """The layer to read before a unit.

    It is the last one whose output lies on a grid of more than one place, whose places can move the
    unit, and which nothing passes by: a transformer's last block does not count, of which only the
    class token is read, nor does one branch of a residual block. Only the network decides, by one
    forward and some ways back of noise. Raises InputError where there is none.
    """
    name = question.classifier.name
    with torch.enable_grad():
        leaf = _noise(question).requires_grad_(True)
        source, layers = _passed(question.classifier, leaf, unit)
        if not source.requires_grad:
            raise InputError(
                f"{name} cuts the gradient between the image and {unit}: nothing differentiable leads there."
            )
        total = (source * _like(source)).sum()
    own, last = layers.get(unit.layer), None
    for layer, (output, edge) in reversed(layers.items()):
        grid = _grid(question, layer, output, given)
        if grid is None or math.prod(grid.size) < 2 or (own is not None and output is own[0]):
            continue
        if _passes_by(total, edge):
            continue
        (slope,) = torch.autograd.grad(total, edge, retain_graph=True, allow_unused=True)
        if slope is not None and bool(grid.lay(slope).any()):
            return layer
        last = last or layer
    if last is not None:  # nothing moves the unit: a head that is zero, or a unit that is dead
        return last
    raise InputError(
        f"No layer with a map lies between the image and {unit} in {name}, or none that everything passes "
        "through; `ostrich list units` lists the layers, and layer=NAME takes one of them."
    )


def _grid(question: Question, layer: str, output: Tensor, given: tuple[int, int] | None) -> Grid | None:
    """The grid of a layer's output (1, ...), where it has one."""
    images = (1, *question.images.shape[1:])
    try:
        return layout_of(module_of(question.classifier), layer, output.shape, images, given).grid
    except InputError:  # rows that are no images, or an axis of features that nothing tells
        return None


def _passed(
    classifier: Classifier, images: Tensor, unit: Unit
) -> tuple[Tensor, dict[str, tuple[Tensor, GradientEdge]]]:
    """What the unit is read from, and all layers on the way with their outputs and places in the graph."""
    layers: dict[str, tuple[Tensor, GradientEdge]] = {}

    def watch(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.requires_grad and name not in layers:
            layers[name] = output, get_gradient_edge(output)

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: watch(name, output))
        for name, module in module_of(classifier).named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        seen = look(classifier, images.clone(), [unit])
    finally:
        for handle in handles:
            handle.remove()
    read(classifier, seen, [unit])  # the unit exists
    source = seen.logits if unit.is_output else seen.outputs[unit.layer]
    assert source is not None
    return source, layers


def _passes_by(total: Tensor, edge: GradientEdge) -> bool:
    """Whether a way leads from `total` back to a leaf without crossing the edge."""
    seen, ahead = {edge.node}, [total.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # an AccumulateGrad: a leaf
            return True
        ahead += [following for following, _ in node.next_functions]
    return False


def _noise(question: Question) -> Tensor:
    """One image of noise (1, C, H, W): where a unit is dead for grey, some of it mostly is not."""
    shape = (1, *question.images.shape[1:])
    return torch.rand(shape, generator=keyed(PURPOSE)).to(question.images)


def _like(output: Tensor) -> Tensor:
    """Weights of both signs for every value of an output."""
    return torch.randn(output.shape, generator=keyed(PURPOSE, 1)).to(output)
