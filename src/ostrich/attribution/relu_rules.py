"""Other rules for the way back through a ReLU: deconvnet and guided backpropagation.

With y = max(x, 0) on the way forward and g arriving from above, what is passed down is

    gradient                  g  where x > 0              Simonyan 2014
    deconvnet                 g  where g > 0              Zeiler and Fergus 2014, section 2.1
    guided backpropagation    g  where x > 0 and g > 0    Springenberg 2015, section 3.4, figure 1

and everything else (convolutions, pooling with its switches, normalisation) passes its gradient.
A unit summed over a whole map sends the same signal everywhere; the deconvnet's, which does not
look at the image, can then be zero everywhere: ask for a neuron (LAYER:CHANNEL@ROW,COLUMN).

    redirected                the gradient; where it is blocked for the whole image, g where g > 0

is no attribution: it is the way uphill for a unit that is dead (lucid's redirected ReLU, Olah 2017).

A clipped ReLU, min(max(x, 0), top), is a ReLU whose x > 0 reads 0 < x < top.

The usual implementations hook `nn.ReLU` modules and so return the plain gradient, without a word,
where a network calls F.relu or nn.ReLU6. Here one function mode sees the operation itself, in
whatever form it is written: relu and relu_ as module, function or method, in place or not, reused;
relu6; hardtanh from 0; threshold at 0 to 0; clamp, clip and clamp_min from 0 without upper end or
up to 6 (other ends are taken for range checks). It cannot see max(x, 0) by `maximum`, `where` or
multiplication with (x > 0). Activations for which these rules were never published are refused;
sigmoids pass as gates, but not as a network's only nonlinearity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from ostrich.attribution.backward import gradients
from ostrich.attribution.question import Question, applying
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.networks import is_compiled
from ostrich.units import Unit, values

DECONVNET, GUIDED, REDIRECTED = "deconvnet", "guided", "redirected"
SMOOTH = frozenset(("gelu", "hardswish", "log_sigmoid", "mish", "silu", "softplus", "softsign", "tanh"))
LEAKY = frozenset(("celu", "elu", "leaky_relu", "prelu", "rrelu", "selu"))
UNRULED = SMOOTH | LEAKY | {"hardshrink", "softshrink", "tanhshrink"}
GATES = frozenset(("hardsigmoid", "sigmoid"))
RECTIFIERS = frozenset(("clamp", "clamp_min", "clip", "hardtanh", "relu", "relu6", "threshold"))
KNOWN = UNRULED | GATES | RECTIFIERS


def by_rule(rule: str, question: Question) -> Tensor:
    """What comes back (N, U, C, H, W) from the units to the images under DECONVNET or GUIDED.

    Raises InputError for a network with an activation that has no such rule, and AssertionError,
    a fault of ours, where the network computes anything else under the rule than without it.
    """
    if is_compiled(question.classifier.network):
        raise InputError(
            f"{question.classifier.name} is compiled: its ReLUs cannot be reached. Give the network as it is "
            f"written. {applying()}"
        )

    def compute(classifier: Classifier, inputs: Tensor, units: Sequence[Unit]) -> Tensor:
        with ReluRule(rule) as seen:
            computed = values(classifier, inputs.clone(), units)
        if seen.gates and not seen.rectifiers:
            raise _unruled(rule, min(seen.gates))
        plain = values(classifier, inputs.clone(), units)
        if not _same(plain, computed):
            if not _same(plain, values(classifier, inputs.clone(), units)):
                raise InputError(f"{classifier.name} does not answer the same image the same way twice.")
            raise AssertionError(f"the forward pass under the rule {rule} differs from the plain one")
        return computed

    return torch.cat([gradients(part, compute=compute) for part in question.parts()])


class ReluRule(TorchFunctionMode):
    """A context in which every ReLU that a gradient will pass through has the rule's way back.

    The rule is DECONVNET, GUIDED or REDIRECTED. `rectifiers` counts those it has seen, `gates` names
    the sigmoids.
    """

    def __init__(self, rule: str) -> None:
        super().__init__()
        assert rule in (DECONVNET, GUIDED, REDIRECTED), rule
        self.rule = rule
        self.rectifiers = 0
        self.gates: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # relu, relu_, _threshold, and relu.default of torch.ops: one name for all forms
        name = getattr(func, "__name__", "").partition(".")[0].strip("_")
        x = args[0] if args else kwargs.get("input")
        if name not in KNOWN or not isinstance(x, Tensor) or not x.requires_grad:
            return func(*args, **kwargs)
        top = _top(name, args, kwargs)
        if self.rule == REDIRECTED and (top is None or not torch.is_grad_enabled()):
            return func(*args, **kwargs)
        if name in UNRULED or (name == "hardtanh" and top is None):
            raise _unruled(self.rule, name)
        if name in GATES:
            self.gates.add(name)
        if top is None:
            return func(*args, **kwargs)
        if not torch.is_grad_enabled():
            raise InputError(
                f"{self.rule} cannot reach a ReLU inside a torch.autograd.Function of the network's own, or "
                f"under no_grad. {applying()}"
            )
        self.rectifiers += 1
        rest = {key: value for key, value in kwargs.items() if key != "input"}
        return _Rectifier.apply(x, lambda value: func(value, *args[1:], **rest), top, self.rule)


class _Rectifier(torch.autograd.Function):
    """The plain operation forward, in place if it is; the rule backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plain: Callable[[Tensor], Tensor], top: float, rule: str) -> Tensor:
        ctx.redirected = rule == REDIRECTED
        if rule != DECONVNET:  # a mask: a byte for each value, where a copy of x would take four
            ctx.save_for_backward((x > 0) & (x < top) if math.isfinite(top) else x > 0)
        y = plain(x)
        if y is x:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        if ctx.redirected:
            (mask,) = ctx.saved_tensors
            passed = mask & (above != 0)
            blocked = ~passed.flatten(1).any(1) if passed.ndim > 1 else ~passed
            passed |= blocked.view(-1, *[1] * (passed.ndim - 1)) & (above > 0)
        else:
            passed = above > 0
            for mask in ctx.saved_tensors:
                passed &= mask
        return torch.where(passed, above, 0), None, None, None


def _top(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float | None:
    """Where a rectifier ends, infinity for the plain one; None for what is no rectifier."""

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


def _unruled(rule: str, activation: str) -> InputError:
    return InputError(
        f"{rule} is a rule for ReLUs; this network uses {activation}, for which none was published. "
        f"{applying()}"
    )


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal bit for bit, NaN at the same places included."""
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
