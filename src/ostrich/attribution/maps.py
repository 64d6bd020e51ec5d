"""Maps over the image inside a network: layers whose outputs lie on a grid (`layouts.py`), and activations.

A ReLU may be a layer of its own or an operation between layers; what Grad-CAM reads must not depend on
that. So the places that can be read are the outputs of layers and those of the activations, however they
are written (`rectifiers.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ostrich.attribution.question import Question
from ostrich.attribution.rectifiers import Rectifiers
from ostrich.errors import InputError
from ostrich.inspection.layouts import Axes, Grid, layout_of
from ostrich.inspection.units import AnyUnit, look, read, sources
from ostrich.inspection.watching import module_of
from ostrich.models.classifier import Classifier
from ostrich.runtime.randomness import keyed

PURPOSE = 0x4D50  # of random numbers


@dataclass(frozen=True)
class Place:
    """Where a map is read: the output of `layer`, or of the forward's `activation`-th activation, from 0.

    An activation is named by the layer that ended last before it; `follows` says whether that layer's
    output is what it was computed from. `axis` is what `layouts.Axes` says of the output.
    """

    layer: str
    activation: int | None = None
    follows: bool = False
    axis: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self.activation is None:
            return self.layer
        return f"{self.layer}, activated" if self.follows else f"the activation after {self.layer}"


class Activations(Rectifiers):
    """A context that hands every activation's place and output to `watch`; `axes` as `layouts` notes them."""

    def __init__(self, network: nn.Module, watch: Callable[[Place, Tensor], None]) -> None:
        super().__init__()
        self.network, self.watch, self.axes = network, watch, Axes(network)
        self.count = 0
        self.last: tuple[str, Tensor | None] = "the image", None

    def rectified(self, x: Tensor, operation: Callable[[Tensor], Tensor], top: float) -> Tensor:
        return self.activated(x, lambda: operation(x))

    def activated(self, x: Tensor, operation: Callable[[], Tensor]) -> Tensor:
        place = Place(self.last[0], self.count, x is self.last[1])
        output = operation()
        self.count += 1
        if isinstance(output, Tensor):
            self.watch(replace(place, axis=self.axes.of(output)), output)
        return output

    def __enter__(self) -> Activations:
        self.axes.__enter__()
        self.handles = [
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name: self._ended(name, output)
            )
            for name, module in self.network.named_modules()
            if name and not isinstance(module, torch.jit.ScriptModule)
        ]
        super().__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.axes.__exit__(*raised)
        for handle in self.handles:
            handle.remove()

    def _ended(self, name: str, output: object) -> None:
        self.last = name, output if isinstance(output, Tensor) else None


def named(
    classifier: Classifier, place: Place, output: Tensor, images: Tensor, given: tuple[int, int] | None
) -> Grid:
    """The grid of a place that was asked for, from its output (N, ...) for images. Raises InputError."""
    shape = tuple(output.shape[1:])
    grid = _grid(classifier, place, output, tuple(images.shape), given)
    if grid is None:
        wish = f" of {given[0]}x{given[1]}" if given else ""
        raise InputError(
            f"Layer {str(place)!r} has no map{wish} over the image: its outputs are {shape}. The grid of "
            "tokens is found where it has the image's proportions; another is given with grid=HxW."
        )
    return grid


def before(
    question: Question, unit: AnyUnit, given: tuple[int, int] | None, *, activations: bool = True
) -> Place:
    """The place to read before a unit.

    It is the last one whose output lies on a grid of more than one place, whose places can move the
    unit, and which nothing passes by: a transformer's last block does not count, of which only the
    class token is read, nor does one branch of a residual block. Only the network decides, by one
    forward and some ways back of noise. Without `activations` only layers are looked at. Raises
    InputError where there is none.
    """
    name = question.classifier.name
    with torch.enable_grad():
        leaf = _noise(question).requires_grad_(True)
        read_from, places = _passed(question.classifier, leaf, unit)
        if not any(source.requires_grad for source in read_from.values()):
            raise InputError(
                f"{name} cuts the gradient between the image and {unit}: nothing differentiable leads there."
            )
        total = sum((source * _like(source)).sum() for source in read_from.values())
    assert isinstance(total, Tensor)
    own, last = [places[Place(layer)][0] for layer in read_from if Place(layer) in places], None
    for place, (output, edge) in reversed(places.items()):
        if place.activation is not None and not activations:
            continue
        try:
            grid = _grid(question.classifier, place, output, tuple(leaf.shape), given)
        except InputError:  # rows that are no images, or an axis of features that nothing tells
            continue
        if grid is None or math.prod(grid.size) < 2 or any(output is one for one in own):
            continue
        if _passes_by(total, edge):
            continue
        (slope,) = torch.autograd.grad(total, edge, retain_graph=True, allow_unused=True)
        if slope is not None and bool(grid.lay(slope).any()):
            return place
        last = last or place
    if last is not None:  # nothing moves the unit: a head that is zero, or a unit that is dead
        return last
    raise InputError(
        f"No layer with a map lies between the image and {unit} in {name}, or none that everything passes "
        "through; `ostrich list units` lists the layers, and layer=NAME takes one of them."
    )


def _grid(
    classifier: Classifier,
    place: Place,
    output: Tensor,
    images: tuple[int, ...],
    given: tuple[int, int] | None,
) -> Grid | None:
    """The grid of a place's output, where it has one: an activation's is that of what it was made from."""
    made_by = None if place.activation is None or place.follows else nn.Identity()
    network, shape, axis = module_of(classifier), output.shape, place.axis
    return layout_of(network, place.layer, shape, images, given, made_by, axis).grid


def _passed(
    classifier: Classifier, images: Tensor, unit: AnyUnit
) -> tuple[dict[str, Tensor], dict[Place, tuple[Tensor, GradientEdge]]]:
    """What the unit is read from, by layer, and all places with outputs and edges in the graph."""
    places: dict[Place, tuple[Tensor, GradientEdge]] = {}

    def watch(place: Place, output: Tensor) -> None:
        if output.requires_grad and place not in places:
            places[place] = output, get_gradient_edge(output)

    network = module_of(classifier)
    activations = Activations(network, watch)

    def ended(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            watch(Place(name, axis=activations.axes.of(output)), output)

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: ended(name, output))
        for name, module in network.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with activations:
            seen = look(classifier, images.clone(), [unit])
    finally:
        for handle in handles:
            handle.remove()
    read(classifier, seen, [unit])  # the unit exists
    return sources(seen, unit), places


def _passes_by(total: Tensor, edge: GradientEdge) -> bool:
    """Whether a way leads from `total` back to a leaf without crossing the edge."""
    seen, ahead = set(), [(total.grad_fn, 0)]
    while ahead:
        node, number = ahead.pop()
        if node is None or node in seen or (node is edge.node and number == edge.output_nr):
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # an AccumulateGrad: a leaf
            return True
        ahead += node.next_functions
    return False


def _noise(question: Question) -> Tensor:
    """One image of noise, as often as the network takes at once (B, C, H, W): where a unit is dead for grey,
    some of it mostly is not.
    """
    noise = torch.rand((1, *question.images.shape[1:]), generator=keyed(PURPOSE))
    return question.classifier.example(noise.to(question.images))


def _like(output: Tensor) -> Tensor:
    """Weights of both signs for every value of an output."""
    return torch.randn(output.shape, generator=keyed(PURPOSE, 1)).to(output)
