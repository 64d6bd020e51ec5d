"""Rectifiers, seen as the network computes them, in whatever form they are written.

The usual implementations hook `nn.ReLU` modules and so miss, without a word, a network that calls
F.relu or writes x * (x > 0). Here a function mode sees the operations themselves. Known by name are relu
and relu_ as module, function or method, in place or not, reused; relu6; hardtanh from 0; threshold at 0
to 0; clamp, clip and clamp_min from 0 without upper end or up to 6 (other ends are taken for range
checks). Everything else is known by what it does: the last few elementwise operations are kept, and where
they make y of x, they are computed again with a ramp of both signs in the place of x. If that gives
max(ramp, 0), with its slope, y is x rectified: by product, maximum, where, absolute value or masks.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SMOOTH = frozenset(("gelu", "hardswish", "log_sigmoid", "mish", "silu", "softplus", "softsign", "tanh"))
LEAKY = frozenset(("celu", "elu", "leaky_relu", "prelu", "rrelu", "selu"))
UNRULED = SMOOTH | LEAKY | {"hardshrink", "softshrink", "tanhshrink"}
GATES = frozenset(("erf", "exp", "hardsigmoid", "sigmoid", "special_erf", "special_expit"))
RECTIFIERS = frozenset(("clamp", "clamp_min", "clip", "hardtanh", "relu", "relu6", "threshold"))
COMPARISONS = frozenset(("ge", "greater", "greater_equal", "gt", "le", "less", "less_equal", "lt"))
KINKS = COMPARISONS | {
    *("abs", "absolute", "clamp", "clamp_max", "clamp_min", "clip", "fmax", "fmin", "hardtanh", "heaviside"),
    *("masked_fill", "max", "maximum", "min", "minimum", "sgn", "sign", "sqrt", "threshold", "where"),
}
STRAIGHT = {
    *("add", "bfloat16", "bitwise_not", "bool", "clone", "contiguous", "detach", "div", "divide", "double"),
    *("float", "half", "invert", "logical_not", "mul", "multiply", "neg", "negative", "pow", "rdiv", "rmul"),
    *("rsub", "square", "sub", "subtract", "to", "true_divide", "type", "type_as"),
}
ELEMENTWISE = STRAIGHT | KINKS | {"leaky_relu", "prelu"}
KEPT = 24  # elementwise operations that are remembered
DEEPEST = 8  # of them between a rectifier's input and its output
FEW = 16  # values by which most operations are known to be no rectifier
RAMP = 8.1  # the ramp leads from minus this to a little less than this


@dataclass(frozen=True)
class _Call:
    """One operation with what it was given, and what it gave."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Tensor | None = None

    def tensors(self) -> Iterator[Tensor]:
        return (one for one in (*self.args, *self.kwargs.values()) if isinstance(one, Tensor))


class Rectifiers(TorchFunctionMode):
    """A context that shows a forward's rectifiers and other nonlinearities to its own methods.

    What it does with them a subclass says: `rectified` and `activated` compute them and may watch. `others`
    are the names of the nonlinearities that are no rectifiers.
    """

    def __init__(self) -> None:
        super().__init__()
        self._recent: OrderedDict[int, _Call] = OrderedDict()
        self._bent: dict[int, str] = {}  # results of kinks that are part of no rectifier so far
        self._named: set[str] = set()

    def concerns(self, x: Tensor) -> bool:
        """Whether operations on this tensor matter."""
        return True

    def rectified(self, x: Tensor, operation: Callable[[Tensor], Tensor], top: float) -> Tensor:
        """min(max(x, 0), top), which is `operation(x)`; x itself where that is in place."""
        return operation(x)

    def activated(self, x: Tensor, operation: Callable[[], Tensor]) -> Tensor:
        """Another activation of x, known by its name."""
        return operation()

    @property
    def others(self) -> set[str]:
        """The names of nonlinearities that are no rectifiers, nor a part of one."""
        return self._named | set(self._bent.values())

    def __exit__(self, *raised: Any) -> None:
        self._recent.clear()
        super().__exit__(*raised)

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # relu, relu_, _threshold, and relu.default of torch.ops: one name for all forms
        full = getattr(func, "__name__", "").partition(".")[0]
        name, call = full.strip("_"), _Call(func, args, kwargs)
        x = args[0] if args else kwargs.get("input")
        if name in RECTIFIERS and isinstance(x, Tensor) and self.concerns(x) and not self._is_step(x):
            if (top := _top(name, args, kwargs)) is not None:
                return self.rectified(x, partial(_with, call, x), top)
            if name == "hardtanh":
                self._named.add(name)
        if name in UNRULED | GATES and isinstance(x, Tensor) and self.concerns(x):
            if name in ELEMENTWISE and _is_rectifier(call, x, {}):
                return self.rectified(x, partial(_with, call, x), math.inf)
            self._named.add(name)
            return self.activated(x, lambda: func(*args, **kwargs))
        if name not in ELEMENTWISE or not any(self.concerns(one) for one in self._leaves(call)):
            return func(*args, **kwargs)
        return self._elementwise(call, name, in_place=full.endswith("_") and not full.startswith("_"))

    def _is_step(self, x: Tensor) -> bool:
        """Whether it is a sign, through which no gradient passes: then it is a part of what is made of it."""
        made = self._recent.get(id(x))
        return made is not None and _name(made) in ("heaviside", "sgn", "sign")

    def _elementwise(self, call: _Call, name: str, *, in_place: bool) -> Any:
        """An operation that may end a rectifier, is remembered as a part of one, or neither."""
        output = None if in_place else call.func(*call.args, **call.kwargs)
        if name in KINKS or any(id(one) in self._recent for one in call.tensors()):
            for x in self._sources(call):
                if in_place and call.args[0] is not x:
                    continue  # what is changed is neither the rectifier's input nor new
                if not in_place and _refuted(x, output):
                    continue
                if _is_rectifier(call, x, self._recent):
                    for part in self._parts(call):
                        self._bent.pop(id(part), None)
                    return self.rectified(x, partial(_with, call, x), math.inf)
        if in_place:
            output = call.func(*call.args, **call.kwargs)
        if in_place:
            self._recent.pop(id(output), None)
        elif isinstance(output, Tensor):
            self._recent[id(output)] = _Call(call.func, call.args, call.kwargs, output)
            while len(self._recent) > KEPT:
                self._recent.popitem(last=False)
            if name in KINKS and not (name in ("max", "min") and len(list(call.tensors())) < 2):
                self._bent[id(output)] = name
        return output

    def _parts(self, call: _Call) -> list[Tensor]:
        """The tensors from which a call was made by remembered operations, the nearest first."""
        found: dict[int, Tensor] = {}
        ahead = [(one, 1) for one in call.tensors()]
        for tensor, depth in ahead:
            found.setdefault(id(tensor), tensor)
            if depth < DEEPEST and (made := self._recent.get(id(tensor))) is not None:
                ahead += [(one, depth + 1) for one in made.tensors() if id(one) not in found]
        return list(found.values())

    def _leaves(self, call: _Call) -> Iterator[Tensor]:
        """The floating-point tensors from which a call was made."""
        return (one for one in self._parts(call) if one.is_floating_point())

    def _sources(self, call: _Call) -> list[Tensor]:
        """What a call might rectify; nothing where no operation on the way has a kink."""
        parts = self._parts(call)
        names = {_name(call), *(_name(self._recent[id(one)]) for one in parts if id(one) in self._recent)}
        if not names & KINKS:
            return []
        found = [one for one in parts if one.is_floating_point() and one.ndim and self.concerns(one)]
        return [one for one in found if not self._is_step(one)]


def keeps_result(operation: Callable[[Tensor], Tensor]) -> bool:
    """Whether what `rectified` is given is PyTorch's own relu, which keeps its result for the way back."""
    return isinstance(operation, partial) and _name(operation.args[0]) == "relu"


def _name(call: _Call) -> str:
    return getattr(call.func, "__name__", "").partition(".")[0].strip("_")


@torch.no_grad()
def _refuted(x: Tensor, output: Any) -> bool:
    """Whether a few values show that an output is not x rectified: most are not, and a trial costs more."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.shape != x.shape:
        return True
    y, expected = (one[(0,) * (x.ndim - 1)][..., :FEW] for one in (output, x))
    expected = expected.clamp_min(0)
    return bool(((y - expected).abs() > 2 * (1e-3 * expected.abs() + 1e-5)).any())


def _is_rectifier(call: _Call, x: Tensor, recent: Mapping[int, _Call]) -> bool:
    """Whether a call, with the operations before it, makes max(x, 0) of x, with its slope.

    It is tried on the first image of x, and where that is not refused, on all of x.
    """
    several = x.ndim > 1 and len(x) > 1
    return (not several or _ramps(call, x, recent, first=True)) and _ramps(call, x, recent, first=False)


def _ramps(call: _Call, x: Tensor, recent: Mapping[int, _Call], *, first: bool) -> bool:
    """Whether ramps of both signs in the place of x are rectified; with `first`, only its first row is."""
    shape = x[:1].shape if first else x.shape
    with torch.enable_grad():
        for sign in (1, -1):
            ramp = torch.linspace(-RAMP, RAMP - 0.4, shape.numel(), device=x.device).to(x.dtype).view(shape)
            ramp = (sign * ramp).requires_grad_(True)
            try:
                output = _run(call, {id(x): ramp.clone()}, recent, x.shape if first else None)
                if not isinstance(output, Tensor) or output.shape != shape or not output.requires_grad:
                    return False
                if not _near(output, ramp.relu(), 1e-3, 1e-5):
                    return False
                (slope,) = torch.autograd.grad(output.sum(), ramp)
            except RuntimeError:  # it cannot be computed again; then it is not known
                return first  # a part of it may fail where the whole does not
            if not _near(slope, (ramp > 0).to(slope), 0, 1e-3):
                return False
    return True


@torch.no_grad()
def _near(a: Tensor, b: Tensor, relative: float, absolute: float) -> bool:
    """As torch.allclose, which takes three times as long."""
    return bool(((a - b).abs() <= relative * b.abs() + absolute).all())


def _with(call: _Call, x: Tensor, value: Tensor) -> Any:
    """A call with `value` in the place of x."""
    return _run(call, {id(x): value})


def _run(
    call: _Call,
    known: dict[int, Tensor],
    recent: Mapping[int, _Call] | None = None,
    first_of: torch.Size | None = None,
) -> Any:
    """A call with other tensors in the place of some, and what remembered operations made of these.

    With `first_of`, of other tensors of that shape the first row is taken.
    """

    def replaced(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        if id(one) not in known and recent is not None and (made := recent.get(id(one))) is not None:
            known[id(one)] = _run(made, known, recent, first_of)
        if id(one) not in known and one.shape == first_of:
            return one[:1]
        return known.get(id(one), one)

    args = [replaced(one) for one in call.args]
    return call.func(*args, **{key: replaced(one) for key, one in call.kwargs.items()})


def _top(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float | None:
    """Where a rectifier known by its name ends, infinity for the plain one; None for what is none."""

    def given(place: int, key: str, default: Any) -> Any:
        found = args[place] if len(args) > place else kwargs.get(key, default)
        return default if isinstance(found, Tensor) else found

    if name == "relu":
        return math.inf
    if name == "relu6":
        return 6.0
    if name == "hardtanh":
        low, high = given(1, "min_val", -1.0), given(2, "max_val", 1.0)
        return float(high) if low == 0 else None
    if name == "threshold":
        return math.inf if given(1, "threshold", None) == 0 and given(2, "value", None) == 0 else None
    if name == "clamp_min":
        return math.inf if given(1, "min", None) == 0 else None
    if name in ("clamp", "clip"):
        upper = args[2] if len(args) > 2 else kwargs.get("max")
        if given(1, "min", None) == 0 and not isinstance(upper, Tensor) and upper in (None, 6):
            return math.inf if upper is None else 6.0
    return None
