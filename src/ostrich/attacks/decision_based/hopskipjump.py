"""HopSkipJump: walk along the decision boundary towards the original, by answers of yes and no.

Chen, Jordan, Wainwright 2020, "HopSkipJumpAttack: a query-efficient decision-based attack",
algorithm 2. From a point on the boundary, the gradient's direction is estimated from the answers at
random points about it (equations 9 and 16), a step along it is halved, at most 12 times, until it reaches
the goal (section III.C.2), and a bisection brings it back to the boundary (algorithm 1).

Theirs begins with 100 questions; 50 came somewhat nearer at 2000 queries (benchmarks/choices.md).

Every image has its own point, step, number of questions and end; noise and estimate are scaled for
each image by itself. All questions of a stage, of all images, are asked in one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.decision_based.starts import TRIES, ask, crossing, start
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.per_image import lift, where
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.errors import InputError
from ostrich.runtime.ranges import at_least

HALVINGS = 12  # of a step that leaves the goal
FIRST_RADIUS = 0.1  # of the random points, in the first estimate
TOGETHER = 32  # random points of an image asked about at once, for memory's sake
STRIDE = 1_000_000  # between the random numbers of two estimates


@dataclass(frozen=True)
class Walk(EndingState):
    """`images` are on the boundary and reach the goal; before, they are the last try."""

    attempt: Tensor  # (n,) int64, tries to find a start
    started: Tensor  # (n,) bool
    iteration: Tensor  # (n,) int64

    @property
    def begun(self) -> Tensor:
        return self.started


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(InputSpecificAttack):
    """At most `queries` forwards per image; `iterations` estimates of the gradient.

    Chen, Jordan, Wainwright 2020, "HopSkipJumpAttack: a query-efficient decision-based attack", algorithm 2.
    Ours differs: under Linf the random directions have values in [-1, 1] and are not scaled to length one, so
    that they are about sqrt(d / 3) times as long for d values; a step is halved at most 12 times, and given
    up where none reaches the goal, theirs until it does; and a step that ends farther from the original than
    it began is refused, theirs is taken.

    queries          most forwards
    iterations       most estimates of the gradient
    first_questions  questions of the first estimate; number t has sqrt(t) times as many (theirs: 100)
    most_questions   most questions of an estimate

    Raises InputError for first_questions above most_questions.
    """

    name: ClassVar[str] = "hopskipjump"
    needs: ClassVar[str] = "labels"
    norms: ClassVar[tuple[str, ...]] = ("l2", "linf")
    stop: ClassVar[str] = "minimum"

    threat: Threat = Unbounded()
    queries: Annotated[int, at_least(20)] = 5000
    iterations: Annotated[int, at_least(1)] = 64
    first_questions: Annotated[int, at_least(1)] = 50
    most_questions: int = 10000

    def validate(self) -> None:
        if self.first_questions > self.most_questions:
            raise InputError("HopSkipJump asks from 1 up to most_questions questions in an estimate.")

    @property
    def most_forwards(self) -> int:
        return self.queries

    @property
    def steps(self) -> int:
        return TRIES + self.iterations

    def init(self, problem: Problem) -> Walk:
        count = torch.zeros_like(problem.rows)
        never = torch.zeros_like(count, dtype=torch.bool)
        return Walk(problem.originals, never, count, never, count)

    def step(self, problem: Problem, state: Walk) -> Walk:
        """A try for those without a start, an iteration for the others."""
        before = state.started
        if not before.all():
            state = self._try(problem, state, ~before)
        if before.any():
            state = self._iterate(problem, state, before)
        given_up = ~state.started & (state.attempt >= TRIES)
        return replace(state, done=given_up | (state.iteration >= self.iterations))

    def _try(self, problem: Problem, state: Walk, mask: Tensor) -> Walk:
        tried = start(problem, state.attempt)
        reached = ask(problem, tried, mask)
        images, known = crossing(problem, where(mask, tried, state.images), reached)
        return replace(
            state,
            images=self._to_boundary(problem, images, reached, known),
            started=state.started | reached,
            attempt=state.attempt + mask,
        )

    def _iterate(self, problem: Problem, state: Walk, mask: Tensor) -> Walk:
        """Algorithm 2, lines 3 to 8, where `mask` (n,)."""
        x, number = problem.originals, (state.iteration + 1).double().sqrt()
        distance = self.threat.distance(state.images, x).double()
        direction = self._estimate(problem, state, distance, mask)
        size, found = distance / number, torch.zeros_like(mask)
        ahead = state.images
        for _ in range(HALVINGS):
            waiting = mask & ~found & (problem.left > 0)
            if not waiting.any():
                break
            trial = (state.images + lift(size, x) * direction).clamp(0, 1)
            reached = ask(problem, trial, waiting)
            ahead, found, size = where(reached, trial, ahead), found | reached, size / 2
        moved = self._to_boundary(problem, ahead, found)
        nearer = self.threat.distance(moved, x) < distance
        images = where(found & nearer, moved, state.images)
        return replace(state, images=images, iteration=state.iteration + mask)

    def _to_boundary(
        self, problem: Problem, images: Tensor, mask: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Algorithm 1: bisect between original and image until the rest is below theta.

        On the straight way of L2, the goal is not reached up to the part `known` (n,).
        """
        x = problem.originals
        far = self.threat.distance(images, x).double()
        linf = self.threat.norm == "linf"
        low, high = torch.zeros_like(far), far if linf else torch.ones_like(far)
        if known is not None and not linf:
            low = known
        rest = (far * self._theta(x)).clamp_max(self._theta(x)) if linf else self._theta(x)
        for _ in range(50):
            waiting = mask & (high - low > rest) & (problem.left > 0)
            if not waiting.any():
                break
            middle = (low + high) / 2
            trial = _between(linf, x, images, middle)
            reached = ask(problem, trial, waiting)
            high, low = torch.where(reached, middle, high), torch.where(waiting & ~reached, middle, low)
        return where(mask, _between(linf, x, images, high), images)

    def _theta(self, x: Tensor) -> float:
        """The precision of the bisection (section III.C.1)."""
        values = x[:1].numel()
        return 1 / values**2 if self.threat.norm == "linf" else 1 / (values * math.sqrt(values))

    def _estimate(self, problem: Problem, state: Walk, distance: Tensor, mask: Tensor) -> Tensor:
        """The direction (n, C, H, W) in which the answers turn to yes, where `mask`."""
        x, values = problem.originals, problem.originals[:1].numel()
        linf = self.threat.norm == "linf"
        reach = values if linf else math.sqrt(values)
        radius = torch.where(state.iteration == 0, FIRST_RADIUS, reach * self._theta(x) * distance)
        wanted = self.first_questions * (state.iteration + 1).double().sqrt()
        counts = torch.minimum(wanted.long().clamp_max(self.most_questions), problem.left // 2) * mask
        number = counts.clamp_min(1)
        total, yes = torch.zeros_like(x, dtype=torch.float64), torch.zeros_like(distance)
        plain = torch.zeros_like(total)
        for begin in range(0, int(counts.max()) if len(counts) else 0, TOGETHER):
            here = (counts - begin).clamp(0, TOGETHER)
            owners = torch.arange(len(x), device=x.device).repeat_interleave(here)
            drawn = _noise(problem, state.iteration * STRIDE + begin, linf)
            noise = drawn[torch.arange(TOGETHER, device=x.device) < here[:, None]]
            points = (state.images[owners] + lift(radius[owners], x) * noise).clamp(0, 1)
            noise = (points - state.images[owners]) / lift(radius[owners].clamp_min(1e-30), x)
            answers = problem.ask(points, owners).double() * 2 - 1
            yes.index_add_(0, owners, answers)
            total.index_add_(0, owners, noise.double() * answers.view(-1, 1, 1, 1))
            plain.index_add_(0, owners, noise.double())
        mean = yes / number
        # The baseline of equation 16; where all answers agree it would leave nothing.
        agree = mean.abs() >= 1
        found = (total - torch.where(agree, 0, mean).view(-1, 1, 1, 1) * plain) / lift(number, total)
        return self.threat.direction(found).to(x.dtype)


def _between(linf: bool, x: Tensor, images: Tensor, at: Tensor) -> Tensor:
    """The image at a distance (Linf) or at a part of the way (L2) from the original."""
    if linf:
        reach = lift(at, x)
        return torch.clamp(images, x - reach, x + reach)
    return x + lift(at, x) * (images - x)


def _noise(problem: Problem, number: Tensor, linf: bool) -> Tensor:
    """Random directions (n, TOGETHER, C, H, W), of unit length in L2, or in [-1, 1] (Linf)."""
    shape = (TOGETHER, *problem.originals.shape[1:])
    if linf:
        return 2 * problem.draw("uniform", number, shape) - 1
    drawn = problem.draw("normal", number, shape)
    return drawn / drawn.flatten(2).norm(dim=2).clamp_min(1e-30).view(*drawn.shape[:2], 1, 1, 1)
