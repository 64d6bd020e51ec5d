"""Boundary attack: a random walk along the decision boundary, drawn to the original.

Brendel, Rauber, Bethge 2018, "Decision-based adversarial attacks: reliable attacks against black-box
machine learning models", algorithm 1 and section 2.3: from an image that reaches the goal, a random
step on the sphere about the original, then a step towards it; what still reaches the goal is taken.
The sizes of both steps are adapted so that about half of the steps on the sphere alone, and a fifth
of the whole steps, are taken. An image whose step towards the original has become tiny is done.

Every image has its own steps and statistics. Each tenth step the one on the sphere is asked about
alone as well, as the authors' code does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.decision_based.starts import TRIES, ask, crossing, start
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.per_image import lift, square, where
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.runtime.ranges import above, at_least

CHECK = 10  # steps between two questions about the step on the sphere alone
SPHERE_WINDOW, WHOLE_WINDOW = 10, 30  # questions after which a step is adapted
ADAPTATION = 1.5
SMALLEST = 1e-7  # step towards the original, relative, at which an image is done
FIRST_HALVINGS = 10  # of the way from the start to the original


@dataclass(frozen=True)
class Walk(EndingState):
    """`images` reach the goal; before, they are the last try."""

    attempt: Tensor  # (n,) int64, tries to find a start
    started: Tensor  # (n,) bool
    sphere: Tensor  # (n,) float64, the step on the sphere, relative to the distance
    inward: Tensor  # (n,) float64, the step towards the original, relative
    sphere_asked: Tensor  # (n,) float64, of this window
    sphere_taken: Tensor
    whole_asked: Tensor
    whole_taken: Tensor
    iteration: Tensor  # (n,) int64

    @property
    def begun(self) -> Tensor:
        return self.started


@dataclass(frozen=True, kw_only=True)
class Boundary(InputSpecificAttack):
    """The boundary attack: at most `queries` forwards per image.

    Brendel, Rauber, Bethge 2018, "Decision-based adversarial attacks: reliable attacks against black-box
    machine learning models", algorithm 1.

    queries      most forwards
    sphere_step  first step about the original, as a part of the distance
    inward_step  first step towards the original, as a part of the distance
    """

    name: ClassVar[str] = "boundary"
    needs: ClassVar[str] = "labels"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    stop: ClassVar[str] = "minimum"

    threat: Threat = Unbounded()
    queries: Annotated[int, at_least(20)] = 5000
    sphere_step: Annotated[float, above(0)] = 0.01
    inward_step: Annotated[float, above(0, below=1)] = 0.01

    @property
    def most_forwards(self) -> int:
        return self.queries

    @property
    def steps(self) -> int:
        return self.queries

    def init(self, problem: Problem) -> Walk:
        count = torch.zeros_like(problem.rows)
        never = torch.zeros_like(count, dtype=torch.bool)
        number = problem.originals.new_zeros(len(count), dtype=torch.float64)
        return Walk(
            images=problem.originals,
            attempt=count,
            started=never,
            sphere=number + self.sphere_step,
            inward=number + self.inward_step,
            sphere_asked=number,
            sphere_taken=number,
            whole_asked=number,
            whole_taken=number,
            iteration=count,
            done=never,
        )

    def step(self, problem: Problem, state: Walk) -> Walk:
        """A try for those without a start, a step for the others."""
        before = state.started
        if not before.all():
            state = self._try(problem, state, ~before)
        if before.any():
            state = self._walk(problem, state, before)
        given_up = ~state.started & (state.attempt >= TRIES)
        return replace(state, done=given_up | (state.inward < SMALLEST))

    def _try(self, problem: Problem, state: Walk, mask: Tensor) -> Walk:
        x, tried = problem.originals, start(problem, state.attempt)
        reached = ask(problem, tried, mask)
        images, low = crossing(problem, where(mask, tried, state.images), reached)
        high = torch.ones_like(low)
        for _ in range(FIRST_HALVINGS):
            middle = (low + high) / 2
            asked = reached & (problem.left > 0)
            inside = ask(problem, x + lift(middle, x) * (images - x), asked)
            high, low = torch.where(inside, middle, high), torch.where(asked & ~inside, middle, low)
        nearer = x + lift(high, x) * (images - x)
        return replace(
            state,
            images=where(reached, nearer, images),
            started=state.started | reached,
            attempt=state.attempt + mask,
        )

    def _walk(self, problem: Problem, state: Walk, mask: Tensor) -> Walk:
        around, ahead = _proposals(problem, state)
        alone = mask & (state.iteration % CHECK == 0) & (problem.left > 1)
        on_sphere = ask(problem, around, alone)
        asked = mask & (problem.left > 0) & ~(alone & ~on_sphere)
        reached = ask(problem, ahead, asked)
        state = replace(
            state,
            images=where(reached, ahead, state.images),
            sphere_asked=state.sphere_asked + alone,
            sphere_taken=state.sphere_taken + on_sphere,
            whole_asked=state.whole_asked + asked,
            whole_taken=state.whole_taken + reached,
            iteration=state.iteration + mask,
        )
        return _adapted(state)


def _proposals(problem: Problem, state: Walk) -> tuple[Tensor, Tensor]:
    """The step on the sphere about the original, and that step followed by the one inward."""
    x = problem.originals
    away = state.images - x
    distance = square(away).sqrt().clamp_min(1e-30)
    noise = problem.draw("normal", state.iteration)
    unit = away / lift(distance, x)
    noise = noise - lift((noise.double() * unit.double()).flatten(1).sum(1), x) * unit
    noise = noise * lift(state.sphere * distance / square(noise).sqrt().clamp_min(1e-30), x)
    turned = away + noise
    # Back onto the sphere of the old distance.
    turned = turned * lift(distance / square(turned).sqrt().clamp_min(1e-30), x)
    around = (x + turned).clamp(0, 1)
    ahead = (x + (around - x) * lift(1 - state.inward, x)).clamp(0, 1)
    return around, ahead


def _adapted(state: Walk) -> Walk:
    """Steps after full windows: longer where more than enough are taken, shorter where too few."""
    sphere_full = state.sphere_asked >= SPHERE_WINDOW
    whole_full = state.whole_asked >= WHOLE_WINDOW
    taken = state.sphere_taken / state.sphere_asked.clamp_min(1)
    factor = torch.where(taken > 0.5, ADAPTATION, torch.where(taken < 0.2, 1 / ADAPTATION, 1.0))
    factor = torch.where(sphere_full, factor, 1.0)
    whole = state.whole_taken / state.whole_asked.clamp_min(1)
    inward = torch.where(whole > 0.25, ADAPTATION, torch.where(whole < 0.1, 1 / ADAPTATION, 1.0))
    inward = torch.where(whole_full, inward, 1.0)
    return replace(
        state,
        sphere=state.sphere * factor,
        inward=(state.inward * factor * inward).clamp_max(0.9),
        sphere_asked=torch.where(sphere_full, 0.0, state.sphere_asked),
        sphere_taken=torch.where(sphere_full, 0.0, state.sphere_taken),
        whole_asked=torch.where(whole_full, 0.0, state.whole_asked),
        whole_taken=torch.where(whole_full, 0.0, state.whole_taken),
    )
