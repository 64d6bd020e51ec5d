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

What is a ReLU is decided by what the network computes, however it is written: `rectifiers.py`. Other
nonlinearities pass their gradient, since these rules were never published for them; where no ReLU acts
between the image and a unit, the rule is refused, or it would be the plain gradient under another name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ostrich.attribution.backward import gradients
from ostrich.attribution.question import Question, applying
from ostrich.attribution.rectifiers import GATES, UNRULED, Rectifiers, keeps_result
from ostrich.errors import InputError
from ostrich.inspection.units import AnyUnit, look, read, sources, values
from ostrich.models.classifier import Classifier
from ostrich.models.untouched import is_scripted

DECONVNET, GUIDED, REDIRECTED = "deconvnet", "guided", "redirected"
COMPARED = 4  # images of a batch whose forward under the rule is compared with the plain one
ROUNDING = 1e-4  # of the largest value; a few images alone are computed in another order than in a batch


def by_rule(rule: str, question: Question) -> Tensor:
    """What comes back (N, U, C, H, W) from the units to the images under DECONVNET or GUIDED.

    Raises InputError for a network with an activation that has no such rule, and AssertionError,
    a fault of ours, where the network computes anything else under the rule than without it: of many images
    the first `COMPARED` are compared.
    """
    if is_scripted(question.classifier.network):
        raise InputError(
            f"{question.classifier.name} is compiled: its ReLUs cannot be reached. Give the network as it is "
            f"written. {applying()}"
        )

    compared = False

    def compute(classifier: Classifier, inputs: Tensor, units: Sequence[AnyUnit]) -> Tensor:
        with ReluRule(rule) as acting:
            seen = look(classifier, inputs.clone(), units)
            computed = read(classifier, seen, units)
        for unit in units:
            led = [source for source in sources(seen, unit).values() if source.requires_grad]
            if led and not any(_acted(source, inputs, acting) for source in led):
                raise _none_acted(rule, classifier, unit, acting.others)
        nonlocal compared
        if not compared:
            _compare(rule, classifier, inputs, units, computed)
            compared = True
        return computed

    return torch.cat([gradients(part, compute=compute) for part in question.parts()])


def _compare(
    rule: str, classifier: Classifier, inputs: Tensor, units: Sequence[AnyUnit], computed: Tensor
) -> None:
    """Refuse values (U, N) that the network does not compute without the rule; bit for bit, of one batch."""
    if len(inputs) > 2 * COMPARED and classifier.batch is None:
        inputs = inputs[:COMPARED]
        with torch.no_grad():
            alone, together = values(classifier, inputs.clone(), units), computed[:, :COMPARED]
        if torch.allclose(alone, together, rtol=0, atol=ROUNDING * float(alone.abs().max())):
            return
        with ReluRule(rule):
            computed = values(classifier, inputs.clone(), units)
    with torch.no_grad():
        if _same(values(classifier, inputs.clone(), units), computed):
            return
    plain = values(classifier, inputs.clone(), units)  # without a graph, some layers compute otherwise
    if _same(plain, computed):
        return
    if not _same(plain, values(classifier, inputs.clone(), units)):
        raise InputError(f"{classifier.name} does not answer the same image the same way twice.")
    raise AssertionError(f"the forward pass under the rule {rule} differs from the plain one")


def other_nonlinearities(rule: str, question: Question) -> list[str]:
    """The network's nonlinearities that are no rectifiers, so that the plain gradient passed them."""
    images = question.images[:1].clone()
    with torch.enable_grad(), ReluRule(rule) as acting:
        look(question.classifier, images.requires_grad_(True).clone(), question.units)
    return sorted(acting.others)


def rule_remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on the nonlinearities beside the rectifiers, from the rows of results."""
    if named := sorted({name for row in rows for name in row["figures"].get("beside_rectifiers", ())}):
        return [f"Beside its rectifiers the network has {', '.join(named)}: there the plain gradient passed."]
    return []


class ReluRule(Rectifiers):
    """A context in which every ReLU that a gradient will pass through has the rule's way back.

    The rule is DECONVNET, GUIDED or REDIRECTED. `passed` counts how often a gradient came to one.
    """

    def __init__(self, rule: str) -> None:
        super().__init__()
        assert rule in (DECONVNET, GUIDED, REDIRECTED), rule
        self.rule = rule
        self.passed = 0

    def concerns(self, x: Tensor) -> bool:
        return x.requires_grad and (self.rule != REDIRECTED or torch.is_grad_enabled())

    def rectified(self, x: Tensor, operation: Callable[[Tensor], Tensor], top: float) -> Tensor:
        if not torch.is_grad_enabled():
            raise InputError(
                f"{self.rule} cannot reach a ReLU inside a torch.autograd.Function of the network's own, or "
                f"under no_grad. {applying()}"
            )
        return _Rectifier.apply(x, operation, top, self)


class _Rectifier(torch.autograd.Function):
    """The plain operation forward, in place if it is; the rule backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, plain: Callable[[Tensor], Tensor], top: float, acting: ReluRule
    ) -> Tensor:
        ctx.acting = acting
        y = plain(x)
        if y is x:
            ctx.mark_dirty(x)
        if acting.rule != DECONVNET:
            own = y is not x and math.isinf(top) and keeps_result(plain)
            # else a mask: a byte for each value, and later operations may change y in place
            ctx.save_for_backward(y if own else (y > 0) & (y < top) if math.isfinite(top) else y > 0)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        ctx.acting.passed += 1
        if ctx.acting.rule == REDIRECTED:
            (open_,) = ctx.saved_tensors
            passed = (open_ > 0) & (above != 0)
            blocked = ~passed.flatten(1).any(1) if passed.ndim > 1 else ~passed
            passed |= blocked.view(-1, *[1] * (passed.ndim - 1)) & (above > 0)
            return torch.where(passed, above, 0), None, None, None
        passed = above.clamp_min(0)
        for open_ in ctx.saved_tensors:  # many times quicker than torch.where
            passed = torch.ops.aten.threshold_backward(passed, open_.to(passed.dtype), 0)
        return passed, None, None, None


def _acted(source: Tensor, inputs: Tensor, acting: ReluRule) -> bool:
    """Whether a rectifier with a rule lies on a way from `source` back to the inputs."""
    seen, ahead, hidden = set(), [source.grad_fn], False
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        if node.name() == f"{_Rectifier.__name__}Backward":
            return True
        hidden |= "CopySlices" in node.name()  # in place on a part of a tensor: what was done is inside
        seen.add(node)
        ahead += [following for following, _ in node.next_functions]
    if hidden:
        acting.passed = 0
        torch.autograd.grad(source.sum(), inputs, retain_graph=True, allow_unused=True)
    return hidden and acting.passed > 0


def _none_acted(rule: str, classifier: Classifier, unit: AnyUnit, others: set[str]) -> InputError:
    if named := others & (UNRULED | GATES | {"hardtanh"}):
        return InputError(
            f"{rule} is a rule for ReLUs; this network uses {', '.join(sorted(named))}, for which none was "
            f"published, and no ReLU lies before {unit}. {applying()}"
        )
    return InputError(
        f"No rectifier was recognised in {classifier.name} between the image and {unit}: {rule} would be the "
        f"plain gradient under another name. {applying()}"
    )


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal bit for bit, NaN at the same places included."""
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
