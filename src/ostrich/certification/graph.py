"""How a network becomes a graph that bounds can walk: traced, and each step known or refused.

`torch.fx` traces it. Convolutions, linear layers, batch norm in evaluation mode, average pooling, products
and sums with constants, and all that only moves values about are affine; rectifiers and sums of outputs are
what they are; anything else that comes from the image is refused in words. What does not come from it is a
constant. That a step is the one it is called is seen by its code, not by its answers: a function of somebody
else, a hook, a forward of its own or an argument that is not known refuses it, however it answers for a few
images. These are tried besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ostrich.certification.layers import KEPT, KNOWN, SUMS, Map, arithmetic, changed, is_affine, layer, same
from ostrich.certification.nodes import Graph, Node
from ostrich.errors import InputError, OstrichError, first_line
from ostrich.models import Classifier
from ostrich.models.batch_dependence import very_different
from ostrich.runtime.randomness import undrawn

AGREEMENT = 1e-4  # largest difference of the graph's answers from the network's, relative to their scale
PRECISE = (torch.float32, torch.float64)
SHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous")
LINES = ("mean", "avg_pool2d", "adaptive_avg_pool2d", "pad", "getitem", "permute")  # weights from 0 up
FACTS = ("size", "dim", "shape", "ndim", "dtype", "device")  # of a tensor, whatever its values
CAN = "convolution, linear, batch norm, average pooling, ReLU, flatten and sums"


def graph_of(classifier: Classifier, shape: tuple[int, ...]) -> Graph:
    """The graph of a classifier on images (C, H, W) of that shape; its parameters are to be frozen.

    Raises InputError, with the reason, where a part of it is none that can be bounded, or where it cannot be
    followed.
    """
    network, name, dtype = classifier.network, classifier.name, classifier.dtype
    if not isinstance(network, nn.Module):
        raise InputError(f"{name} is a prediction function: bounds need its layers.")
    classifier.examine()
    if classifier.neighbours is not None:
        raise InputError(f"{name} cannot be bounded: {classifier.neighbours}.")
    if dtype not in PRECISE:
        raise InputError(
            f"{name} computes in {str(dtype).removeprefix('torch.')}: what it rounds is larger than what a "
            "bound may be off. Bounds are computed of float32 and float64; load it as `.float()`."
        )
    if why := changed(network):
        raise InputError(f"{name} cannot be bounded: it {why}.")
    random = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    examples = torch.cat([random, very_different(random)[0]]).to(classifier.device, dtype)
    try:
        with torch.inference_mode(False), torch.no_grad(), undrawn(classifier.device):
            expected = torch.cat([classifier.predict(one) for one in examples.split(1)])
            graph = _followed(classifier, network, examples[:1])
            found = graph.forward(examples)[-1]
    except OstrichError:
        raise
    except Exception as error:
        reason = first_line(error)
        raise InputError(f"{name} cannot be followed layer by layer ({reason}).") from None
    if not (found - expected).abs().max() <= AGREEMENT * expected.abs().max().clamp_min(1.0):
        raise InputError(f"{name} cannot be followed: its graph answers otherwise than it does.")
    return graph


def _followed(classifier: Classifier, network: nn.Module, example: Tensor) -> Graph:
    """The graph of a network, found by running it on an example (1, C, H, W)."""
    scale = classifier.normalised(torch.ones_like(example)) - classifier.normalised(torch.zeros_like(example))
    shape, drawn = tuple(example.shape[1:]), torch.get_rng_state()
    normal = Node("affine", (0,), shape, classifier.normalised, lambda given: given * scale.abs())
    builder = _Builder(fx.symbolic_trace(network), [Node("input", (), shape), normal], classifier)
    builder.run(classifier.normalised(example))
    if not torch.equal(drawn, torch.get_rng_state()):
        raise InputError(f"{classifier.name} cannot be bounded: it draws random numbers.")
    return Graph(builder.nodes, example.dtype)


class _Builder(fx.Interpreter):
    """Runs the traced network on an example, and notes what each step is.

    `place` is where the steps that come from the image stand among the nodes, and `version` how often their
    outputs had been written into when they were noted. What does not come from the image is a constant. What
    cannot be bounded is `refused`, and with it what takes it: only if the scores do is it raised.
    """

    def __init__(self, traced: fx.GraphModule, nodes: list[Node], classifier: Classifier) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # what is refused is said as it is, without the tracer's notes
        self.nodes, self.classifier = nodes, classifier
        self.place: dict[fx.Node, int] = {}
        self.version: dict[fx.Node, int] = {}
        self.refused: dict[fx.Node, InputError] = {}

    def run_node(self, node: fx.Node) -> Any:
        """One step of the network."""
        if node.op == "output":
            return self._end(node)
        held = {one: self.env[one] for one in node.all_input_nodes}
        versions = {one: _version(value) for one, value in held.items()}
        output = super().run_node(node)
        written = [one for one, version in versions.items() if _version(held[one]) != version]
        try:
            self._take(node, held, versions, written, output)
        except InputError as error:
            self.refused |= dict.fromkeys([node, *written], error)
        return output

    def _take(
        self,
        node: fx.Node,
        held: dict[fx.Node, Any],
        versions: dict[fx.Node, int],
        written: Sequence[fx.Node],
        output: Any,
    ) -> None:
        """Note a step. Raises InputError where it cannot be bounded."""
        for one in held:
            if one in self.refused:
                raise self.refused[one]
        if node.op == "placeholder":
            if self.place:
                raise InputError(f"{self.classifier.name} takes more than images; only those can be bounded.")
            self._known(node, output, len(self.nodes) - 1)
        moved = [one for one in held if one in self.place]
        if not moved or (node.args[1] if node.target is getattr else node.target) in FACTS:
            return
        if any(versions[one] != self.version[one] for one in moved):
            raise self._refusal(node, "takes what was written into by another name")
        if any(held[one] is not output or one not in moved for one in written):
            raise self._refusal(node, "writes into what it is given")
        if not isinstance(output, Tensor) or output.shape[:1] != (1,):
            raise self._refusal(node)
        if output.dtype != held[moved[0]].dtype:
            raise self._refusal(node, "changes the floating type")
        self._note(node, self._step(node, held, moved, output), output)
        for one in [one for one, value in self.env.items() if written and value is output]:
            self._known(one, output, len(self.nodes) - 1)

    def _note(self, node: fx.Node, found: Node, output: Tensor) -> None:
        found.input_shape = self.nodes[found.parents[0]].shape
        if found.kind == "affine":
            assert found.apply is not None
            assert found.magnitude is not None
            if not is_affine(found.apply, found.magnitude, found.input_shape, output):
                raise self._refusal(node, "is not as linear as it looks")
        self.nodes.append(found)
        self._known(node, output, len(self.nodes) - 1)

    def _known(self, node: fx.Node, output: Tensor, place: int) -> None:
        self.place[node], self.version[node] = place, _version(output)

    def _end(self, node: fx.Node) -> None:
        """Leave a node (K,) at the end: the scores, found where the classifier reads them.

        It is given a number of each step in place of its output, and what it reads is the number: of a
        constant 0, of what is refused one below.
        """
        errors = list(dict.fromkeys(self.refused.values()))
        numbers = self.place | {one: -1 - errors.index(error) for one, error in self.refused.items()}

        def marked(one: Any) -> Any:
            value = self.env[one] if isinstance(one, fx.Node) else one
            return torch.full_like(value, numbers.get(one, 0)) if isinstance(value, Tensor) else value

        returned = fx.node.map_aggregate(node.args[0], marked)
        inputs = torch.zeros(1, *self.nodes[0].shape).to(self.classifier.device)
        read = self.classifier.answers(inputs, lambda _: returned)
        place, name, output = int(read[0, -1]), self.classifier.name, self.classifier.output
        if place < 0:
            raise errors[-1 - place]
        if place == 0:
            raise InputError(f"{name} cannot be bounded: its answer does not come from the image.")
        count = torch.Size(self.nodes[place].shape).numel()
        if (read != place).any() or read.shape != (1, count):
            raise InputError(f"{name} cannot be bounded: its scores are made of what it returns ({output}).")
        del self.nodes[place + 1 :]  # what follows is no part of the scores
        if self.nodes[place].shape != (count,):
            self.nodes.append(Node("affine", (place,), (count,), _reshaped((count,)), _reshaped((count,))))

    def _step(
        self, node: fx.Node, held: dict[fx.Node, Any], moved: Sequence[fx.Node], output: Tensor
    ) -> Node:
        """What a step is that takes outputs `moved` of others, among the values `held`."""
        target = self.fetch_attr(str(node.target)) if node.op == "call_module" else node.target
        given = [one for one in (*node.args, *node.kwargs.values()) if isinstance(one, fx.Node)]
        parents = tuple(self.place[one] for one in given if one in self.place)
        shape, called = tuple(output.shape[1:]), _called(target)
        if target in SUMS and len(parents) == 2 and set(node.kwargs) <= {"input", "other"}:
            return Node("sum", tuple(self._expanded(place, shape) for place in parents), shape)
        if len(parents) != 1 or len(moved) != 1:
            raise self._refusal(node)
        if isinstance(target, nn.Module):
            return self._layer(node, target, parents, shape)
        if called in ("relu", "relu_"):
            return Node("relu", parents, shape, F.relu, F.relu)
        if called in ("dropout", "dropout2d") and not _drops(node):
            return Node("affine", parents, shape, same, same)
        if called in SHAPES:
            return Node("affine", parents, shape, _reshaped(shape), _reshaped(shape))
        if called in LINES:
            function = target if callable(target) else getattr(Tensor, str(target))

            def line(given: Tensor) -> Tensor:
                args, kwargs = fx.node.map_arg(
                    (node.args, node.kwargs), lambda one: given if one is moved[0] else held[one]
                )
                found: Tensor = function(*args, **kwargs)
                return found

            def size(given: Tensor) -> Tensor:  # without the border that a map is padded with
                return line(given) - line(torch.zeros_like(given))

            return Node("affine", parents, shape, line, size)
        return self._arithmetic(node, parents, shape)

    def _layer(
        self, node: fx.Node, module: nn.Module, parents: tuple[int, ...], shape: tuple[int, ...]
    ) -> Node:
        kind = next((kind for kind in KNOWN if isinstance(module, kind)), None)
        if kind is None:
            raise self._refusal(node)
        if why := changed(module, kind):
            raise self._refusal(node, why)
        if kind is nn.ReLU:
            return Node("relu", parents, shape, F.relu, F.relu)
        if kind in KEPT:
            return Node("affine", parents, shape, same, same)
        try:
            return Node("affine", parents, shape, *layer(module))
        except ValueError as error:
            raise self._refusal(node, str(error)) from None

    def _arithmetic(self, node: fx.Node, parents: tuple[int, ...], shape: tuple[int, ...]) -> Node:
        """A sum, difference, product or quotient with a constant."""
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        if len(args) == 2 and not kwargs:
            first = node.args[0] in self.place
            maps = arithmetic(node.target, args[1] if first else args[0], first=first)
            if maps is not None:
                return Node("affine", parents, shape, *maps)
        raise self._refusal(node)

    def _expanded(self, place: int, shape: tuple[int, ...]) -> int:
        """The place of a step's output in another shape, as sums bring it to."""
        own = self.nodes[place].shape
        if own == shape:
            return place

        def expand(given: Tensor) -> Tensor:
            row = given.reshape(len(given), *[1] * (len(shape) - len(own)), *own)
            return row.expand(len(given), *shape)

        self.nodes.append(Node("affine", (place,), shape, expand, expand, own))
        return len(self.nodes) - 1

    def _refusal(self, node: fx.Node, why: str = "") -> InputError:
        target = self.fetch_attr(str(node.target)) if node.op == "call_module" else node.target
        what = type(target).__name__ if isinstance(target, nn.Module) else getattr(target, "__name__", target)
        part = f"{self.classifier.name} cannot be bounded: its part {node.name}"
        return InputError(f"{part}, {what}, {why}." if why else f"{part} is {what}. What can be is {CAN}.")


def _called(target: Any) -> str:
    """What a method, or a function of torch or Python, is called; nothing for one of somebody else."""
    if isinstance(target, str):
        return target
    room = (getattr(target, "__module__", None) or "").split(".")[0]
    return getattr(target, "__name__", "") if room in ("torch", "_operator") else ""


def _drops(node: fx.Node) -> bool:
    """Whether a call of dropout(input, p, training) drops anything."""
    training = node.kwargs.get("training", node.kwargs.get("train", True))
    return bool(node.args[2] if len(node.args) > 2 else training)


def _version(value: Any) -> int:
    """How often a tensor, by whatever name, was written into."""
    return value._version if isinstance(value, Tensor) and not value.is_inference() else 0


def _reshaped(shape: tuple[int, ...]) -> Map:
    return lambda given: given.reshape(len(given), *shape)
