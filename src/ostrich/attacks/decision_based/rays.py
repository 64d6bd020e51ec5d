"""RayS: the nearest crossing along a ray of signs, by answers of yes and no.

Chen and Gu 2020, "RayS: a ray searching method for hard-label adversarial attack", algorithms 1 to 3. A
direction is a sign for each value, and its radius the smallest change of all values along it that reaches
the goal. The direction is cut into 1, 2, 4, ... blocks; the signs of one block after another are flipped.
A flip is first asked about just below the best radius (the fast check); where that fails it is forgotten at
the price of one query, else the radius is searched by bisection.

Ours differs in four things. The bisection begins with small steps from the best radius, since late flips
gain little. After blocks of single values it begins again with the whole, until a round gains nothing. A ray
that has no radius yet is asked about at several. With a budget the search goes no lower than the last 8-bit
level within it, and an image is done there.

Each image has its own block, direction and radius. Nothing is random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.decision_based.starts import ask
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.per_image import lift, where
from ostrich.attacks.threats import TOLERANCE, Threat, Unbounded
from ostrich.images import LEVELS
from ostrich.runtime.ranges import at_least

FIRST_RADII = (1.0, 0.5, 0.25, 0.125, 0.0625)  # of a ray, in turn, while no radius is known
PRECISE = 1e-4  # of a radius: the least precision; with few values it is a quarter of one value's share
GROWTH = 4.0  # of the steps with which a bisection begins


@dataclass(frozen=True)
class Search(EndingState):
    """`images` are the best so far."""

    direction: Tensor  # (n, C, H, W), 1 or -1
    radius: Tensor  # (n,) float64, inf until the goal is reached
    turn: Tensor  # (n,) int64: 0 the direction itself, 2^s + k block k of level s
    gained: Tensor  # (n,) bool, in this round of blocks

    @property
    def begun(self) -> Tensor:
        return self.radius < torch.inf


@dataclass(frozen=True, kw_only=True)
class RayS(InputSpecificAttack):
    """At most `queries` forwards per image; with a budget an image is done within it.

    Chen and Gu 2020, "RayS: a ray searching method for hard-label adversarial attack", algorithms 1 to 3.

    queries  most forwards
    """

    name: ClassVar[str] = "rays"
    needs: ClassVar[str] = "labels"
    norms: ClassVar[tuple[str, ...]] = ("linf",)

    threat: Threat = Unbounded("linf")
    queries: Annotated[int, at_least(20)] = 10000

    @property
    def stop(self) -> str:
        return "minimum" if self.threat.eps == torch.inf else "first"

    @property
    def most_forwards(self) -> int:
        return self.queries

    @property
    def steps(self) -> int:
        return self.queries

    def init(self, problem: Problem) -> Search:
        count = torch.zeros_like(problem.rows)
        return Search(
            images=problem.originals,
            done=count.bool(),
            direction=torch.ones_like(problem.originals),
            radius=count.double() + torch.inf,
            turn=count,
            gained=count.bool(),
        )

    def step(self, problem: Problem, state: Search) -> Search:
        """A flip of each image's next block is tried."""
        x = problem.originals
        direction = torch.where(block(state.turn, x), -state.direction, state.direction)
        radius = self._radius(problem, direction, state.radius)
        better = radius < state.radius
        gained = state.gained | better
        values = x[:1].numel()
        last = state.turn == turns(values) - 1  # the end of a round
        return replace(
            state,
            images=where(better, _along(x, direction, radius), state.images),
            direction=where(better, direction, state.direction),
            radius=torch.minimum(radius, state.radius),
            turn=torch.where(last, 1, state.turn + 1),
            gained=gained & ~last,
            done=last & ~gained,
        )

    def _radius(self, problem: Problem, direction: Tensor, best: Tensor) -> Tensor:
        """Algorithm 3: the radius (n,) along a direction where it is below the best, else the best."""
        x = problem.originals
        precise = max(PRECISE, 1 / (4 * max(1, x[:1].numel())))

        def reached(radius: Tensor, mask: Tensor) -> Tensor:
            return ask(problem, _along(x, direction, radius), mask & (problem.left > 0))

        high = best
        for first in FIRST_RADII:
            unknown = high == torch.inf
            if unknown.any():
                high = torch.where(reached(torch.full_like(high, first), unknown), first, high)
        low = torch.full_like(high, self._floor)
        known = best < torch.inf
        checked = torch.where(known, torch.maximum(high * (1 - precise), low), high)
        fast = reached(checked, known & (checked < high))
        high = torch.where(fast, checked, high)
        searched = (high < best) & (high > low)
        if low.any():  # what reaches the goal within the budget is not followed further
            inside = reached(low, searched)
            high = torch.where(inside, low, high)
        bracketed, stride = ~known, high * precise
        while (waiting := searched & (high - low > precise * high) & (problem.left > 0)).any():
            stride, middle = GROWTH * stride, (low + high) / 2
            middle = torch.where(bracketed, middle, torch.maximum(high - stride, middle))
            yes = reached(middle, waiting)
            high, low = torch.where(yes, middle, high), torch.where(waiting & ~yes, middle, low)
            bracketed = bracketed | ~yes
        return high

    @property
    def _floor(self) -> float:
        """The last 8-bit level within the budget; 0 without one."""
        budget = 0.0 if self.threat.eps == torch.inf else self.threat.eps
        return int(budget * LEVELS * (1 + TOLERANCE)) / LEVELS


def block(turn: Tensor, images: Tensor) -> Tensor:
    """The values (n, C, H, W) whose signs are flipped at an image's `turn` (n,): none at 0.

    Level s has 2^s blocks, or as many as there are values.
    """
    values = images[:1].numel()
    level = torch.frexp(turn.clamp_min(1).double()).exponent.long() - 1  # floor(log2(turn))
    first = 2**level
    count = first.clamp_max(values)
    place = turn - first
    start, end = place * values // count, (place + 1) * values // count
    index = torch.arange(values, device=turn.device)
    mask = (index >= start[:, None]) & (index < end[:, None]) & (turn > 0)[:, None]
    return mask.view_as(images)


def turns(values: int) -> int:
    """The turns of a round: 1 + 2 + 4 + ... blocks, then one for each value; and turn 0."""
    return 2 ** (values - 1).bit_length() + values


def _along(x: Tensor, direction: Tensor, radius: Tensor) -> Tensor:
    """The images (n, C, H, W) at a radius (n,) along their rays; the originals where there is none."""
    return (x + lift(radius.nan_to_num(posinf=0.0), x) * direction).clamp(0, 1)
