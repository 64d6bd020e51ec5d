"""L-BFGS: the smallest change that makes the network say a given class, under a box constraint.

Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow, Fergus 2014, "Intriguing properties of
neural networks", section 4.1:  minimise  c |r| + loss(x + r, target)  with x + r in [0, 1]^m, and
search the c with the smallest r that still succeeds.

Untargeted, textbooks maximise  cross-entropy of the label - c |r|^2. Along r that is a concave gain
against a convex cost: for no c does the best r lie near the boundary, and at a confident image the
gradient vanishes. The loss here is the cross-entropy of the strongest other class against the label: the
same r are successes, and it behaves like the targeted loss. Until the first success the others count too, by
a softened maximum, log-sum-exp: which class is nearest is not known yet. -log(1 - probability of the label),
"any other class" to the end, stops where two of them share the change: 15 % too far on two equal ones.

Here |r| is squared, as in SciPy versions of the attack: |r| has no gradient at r = 0, where the
search begins, and for every minimiser of the one there is a c for which it is stationary for the
other. The attack differs from a SciPy call per image in three ways. Every image of a batch has its
own curvature, line search and c, and each step is one evaluation for all of them. Pairs of the
curvature are those of the loss alone, so they stay true when c changes. And c is searched from the
adversarial side: find any success, halve the way to the original, then let each c begin at the
nearest success so far, since from the original a confident network's loss leads nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import SATURATED, margin
from ostrich.attacks.per_image import dot, square, where
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.runtime.ranges import above, at_least

ARMIJO = 1e-4  # of the predicted decrease (Nocedal and Wright 2006, equation 3.4)
CURVATURE = 1e-4  # smallest cosine between a step and its change of gradient, else the pair is unused
SMALLEST_STEP = 1e-3  # shorter ones give up the line search
CONVERGED = 1e-4  # relative decrease of the objective; fp32 resolves about 1e-6
ASTRAY = 4  # accepted points in a row without success after which a constant is too large
SEEKING = 15  # evaluations for each constant until the first success
IDLE, NEARER = 10, 0.999  # evaluations that bring no success nearer, by this factor, after which one ends
PRECISE = 1.02  # ratio of too large to good constant at which the search ends
SOFT = 0.2  # of the clean image's lead in logits, at most 1: the softness of that maximum
HALVINGS = 6  # of the way between the original and the first success, the success itself first

SEEK, HALVE, REFINE = 0, 1, 2  # phases: find a success, bring it nearer, search the constant


@dataclass(frozen=True)
class Search(EndingState):
    """Where each image stands. D = C * H * W; loss and gradient are of the goal alone, without c.

    `images` are to be evaluated next: clamp(point + length * direction).
    """

    point: Tensor  # (n, C, H, W), the last that the line search accepted
    loss: Tensor  # (n,) float64
    gradient: Tensor  # (n, C, H, W)
    success: Tensor  # (n,) bool, at point
    direction: Tensor  # (n, C, H, W)
    length: Tensor  # (n,) float64
    moves: Tensor  # (n, memory, D), in turn; zeros where there are none yet
    changes: Tensor  # (n, memory, D), of the gradient
    newest: Tensor  # (n,) int64, the place of the newest pair
    best: Tensor  # (n, C, H, W), the nearest success
    best_loss: Tensor
    best_gradient: Tensor
    distance: Tensor  # (n,) float64, squared, of best; inf without one
    phase: Tensor  # (n,) int64
    constant: Tensor  # (n,) float64, c
    low: Tensor  # (n,) the largest c that succeeded; halving: the part of the way that failed
    high: Tensor  # (n,) the smallest c that failed; halving: the part that succeeded
    spent: Tensor  # (n,) int64, evaluations in this constant or phase
    astray: Tensor  # (n,) int64, accepted points without success in a row
    idle: Tensor  # (n,) int64, evaluations since the nearest success was much nearer than the one before
    tried: Tensor  # (n,) int64, constants


@dataclass(frozen=True, kw_only=True)
class LBFGS(InputSpecificAttack):
    """Box-constrained L-BFGS: at most `constants` * `iterations` + 6 forwards and backwards per image.

    Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow, Fergus 2014, "Intriguing properties of neural
    networks", section 4.1. A budget `L2(eps)` changes nothing in the search; a success beyond it does not
    count.

    constants         values of c that are tried, the first ones to bracket, then by bisection
    iterations        evaluations for each c
    memory            pairs of the curvature; 3 to 20 are usual (Nocedal and Wright 2006, 7.2)
    initial_constant  the first c; None: half the size of the first gradient, so that a first step is 1 long
    stop              "minimum": the nearest success counts; "first": any within the budget
    """

    name: ClassVar[str] = "lbfgs"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    threat: Threat = Unbounded()
    constants: Annotated[int, at_least(1)] = 12
    iterations: Annotated[int, at_least(1)] = 50
    memory: Annotated[int, at_least(1)] = 8
    initial_constant: Annotated[float | None, above(0)] = None
    stop: Literal["first", "minimum"] = "minimum"

    @property
    def steps(self) -> int:
        return self.constants * self.iterations + HALVINGS

    def init(self, problem: Problem) -> Search:
        x = problem.originals
        number = x.new_zeros(len(x), dtype=torch.float64)
        count = torch.zeros_like(problem.rows)
        pairs = x.new_zeros(len(x), self.memory, x[0].numel())
        nothing, never = torch.zeros_like(x), torch.zeros_like(count, dtype=torch.bool)
        return Search(
            images=x,
            point=x,
            loss=number + torch.inf,  # so the first evaluation is accepted
            gradient=nothing,
            success=never,
            direction=nothing,
            length=number,
            moves=pairs,
            changes=pairs.clone(),
            newest=count,
            best=x,
            best_loss=number,
            best_gradient=nothing,
            distance=number + torch.inf,
            phase=count,
            constant=number if self.initial_constant is None else number + self.initial_constant,
            low=number,
            high=number + torch.inf,
            spent=count,
            astray=count,
            idle=count,
            tried=count,
            done=never,
        )

    def step(self, problem: Problem, state: Search) -> Search:
        """One evaluation of each image, and what follows from it."""
        x = problem.originals
        objective = partial(_loss, problem, state.phase == SEEK)
        loss, gradient, reached = problem.evaluate(state.images, objective, "exact")
        if self.initial_constant is None:
            first = 0.5 * _size(gradient).clamp_min(1e-30)
            state = replace(state, constant=torch.where(state.constant == 0, first, state.constant))
        had = state.distance < torch.inf
        state = _remembered(state, x, loss, gradient, reached)
        halving = state.phase == HALVE
        state, over = _searched(state, x, loss, gradient, reached, ~halving)
        state = _halved(state, reached, halving)
        most = torch.where(had, self.iterations, min(SEEKING, self.iterations))
        over |= ~halving & ((state.spent >= most) | (~had & reached))
        over |= ~halving & had & ((state.astray >= ASTRAY) | (state.idle >= IDLE))
        state = _next_constant(state, x, over, had)
        done = (state.tried >= self.constants) | (state.high < PRECISE * state.low)
        state = replace(state, done=state.done | done & (state.phase != HALVE))
        return _aimed(state, x)


def _loss(problem: Problem, seeking: Tensor, logits: Tensor) -> Tensor:
    """The cross-entropy (n,) of the target; or of the strongest other class, while `seeking` softened."""
    goal, first = problem.goal, problem.goal.classes[:, None]
    if goal.kind != "untargeted":
        return goal.loss(logits)
    logits = logits.double()
    others = logits.scatter(1, first, -torch.inf)
    softness = (SOFT * margin(problem.clean.double(), goal.classes)).clamp(1e-6, 1)
    softened = softness * (others / softness[:, None]).logsumexp(1)
    rival = torch.where(seeking, softened, others.amax(1))
    return F.softplus(logits.gather(1, first)[:, 0] - rival, threshold=SATURATED)


def _remembered(state: Search, x: Tensor, loss: Tensor, gradient: Tensor, reached: Tensor) -> Search:
    """The nearest success so far, with its loss and gradient."""
    distance = square(state.images - x)
    again = (state.phase == HALVE) & (state.spent == 0)  # the success itself, by the loss of this phase
    nearer = reached & ((distance < state.distance) | again)
    much = reached & (distance < NEARER**2 * state.distance)
    return replace(
        state,
        best=where(nearer, state.images, state.best),
        best_loss=torch.where(nearer, loss, state.best_loss),
        best_gradient=where(nearer, gradient, state.best_gradient),
        distance=torch.where(nearer, distance, state.distance),
        spent=state.spent + 1,
        idle=torch.where(much, 0, state.idle + 1),
    )


def _searched(
    state: Search, x: Tensor, loss: Tensor, gradient: Tensor, reached: Tensor, mask: Tensor
) -> tuple[Search, Tensor]:
    """The line search, where `mask`: take the point or shorten the step; and whether that was all."""
    c, move = state.constant, state.images - state.point
    before = c * square(state.point - x) + state.loss
    after = c * square(state.images - x) + loss
    slope = dot(_total(state.gradient, state.point, x, c), move)
    fresh = state.loss == torch.inf
    taken = mask & torch.isfinite(after) & (fresh | (after <= before + ARMIJO * slope))
    # The minimum of the parabola through before, slope and after, within [0.1, 0.5] of this step.
    shrink = (-slope / (2 * (after - before - slope))).nan_to_num(0.1).clamp(0.1, 0.5)
    length = torch.where(mask & ~taken, state.length * shrink, state.length)
    failed = mask & ~taken & (length < SMALLEST_STEP)
    settled = taken & ~fresh & (before - after <= CONVERGED * (before.abs() + 1e-12))
    pair = taken & ~fresh
    newest = torch.where(pair, (state.newest + 1) % state.moves.shape[1], state.newest)
    return replace(
        state,
        point=where(taken, state.images, state.point),
        loss=torch.where(taken, loss, state.loss),
        gradient=where(taken, gradient, state.gradient),
        success=torch.where(taken, reached, state.success),
        length=torch.where(taken, 1.0, length),
        moves=_pushed(state.moves, move, newest, pair, failed),
        changes=_pushed(state.changes, gradient - state.gradient, newest, pair, failed),
        newest=newest,
        astray=torch.where(taken, torch.where(reached, 0, state.astray + 1), state.astray),
    ), failed | settled


def _halved(state: Search, reached: Tensor, mask: Tensor) -> Search:
    """Where `mask`: the half of the way from original to first success in which the boundary lies."""
    low = torch.where(mask & ~reached, state.length, state.low)
    high = torch.where(mask & reached, state.length, state.high)
    return replace(state, low=low, high=high, length=torch.where(mask, (low + high) / 2, state.length))


def _next_constant(state: Search, x: Tensor, over: Tensor, had: Tensor) -> Search:
    """Where a constant is `over`, or the halving, the next phase or constant."""
    found = state.distance < torch.inf
    halve = over & ~had & found
    refine = (state.phase == HALVE) & (state.spent >= HALVINGS)
    worse, better = over & had & ~state.success, over & had & state.success
    low = torch.where(better, state.constant, state.low)
    high = torch.where(worse, state.constant, state.high)
    low, high = torch.where(refine | halve, 0.0, low), torch.where(refine, torch.inf, high)
    high = torch.where(halve, 1.0, high)
    up = torch.where(high < torch.inf, (low * high).sqrt(), 4 * low)
    down = torch.where(low > 0, (low * high).sqrt(), high / 4)
    # At the nearest success 2 c r = -gradient, so along r: c = -gradient.r / (2 |r|^2).
    multiplier = -dot(state.best_gradient, state.best - x) / (2 * state.distance)
    c = torch.where(better, up, torch.where(worse, down, state.constant))
    c = torch.where(over & ~found, state.constant / 10, c)
    c = torch.where(refine & (multiplier > 0), multiplier, c)
    back = (over | refine) & found & ~halve  # each constant begins at the nearest success
    return replace(
        state,
        constant=c,
        low=low,
        high=high,
        phase=torch.where(halve, HALVE, torch.where(refine, REFINE, state.phase)),
        tried=state.tried + over.to(state.tried.dtype),
        spent=torch.where(over | refine, 0, state.spent),
        astray=torch.where(over | refine, 0, state.astray),
        idle=torch.where(over | refine, 0, state.idle),
        point=where(halve, x, where(back, state.best, state.point)),
        loss=torch.where(back, state.best_loss, state.loss),
        gradient=where(back, state.best_gradient, state.gradient),
        success=torch.where(back, True, state.success),
        direction=where(halve, state.best - x, state.direction),
        length=torch.where(over | refine, 1.0, state.length),
    )


def _aimed(state: Search, x: Tensor) -> Search:
    """The next image to evaluate."""
    total = _total(state.gradient, state.point, x, state.constant)
    blocked = ((state.point <= 0) & (total > 0)) | ((state.point >= 1) & (total < 0))
    direction = -inverse_hessian_times(
        total, state.moves, state.changes, state.newest, state.constant, ~blocked
    )
    ahead = (state.phase != HALVE) & (state.length == 1)
    direction = where(ahead, direction, state.direction)
    length = state.length.to(x.dtype).view(-1, 1, 1, 1)
    return replace(state, direction=direction, images=(state.point + length * direction).clamp_(0, 1))


def inverse_hessian_times(
    total: Tensor, moves: Tensor, changes: Tensor, newest: Tensor, constant: Tensor, free: Tensor
) -> Tensor:
    """The L-BFGS product of inverse Hessian and gradient `total` (n, C, H, W), in the `free` values.

    The two-loop recursion (Nocedal and Wright 2006, algorithm 7.4) in the coefficients of moves,
    changes and gradient: their products are taken once (Chen, Wang, Zhou 2014). Restricted to the
    free values it is a two-metric projection (Bertsekas 1982). `changes` are those of the loss's
    gradient; 2 c times the move is added for c |r|^2. Pairs of too little curvature are passed over.
    The pairs (n, memory, D) are in turn, the `newest` (n,) followed by the oldest.
    """
    count, memory = moves.shape[:2]
    basis = torch.empty(count, 2 * memory + 1, moves.shape[2], dtype=total.dtype, device=total.device)
    mask = free.flatten(1)[:, None].to(total.dtype)
    torch.mul(moves, mask, out=basis[:, :memory])
    torch.mul(changes, mask, out=basis[:, memory:-1])
    torch.mul(total.flatten(1)[:, None], mask, out=basis[:, -1:])
    slots = (newest[:, None] - torch.arange(memory, device=newest.device)) % memory  # newest first
    slots = torch.cat([slots, memory + slots, torch.full_like(slots[:, :1], 2 * memory)], 1)
    product = (basis @ basis.mT).double()  # (n, 2m+1, 2m+1)
    product = product.gather(1, slots[:, :, None].expand_as(product))
    product = product.gather(2, slots[:, None].expand_as(product))
    identity = torch.eye(2 * memory + 1, dtype=torch.float64, device=total.device)
    mix = identity.repeat(count, 1, 1)
    mix[:, memory : 2 * memory, :memory] += 2 * constant[:, None, None] * identity[:memory, :memory]
    product = mix @ product @ mix.mT
    squares = product.diagonal(dim1=1, dim2=2)
    curved = product[:, range(memory), range(memory, 2 * memory)]  # (n, m), move times change
    usable = curved > CURVATURE * (squares[:, :memory] * squares[:, memory : 2 * memory]).sqrt()
    inverse = torch.where(usable, 1 / curved, 0)
    q = product.new_zeros(count, 2 * memory + 1)
    q[:, -1] = 1
    alphas = []
    for i in range(memory):  # newest first
        alphas.append(inverse[:, i] * (product[:, i] * q).sum(1))
        q[:, memory + i] -= alphas[i]
    first = usable.to(torch.uint8).argmax(1, keepdim=True)
    ratio = (curved / squares[:, memory : 2 * memory]).gather(1, first)[:, 0]
    q *= torch.where(usable.any(1), ratio, 1 / (2 * constant + squares[:, -1].sqrt()))[:, None]
    for i in reversed(range(memory)):
        q[:, i] += alphas[i] - inverse[:, i] * (product[:, memory + i] * q).sum(1)
    weights = (q[:, None] @ mix).to(total.dtype)  # (n, 1, 2m+1)
    weights = torch.zeros_like(weights).scatter(2, slots[:, None], weights)
    return (weights @ basis)[:, 0].view_as(total)


def _total(gradient: Tensor, point: Tensor, x: Tensor, constant: Tensor) -> Tensor:
    """The gradient of c |point - x|^2 + loss."""
    return gradient + (2 * constant).to(x.dtype).view(-1, 1, 1, 1) * (point - x)


def _pushed(pairs: Tensor, new: Tensor, newest: Tensor, mask: Tensor, forget: Tensor) -> Tensor:
    """The pairs (n, m, D) with `new` at the place `newest` where `mask`, and zeros where `forget`.

    Written into the same memory: copying them would cost as much as a forward of a small network.
    """
    rows = mask.nonzero()[:, 0]
    pairs[rows, newest[rows]] = new.flatten(1)[rows]
    pairs[forget] = 0
    return pairs


def _size(change: Tensor) -> Tensor:
    return square(change).sqrt()
