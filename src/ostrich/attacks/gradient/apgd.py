"""APGD: PGD that chooses its step size by itself, on cross-entropy, the margin or the targeted DLR loss.

Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks": algorithm 1 (steps with momentum; halved, and back to the best point, at
checkpoints where progress was poor) and equations 3 and 6 (the DLR loss and its targeted form).
Under L1, Croce and Hein 2021, "Mind the box": steps along the signs of the largest gradients only,
as many as a part of the change has shown to be useful, projected onto ball and box at once.

The targets of an image are attacked side by side as copies, not one after another: survivors are
few, and few images fill no batch. Where classes are fewer than DLR needs, the loss is the margin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack, State
from ostrich.attacks.engine.problem import Loss, Problem
from ostrich.attacks.goals import Targeted, margin, missed, rivals, usual_loss
from ostrich.attacks.per_image import lift, where
from ostrich.attacks.threats import Linf, Threat
from ostrich.runtime.ranges import at_least

TARGETS = 9  # the nine other classes of CIFAR-10
MOMENTUM = 0.75  # alpha, algorithm 1
PROGRESS = 0.75  # rho: the part of a period's steps that has to decrease the loss
FIRST_PERIOD, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # of all steps, section 3.1
SPARSE_PERIOD = 0.04  # of all steps, between adaptations under L1
SPARSE_START, SPARSE_FACTOR, SPARSE_SHRINK, SPARSE_LEAST = 0.2, 1.5, 1.5, 10.0


@dataclass(frozen=True)
class Lanes(State):
    """m = copies: an image's targets, one after another; `images` is the copy with the smallest loss."""

    points: Tensor  # (n, m, C, H, W), to be evaluated next
    before: Tensor  # (n, m, C, H, W), the points before
    loss: Tensor  # (n, m) float64, at the point before
    best: Tensor  # (n, m, C, H, W)
    best_loss: Tensor  # (n, m)
    best_gradient: Tensor  # (n, m, C, H, W)
    size: Tensor  # (n, m) step size
    decreases: Tensor  # (n, m) int64, in this period
    kept_size: Tensor  # (n, m), size at the last checkpoint
    kept_loss: Tensor  # (n, m), best loss at the last checkpoint
    sparsity: Tensor  # (n, m), L1 only: part of the values that move
    count: Tensor  # (n, m), L1 only: values changed at the last adaptation
    targets: Tensor  # (n, m) int64, -1 for the goal's own loss
    spent: int = 0  # steps on this loss
    late: bool = False  # whether it is the second one


@dataclass(frozen=True, kw_only=True)
class APGD(InputSpecificAttack):
    """Auto-PGD: at most `steps` forwards and backwards per image, and per target with loss dlr.

    Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", algorithm 1; under L1 Croce and Hein 2021, "Mind the box". Ours has no untargeted
    DLR loss (equation 3): "dlr" is the targeted one (equation 6) for an untargeted goal too, towards each of
    the most probable other classes.

    steps    steps of gradient descent; their size is found on the way
    loss     "ce", cross-entropy; "dlr", the difference-of-logits ratio towards each of the targets;
             "ce-then-margin", half of the steps on ce, then from its best point on the lead of the label in
             logits. None: ce, in L2 away from a label ce-then-margin, since ce shares an L2 budget among all
             other classes
    targets  most probable other classes that dlr is tried towards
    stop     "first": an image is done once it is broken; "budget": when all steps are spent
    """

    name: ClassVar[str] = "apgd"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    threat: Threat = Linf(8 / 255)
    steps: Annotated[int, at_least(1)] = 100
    loss: Literal["ce", "dlr", "ce-then-margin"] | None = None
    targets: Annotated[int, at_least(1)] = TARGETS
    stop: Literal["first", "budget"] = "first"

    @property
    def copies(self) -> int:
        return self.targets if self.loss == "dlr" else 1

    def init(self, problem: Problem) -> Lanes:
        targets = self._targets(problem)
        copies = problem.repeated(targets.shape[1])
        start = _boundary(
            self.threat, self.threat.random_start(copies.originals, copies.draw), copies.originals
        )
        return self._begun(start, targets)

    def _begun(self, start: Tensor, targets: Tensor, *, late: bool = False) -> Lanes:
        """The state before the first step on a loss, from points (n * m, C, H, W)."""
        m = targets.shape[1]
        number = start.new_zeros(len(start), dtype=torch.float64)
        nothing = torch.zeros_like(start)
        first = 1.0 if self.threat.norm == "l1" else 2.0
        flat = {
            "points": start,
            "before": start,
            "loss": number + torch.inf,
            "best": start,
            "best_loss": number + torch.inf,
            "best_gradient": nothing,
            "size": number + first * self.threat.eps,
            "decreases": torch.zeros_like(targets.flatten()),
            "kept_size": number + first * self.threat.eps,
            "kept_loss": number + torch.inf,
            "sparsity": number + SPARSE_START,
            "count": number + start[:1].numel(),
        }
        folded = {name: value.unflatten(0, (-1, m)) for name, value in flat.items()}
        return Lanes(images=folded["points"][:, 0], targets=targets, late=late, **folded)

    def step(self, problem: Problem, state: Lanes) -> Lanes:
        copies = problem.repeated(state.targets.shape[1])
        steps, early = self.steps, self.steps // 2
        if (self.loss or usual_loss(problem.goal, self.threat.norm)) == "ce-then-margin":
            if not state.late and state.spent == early:
                state = self._begun(state.best.flatten(0, 1), state.targets, late=True)
            steps = self.steps - early if state.late else early
        flat = _flat(state)
        precise = self.loss == "dlr" or state.late  # bf16 rounds away small differences of logits
        following = self._loss(copies, flat.targets, late=state.late)
        loss, gradient, _ = copies.evaluate(flat.points, following, "exact" if precise else None)
        better = loss < flat.best_loss
        flat = replace(
            flat,
            decreases=flat.decreases + ((loss < flat.loss) & (flat.spent > 0)),
            best=where(better, flat.points, flat.best),
            best_loss=torch.where(better, loss, flat.best_loss),
            best_gradient=where(better, gradient, flat.best_gradient),
            loss=loss,
            spent=flat.spent + 1,
        )
        if self.threat.norm == "l1":
            flat = _sparse_step(self.threat, steps, copies, flat, gradient)
        else:
            flat = _momentum_step(self.threat, steps, copies, flat, gradient)
        folded = _folded(flat, state.targets.shape[1])
        choice = folded.best_loss.argmin(1)
        return replace(folded, images=folded.points[torch.arange(len(choice)), choice])

    @property
    def title(self) -> str:
        if self.loss != "dlr":
            return self.name
        return "apgd-t" if self.targets == TARGETS else f"apgd-t{self.targets}"

    def _targets(self, problem: Problem) -> Tensor:
        """The classes (n, m) whose DLR is followed, most probable first; -1 for the others."""
        if self.loss != "dlr" or problem.goal.kind != "untargeted":
            return torch.full_like(problem.rows, -1)[:, None]
        return rivals(problem.clean, problem.goal.classes, self.targets)

    def _loss(self, copies: Problem, targets: Tensor, *, late: bool) -> Loss:
        """The loss (n * m,) of the logits (n * m, K)."""
        if self.loss != "dlr":
            return partial(missed, copies.goal) if late else copies.goal.loss
        if isinstance(copies.goal, Targeted) or copies.goal.kind == "confident":
            return lambda logits: -ratio(margin(logits.double(), copies.goal.classes), logits.double())
        labels = copies.goal.classes
        return lambda logits: ratio(_difference(logits.double(), labels, targets), logits.double())


def ratio(difference: Tensor, logits: Tensor) -> Tensor:
    """A difference of logits (n,) over the scale of equation 6, (n,); itself below four classes.

    z_(1) - (z_(3) + z_(4)) / 2 of the sorted logits, so that neither a shift nor a factor of all
    logits changes anything.
    """
    if logits.shape[1] < 4:
        return difference
    top = logits.topk(4, dim=1).values
    few = top[:, 3].isneginf()  # the others are switched off
    scale = (top[:, 0] - (top[:, 2] + top[:, 3]).masked_fill(few, 0) / 2).clamp_min(1e-12)
    return difference / scale.masked_fill(few, 1)


def _difference(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The logit of the label minus that of the target, (n,)."""
    chosen = logits.gather(1, torch.stack([labels, targets], 1))
    return chosen[:, 0] - chosen[:, 1]


def _boundary(threat: Threat, start: Tensor, originals: Tensor) -> Tensor:
    """A random start moved out to the whole budget, where the published code begins."""
    size = threat.distance(start, originals).clamp_min(1e-30).view(-1, 1, 1, 1)
    return threat.project(originals + (start - originals) * (threat.eps / size), originals)


def _momentum_step(threat: Threat, steps: int, copies: Problem, state: Lanes, gradient: Tensor) -> Lanes:
    """Equations of algorithm 1, lines 7 to 8; at a checkpoint, lines 13 to 16 before them."""
    moves = state.spent - 1
    if moves in checkpoints(steps):
        period = moves - max((c for c in checkpoints(steps) if c < moves), default=0)
        poor = state.decreases <= PROGRESS * period
        stuck = (state.size >= state.kept_size) & (state.best_loss >= state.kept_loss)
        halved = poor | stuck
        state = replace(
            state,
            size=torch.where(halved, state.size / 2, state.size),
            points=where(halved, state.best, state.points),
            decreases=torch.zeros_like(state.decreases),
            kept_size=state.size,
            kept_loss=state.best_loss,
        )
        gradient = where(halved, state.best_gradient, gradient)
    x = copies.originals
    moved = state.points - lift(state.size, x) * threat.direction(gradient)
    ahead = threat.project(moved, x)
    if moves > 0:
        ahead = state.points + MOMENTUM * (ahead - state.points)
        ahead = threat.project(ahead + (1 - MOMENTUM) * (state.points - state.before), x)
    return replace(state, points=ahead, before=state.points)


def _sparse_step(threat: Threat, steps: int, copies: Problem, state: Lanes, gradient: Tensor) -> Lanes:
    """Croce and Hein 2021, algorithm 1: adapt sparsity and step size, then a sparse step."""
    x, eps = copies.originals, threat.eps
    values = x[:1].numel()
    moves = state.spent - 1
    if moves > 0 and moves % max(1, int(SPARSE_PERIOD * steps)) == 0:
        changed = (state.best != x).flatten(1).sum(1).double()
        sparser = changed / state.count < 0.95
        size = torch.where(sparser, eps, state.size / SPARSE_SHRINK).clamp(eps / SPARSE_LEAST, eps)
        state = replace(
            state,
            sparsity=changed / values / SPARSE_FACTOR,
            size=size,
            count=changed.clamp_min(1),
            points=where(sparser, state.best, state.points),
        )
        gradient = where(sparser, state.best_gradient, gradient)
    flat = gradient.flatten(1)
    rank = ((1 - state.sparsity) * values).clamp(0, values - 1).long()
    least = flat.abs().sort(1).values.gather(1, rank[:, None])
    signs = torch.where(flat.abs() >= least, flat.sign(), 0)
    signs = (signs / signs.abs().sum(1, keepdim=True).clamp_min(1)).view_as(gradient)
    moved = state.points - lift(state.size, x) * signs
    return replace(state, points=threat.project(moved, x), before=state.points)


def checkpoints(steps: int) -> tuple[int, ...]:
    """The steps after which progress is judged (section 3.1)."""
    period, least, at = int(FIRST_PERIOD * steps), max(1, int(SHORTEST * steps)), 0
    found = []
    period = max(1, period)
    while at + period <= steps:
        at += period
        found.append(at)
        period = max(period - max(1, int(SHORTER * steps)), least)
    return tuple(found)


def _flat(state: Lanes) -> Lanes:
    """The state with images and copies in one axis."""
    return _mapped(state, lambda value: value.flatten(0, 1))


def _folded(state: Lanes, copies: int) -> Lanes:
    """The state with images and copies in two axes again."""
    return _mapped(state, lambda value: value.unflatten(0, (-1, copies)))


def _mapped(state: Lanes, change: Callable[[Tensor], Tensor]) -> Lanes:
    tensors = {name: value for name, value in vars(state).items() if isinstance(value, Tensor)}
    changed: dict[str, Any] = {name: change(v) for name, v in tensors.items() if name != "images"}
    return replace(state, **changed)
