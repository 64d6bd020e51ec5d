"""Layers whose output lies on a grid over the image, and which of them to read before a unit.

An output lies on a grid in one of three forms, without the batch:

    (C, h, w)   a convolution's
    (h, w, C)   channels last, as some transformers have between their stages
    (T, C)      tokens: h*w of them, after at most MOST_PREFIX that stand for no place (class, registers)

The grid of tokens is found where h:w is the image's own H:W, or given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ostrich.attribution.question import Question
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.randomness import keyed
from ostrich.units import Unit, look, read
from ostrich.watching import module_of

MOST_PREFIX = 8
ALIKE = math.log(2)  # how far, as a factor, a map's shape may be from the image's for its form to be plain
PURPOSE = 0x4D50  # of random numbers


@dataclass(frozen=True)
class Grid:
    """How a layer's output lies on the image: `form` is one of the three above; `size` (h, w)."""

    form: str
    size: tuple[int, int]

    def lay(self, output: Tensor) -> Tensor:
        """An output (N, ...), or gradients with respect to one, as (N, C, h, w)."""
        if self.form == "tokens":
            output = output[:, output.shape[1] - math.prod(self.size) :].unflatten(1, self.size)
        return output if self.form == "channels first" else output.movedim(-1, 1)


def grid_of(
    shape: Sequence[int], image: tuple[int, int], given: tuple[int, int] | None = None
) -> Grid | None:
    """The grid of an output of `shape` (without the batch) over an image (H, W); None where there is none."""
    if len(shape) == 3:
        first = Grid("channels first", (shape[1], shape[2]))
        last = Grid("channels last", (shape[0], shape[1]))
        if given is not None:
            return next((grid for grid in (first, last) if grid.size == given), None)
        return last if _distance(first.size, image) > ALIKE >= _distance(last.size, image) else first
    if len(shape) == 2:
        for size in [given] if given is not None else _shapes(shape[0], image):
            if 0 <= shape[0] - math.prod(size) <= MOST_PREFIX:
                return Grid("tokens", size)
    return None


def _shapes(tokens: int, image: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Grids with the image's proportions, the one that leaves fewest tokens over first."""
    divisor = math.gcd(*image)
    tall, wide = image[0] // divisor, image[1] // divisor
    for over in range(MOST_PREFIX + 1):
        times = math.isqrt(max(0, tokens - over) // (tall * wide))
        if times and times * tall * times * wide == tokens - over and tokens - over > 1:
            yield times * tall, times * wide


def _distance(size: tuple[int, int], image: tuple[int, int]) -> float:
    return abs(math.log(size[0] * image[1] / (size[1] * image[0])))


def named(layer: str, output: Tensor, image: tuple[int, int], given: tuple[int, int] | None) -> Grid:
    """The grid of a layer that was asked for, from its output (N, ...). Raises InputError."""
    shape = tuple(output.shape[1:])
    grid = grid_of(shape, image, given)
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
        grid = grid_of(output.shape[1:], _size(question), given)
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


def _size(question: Question) -> tuple[int, int]:
    height, width = question.images.shape[2:]
    return height, width


def _noise(question: Question) -> Tensor:
    """One image of noise (1, C, H, W): where a unit is dead for grey, some of it mostly is not."""
    shape = (1, *question.images.shape[1:])
    return torch.rand(shape, generator=keyed(PURPOSE)).to(question.images)


def _like(output: Tensor) -> Tensor:
    """Weights of both signs for every value of an output."""
    return torch.randn(output.shape, generator=keyed(PURPOSE, 1)).to(output)
