"""A network as a list of nodes that bounds can walk: affine maps, rectifiers and sums.

`torch.fx` traces it. Convolutions, linear layers, batch norm in evaluation mode, average pooling, products
and sums with constants, and all that only moves values about are affine; anything else is refused in words.
The normalisation of a classifier is the first affine map, so bounds are those of images in [0, 1].
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ostrich.errors import InputError, first_line
from ostrich.models import Classifier

AGREEMENT = 1e-4  # largest difference of the graph's answers from the network's, relative to their scale
Map = Callable[[Tensor], Tensor]
AFFINE = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
LINEAR = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.Unflatten)
KEPT = (nn.Dropout, nn.Dropout2d)  # nothing in evaluation mode
SHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous", "permute")
LINES = ("mean", "avg_pool2d", "adaptive_avg_pool2d", "pad", "getitem")  # affine, with weights from 0 up
SUMS = (operator.add, operator.iadd, torch.add)
DIFFERENCES = (operator.sub, operator.isub, torch.sub)
PRODUCTS = (operator.mul, operator.imul, torch.mul)
QUOTIENTS = (operator.truediv, operator.itruediv, torch.div)
CAN = "convolution, linear, batch norm, average pooling, ReLU, flatten and sums"


@dataclass
class Node:
    """One step: `apply` of its parents' outputs (by their places), (n, *shape).

    Of an affine map `apply` is W x + b, and `magnitude` |W| x.
    """

    kind: Literal["input", "affine", "relu", "sum"]
    parents: tuple[int, ...]
    shape: tuple[int, ...]
    apply: Map | None = None
    magnitude: Map | None = None
    input_shape: tuple[int, ...] = ()  # of what its first parent gives; the graph fills it in
    transposed: dict[int, Map] = field(default_factory=dict, repr=False)  # W^T, by the number of rows

    def transpose(self, rows: Tensor) -> Tensor:
        """Rows (k, *shape) times W, (k, *input_shape): a vector-Jacobian product, whatever the layer."""
        assert self.apply is not None
        if len(rows) not in self.transposed:
            start = rows.new_zeros(len(rows), *self.input_shape)
            self.transposed = {len(rows): torch.func.vjp(self.apply, start)[1]}
        (found,) = self.transposed[len(rows)](rows)
        return found

    def constant(self, like: Tensor) -> Tensor:
        """b, (*shape)."""
        assert self.apply is not None
        return self.apply(like.new_zeros(1, *self.input_shape))[0]


@dataclass
class Graph:
    """The nodes in order: the first is the image, the last the logits."""

    nodes: list[Node]

    def __post_init__(self) -> None:
        for node in self.nodes[1:]:
            node.input_shape = self.nodes[node.parents[0]].shape

    @property
    def relus(self) -> list[int]:
        """The places of the rectifiers."""
        return [place for place, node in enumerate(self.nodes) if node.kind == "relu"]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Every node's output for images (n, C, H, W)."""
        found = [images]
        for node in self.nodes[1:]:
            given = [found[parent] for parent in node.parents]
            found.append(sum(given[1:], given[0]) if node.kind == "sum" else _of(node, given[0]))
        return found


def _of(node: Node, given: Tensor) -> Tensor:
    assert node.apply is not None
    return node.apply(given)


def graph_of(classifier: Classifier, shape: tuple[int, ...]) -> Graph:
    """The graph of a classifier on images (C, H, W) of that shape; its parameters are to be frozen.

    Raises InputError where a part of it is none that can be bounded, with its name.
    """
    network = classifier.network
    if not isinstance(network, nn.Module):
        raise InputError(f"{classifier.name} is a prediction function: bounds need its layers.")
    examples = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(classifier.device)
    example = examples[:1]
    nodes = [Node("input", (), shape)]
    scale = classifier.normalised(torch.ones_like(example)) - classifier.normalised(torch.zeros_like(example))
    normal = Node("affine", (0,), shape, classifier.normalised, lambda given: given * scale.abs())
    nodes.append(normal)
    try:
        traced = fx.symbolic_trace(network)
    except Exception as error:
        first = first_line(error)
        raise InputError(f"{classifier.name} cannot be followed layer by layer ({first}).") from None
    builder = _Builder(traced, nodes, classifier.name)
    with torch.no_grad():
        builder.run(classifier.normalised(example))
        graph = Graph(nodes)
        expected = torch.cat([classifier.predict(one) for one in examples.split(1)])
        found = graph.forward(examples)[-1]  # together: a step that mixes images answers otherwise
    off = (
        (found.reshape(expected.shape) - expected).abs().max()
        if found.numel() == expected.numel()
        else math.inf
    )
    if off > AGREEMENT * expected.abs().max().clamp_min(1.0):
        raise InputError(f"{classifier.name} cannot be followed: its graph answers otherwise than it does.")
    return graph


class _Builder(fx.Interpreter):
    """Runs the traced network on an example, and notes what each step is."""

    def __init__(self, traced: fx.GraphModule, nodes: list[Node], name: str) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # what is refused is said as it is, without the tracer's notes
        self.nodes, self.name = nodes, name
        self.place: dict[int, int] = {}  # of an output by its tensor's identity
        self._alive: list[Tensor] = []

    def run_node(self, node: fx.Node) -> Any:
        """One step of the network."""
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        output = super().run_node(node)
        if node.op == "placeholder":
            if self._alive:
                raise InputError(f"{self.name} takes more than images; only those can be bounded.")
            self._known(output, len(self.nodes) - 1)
        elif node.op == "get_attr" or not isinstance(output, Tensor):
            return output
        elif node.op == "output":
            if self._place(output) != len(self.nodes) - 1:
                self._note(Node("affine", (self._place(output),), output.shape[1:], _same, _same), output)
        else:
            target = self.fetch_attr(str(node.target)) if node.op == "call_module" else node.target
            output = output.clone() if any(output is one for one in self._alive) else output
            self._note(self._step(node.name, target, args, kwargs, output), output)
        return output

    def _step(
        self, name: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Node:
        given = [*args, *kwargs.values()]
        parents = tuple(self.place[id(one)] for one in given if id(one) in self.place)
        shape, called = tuple(output.shape[1:]), getattr(target, "__name__", str(target))
        if isinstance(target, nn.ReLU) or called in ("relu", "relu_"):
            return Node("relu", parents, shape, F.relu, F.relu)
        if isinstance(target, AFFINE):
            return Node("affine", parents, shape, _module(target), _magnitude(target, name, self.name))
        if isinstance(target, LINEAR):
            return Node("affine", parents, shape, target, target)
        if isinstance(target, KEPT) or called in ("dropout", "dropout2d"):
            return Node("affine", parents, shape, _same, _same)
        if called in SHAPES and len(output) == 1:
            moved = _moved(called, args, kwargs, shape)
            return Node("affine", parents, shape, moved, moved)
        if called in LINES and parents:
            function = target if callable(target) else getattr(Tensor, str(target))

            def line(given: Tensor) -> Tensor:
                found: Tensor = function(given, *args[1:], **kwargs)
                return found

            def size(given: Tensor) -> Tensor:  # without the border that a map is padded with
                return line(given) - line(torch.zeros_like(given))

            return Node("affine", parents, shape, line, size)
        return self._arithmetic(name, target, args, parents, shape)

    def _arithmetic(
        self, name: str, target: Any, args: tuple[Any, ...], parents: tuple[int, ...], shape: tuple[int, ...]
    ) -> Node:
        sums = target in SUMS or target in ("add", "add_")
        if sums and len(parents) == 2:
            return Node("sum", parents, shape)
        products = target in PRODUCTS or target in ("mul", "mul_")
        quotients = target in QUOTIENTS or target in ("div", "div_")
        differences = target in DIFFERENCES or target in ("sub", "sub_")
        first = isinstance(args[0], Tensor) and id(args[0]) in self.place
        if len(parents) == 1 and len(args) == 2 and (first or sums or products):
            other = args[1] if first else args[0]
            if sums or differences:
                sign = -1 if differences else 1
                return Node("affine", parents, shape, lambda given: given + sign * other, _same)
            if products:
                size = other.abs() if isinstance(other, Tensor) else abs(other)
                return Node("affine", parents, shape, lambda given: given * other, lambda given: given * size)
            if quotients:
                size = other.abs() if isinstance(other, Tensor) else abs(other)
                return Node("affine", parents, shape, lambda given: given / other, lambda given: given / size)
        what = type(target).__name__ if isinstance(target, nn.Module) else getattr(target, "__name__", target)
        raise InputError(f"{self.name} cannot be bounded: its part {name} is {what}. What can be is {CAN}.")

    def _note(self, node: Node, output: Tensor) -> None:
        self.nodes.append(node)
        self._known(output, len(self.nodes) - 1)

    def _known(self, output: Tensor, place: int) -> None:
        self._alive.append(output)  # so that no other tensor gets its identity
        self.place[id(output)] = place

    def _place(self, output: Tensor) -> int:
        if id(output) not in self.place:
            raise InputError(f"{self.name} cannot be bounded: its answer does not come from the image.")
        return self.place[id(output)]


def _same(given: Tensor) -> Tensor:
    return given


def _module(module: nn.Module) -> Map:
    """A layer as a function that torch.func can take apart: nothing of it is changed by a call."""
    if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return module
    norm: Any = module

    def normed(given: Tensor) -> Tensor:
        mean, var = norm.running_mean, norm.running_var
        return F.batch_norm(given, mean, var, norm.weight, norm.bias, training=False, eps=norm.eps)

    return normed


def _magnitude(module: Any, name: str, network: str) -> Map:
    """|W| x of a layer W x + b."""
    weight = module.weight
    if isinstance(module, nn.Linear):
        return lambda given: F.linear(given, weight.abs())
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        if module.running_var is None:
            raise InputError(f"{network} cannot be bounded: {name} takes its statistics from the batch.")
        scale = (module.running_var + module.eps).rsqrt() * (1.0 if weight is None else weight.abs())
        return lambda given: given * scale.view(-1, *[1] * (given.dim() - 2))
    if module.padding_mode != "zeros":
        raise InputError(f"{network} cannot be bounded: {name} pads by {module.padding_mode}.")
    convolve: Any = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
    settings = (module.stride, module.padding, module.dilation, module.groups)
    return lambda given: convolve(given, weight.abs(), None, *settings)


def _moved(called: str, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...]) -> Map:
    """What only moves values about, for any number of images."""
    if called == "permute":
        order = args[1] if isinstance(args[1], tuple | list) else args[1:]
        return lambda given: given.permute(*order)
    return lambda given: given.reshape(len(given), *shape)
