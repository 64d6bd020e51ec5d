"""The layers of a network whose weights can be made random, in the order in which an image meets them.

One forward is watched. A parameter's place is that of the first operation that takes it, or what is made of
it, beside something made of the image; when its module is called says less, as a head that the network holds
itself is used last. Weights that are held otherwise (buffers, plain tensors, 8 bits) stay as they are and
are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from ostrich.errors import InputError
from ostrich.inspection.watching import module_of
from ostrich.models.classifier import Classifier
from ostrich.runtime.randomness import keyed, seeded

NETWORK = "(network)"
PLAIN = "a tensor that is no parameter"
PRODUCTS = frozenset(
    ("linear", "matmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "bilinear", "tensordot")
)  # and convolutions: of two arguments, one of them weights
PURPOSE = 0x5241  # of random numbers


@dataclass(frozen=True)
class Stage:
    """A layer with what belongs to it: its `name` and parameters."""

    name: str
    parameters: tuple[nn.Parameter, ...]


def stages(classifier: Classifier) -> list[Stage]:
    """The layers with weights, in the order in which a forward first uses them.

    What is no matrix (a normalisation's scale) belongs to the layer before it, and parameters of a module
    that is never called itself to the module around it. Where the operations on some of them cannot be seen,
    as inside of TorchScript, the network is one layer. Raises InputError for a network without parameters in
    floating point.
    """
    return stages_and_kept(classifier)[0]


def stages_and_kept(classifier: Classifier) -> tuple[list[Stage], tuple[str, ...]]:
    """`stages`, and the names of the other weights, which cannot be made random, in order."""
    network = module_of(classifier)
    held = dict(network.named_parameters())
    drawable = {name: one for name, one in held.items() if one.is_floating_point()}
    seen = _watched(classifier, network, frozenset(drawable))
    unseen = [one for name, one in drawable.items() if name not in seen.met]
    hidden = bool(unseen) and _moves(classifier, unseen)
    layers = [Stage(NETWORK, tuple(drawable.values()))] if hidden else _layers(drawable, seen)
    if not layers:
        raise InputError(f"{classifier.name} has no parameters that could be made random.")
    packed = {name for name, one in held.items() if name not in drawable and one.ndim > 1}
    kept = {name: seen.met.get(name, 0) for name in sorted(seen.kept | packed)}
    kept |= {owner: seen.called[owner] for owner in map(seen.owner, _in_eight_bits(network))}
    return layers, tuple(sorted(kept, key=kept.__getitem__))


@contextmanager
def randomised(layers: Sequence[Stage], numbers: Sequence[int], seed: int) -> Iterator[None]:
    """The numbered layers with random parameters; a layer's are the same whichever others are."""
    kept: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for number in numbers:
            for turn, parameter in enumerate(layers[number].parameters):
                kept.append((parameter, parameter.data))
                parameter.data = _drawn(parameter.data, keyed(seed, PURPOSE, number, turn))
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data


def _drawn(values: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers with the mean and the standard deviation of the values.

    Where these are all alike, the deviation of weights (M, ...) is their size, of zeros that of a fresh
    layer, the root of 1 / fan-in; scales and shifts, which go with a layer's weights, are kept.
    """
    noise = torch.randn(values.shape, generator=generator).to(values)
    if values.numel() and values.amin() != values.amax():
        return values.mean() + values.std() * noise
    if values.ndim < 2 or not values.numel():
        return values.clone()
    size = values.mean().abs().item() or (len(values) / values.numel()) ** 0.5
    return values + size * noise


class _Watch(TorchFunctionMode):
    """A context that says when each of a network's tensors, by name, meets what is made of the image.

    `met` has a number for each, the larger the later, also of one that never meets it but takes part in
    an operation; `called` has the same of modules when they are called; `kept` are those of two axes or more
    by which something of the image was multiplied, and that none of the `drawable` has a part in.
    """

    def __init__(self, network: nn.Module, drawable: frozenset[str]) -> None:
        super().__init__()
        self.met: dict[str, int] = {}
        self.called: dict[str, int] = {"": 0}
        self.kept: set[str] = set()
        named = (*network.named_parameters(), *network.named_buffers())
        self._names = {id(tensor): name for name, tensor in named}
        self._drawable, self._time, self._inside = drawable, 0, False
        self._used: dict[str, int] = {}
        self._of_image, self._made_of = WeakIdKeyDictionary(), WeakIdKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        made = list(_tensors(args[0] if name == "__setitem__" else output))
        if made and self._inside:
            self._time += 1
            self._saw(name.strip("_"), list(_tensors((args, kwargs))), made)
        return output

    def __exit__(self, *raised: Any) -> None:
        self.met = self._used | self.met
        super().__exit__(*raised)

    def owner(self, name: str) -> str:
        """The module, of those that were called, to which a tensor of that name belongs."""
        name = name.partition(".parametrizations.")[0]
        while name and name not in self.called:
            name = name.rpartition(".")[0]
        return name

    def enters(self, name: str, _module: nn.Module, args: Any, kwargs: Any) -> None:
        """To be told before a module is called; the network itself, called "", with the image."""
        self.called.setdefault(name, self._time)
        if not name:
            self._inside = True
            for one in _tensors((args, kwargs)):
                self._of_image[one] = True

    def leaves(self, *_about: Any) -> None:
        """To be told when the network has answered: what is done around it is no operation of its."""
        self._inside = False

    def _saw(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        others = {id(one): one for one in given if one not in self._of_image}
        sources = {place: self._sources(one) for place, one in others.items()}
        together = frozenset[str]().union(*sources.values())
        if len(others) < len({id(one) for one in given}):  # something of the image is among them
            when, results = self.met, self._of_image
            for place, one in others.items() if name in PRODUCTS or name.startswith("conv") else ():
                if one.ndim > 1 and not self._drawable & sources[place]:
                    self.kept |= sources[place]
        else:
            when, results = self._used, self._made_of
        for source in together:
            when.setdefault(source, self._time)
        for one in made:
            results[one] = together

    def _sources(self, tensor: Tensor) -> frozenset[str]:
        """What a tensor that is not of the image was made of."""
        if id(tensor) in self._names:
            return frozenset((self._names[id(tensor)],))
        found: frozenset[str] = self._made_of.get(tensor, frozenset((PLAIN,)))
        return found


def _watched(classifier: Classifier, network: nn.Module, drawable: frozenset[str]) -> _Watch:
    """What a forward of one grey image showed."""
    seen = _Watch(network, drawable)
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
                told = partial(seen.enters, name)
                hooks.callback(module.register_forward_pre_hook(told, with_kwargs=True).remove)
                if not name:
                    hooks.callback(module.register_forward_hook(seen.leaves, always_call=True).remove)
        with seen:
            classifier.probe()
    return seen


def _moves(classifier: Classifier, parameters: Sequence[nn.Parameter]) -> bool:
    """Whether the answer to a grey image is another one with these parameters random."""
    with seeded(0, classifier.device):
        learned = classifier.probe()
    with randomised([Stage(NETWORK, tuple(parameters))], [0], 0), seeded(0, classifier.device):
        random = classifier.probe()
    return not torch.allclose(learned, random, equal_nan=True)


def _layers(held: dict[str, nn.Parameter], seen: _Watch) -> list[Stage]:
    """Parameters, by name, as layers in order.

    Those without a matrix go with the layer before, or the first after. What nothing was seen to use goes
    with the module that was called around it.
    """
    when = {name: seen.met.get(name, seen.called[seen.owner(name)]) for name in held}
    runs = [(owner, list(run)) for owner, run in groupby(sorted(held, key=when.__getitem__), seen.owner)]
    matrices = {name for name in held if held[name].ndim > 1 and name in seen.met}
    layers: list[tuple[str, list[str]]] = []
    waiting: list[str] = []
    owners = [owner for owner, run in runs if matrices.intersection(run)]
    for owner, run in runs:
        first = next((name for name in run if name in matrices), None)
        if first is not None:
            layers.append((owner if owner and owners.count(owner) == 1 else first, [*run, *waiting]))
            waiting = []
        elif layers:
            layers[-1][1].extend(run)
        else:
            waiting += run
    return [Stage(name, tuple(held[one] for one in run)) for name, run in layers]


def _in_eight_bits(network: nn.Module) -> Iterator[str]:
    """The names of what a network holds in torch's quantised tensors."""
    for name, value in network.state_dict().items():
        if any(one.is_quantized for one in _tensors(value)):
            yield name


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in a value, and in the collections that it is made of."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)
