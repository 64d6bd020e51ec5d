"""FAB-T: towards a target's boundary, drawn back to the original all the way.

Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary
attack", algorithm 1, in the targeted form of the AutoAttack paper (section 4): for the target t the
boundary z_label = z_t is linearised at the point and projected onto twice, from the point and from
the original, within [0, 1]; the next point is a convex combination of both (equation 9). Where it is
adversarial, it goes back a tenth of the way (equation 10). The last steps bisect the way to the
original (section 2.4); where any success within a budget will do, the very last one goes along it to where
the budget ends, since what is just beyond the boundary may be rounded back.

All targets of an image are attacked side by side as copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import rivals
from ostrich.attacks.per_image import lift, power_of_two, where
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.runtime.ranges import at_least

BIAS = 0.1  # alpha_max: the largest part of the projection of the original
OVERSHOOT = 1.05  # eta
BACKWARD = 0.9  # beta
BISECTIONS = 5  # between the original and the nearest success, at the end
TOGETHER = 2**17  # values projected at once
SMALLEST = 1e-30  # in place of a zero in a quotient
PRECISE = 256  # rounding errors by which a projection may miss its plane, relative to the way there


@dataclass(frozen=True)
class Lanes(EndingState):
    """m = copies: an image's targets; `images` the nearest success, or the first copy's point."""

    points: Tensor  # (n, m, C, H, W)
    distance: Tensor  # (n,) float64, of the nearest success
    low: Tensor  # (n,) float64, at the end: the part of the way that failed
    high: Tensor  # (n,) the part that succeeded
    targets: Tensor  # (n, m) int64
    spent: int = 0  # steps


@dataclass(frozen=True, kw_only=True)
class FAB(InputSpecificAttack):
    """FAB-T: per image and target `iterations` backwards and twice as many forwards, and 5 forwards.

    Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
    algorithm 1. Ours differs: the final search (section 2.4) is 5 bisections, which ask only whether the goal
    is reached, where theirs places its points by the logits at both ends; it starts at the original, once,
    without random restarts; and targeted, it heads for the boundary with the highest other class.

    iterations  steps towards each target
    targets     most probable other classes
    stop        "minimum": the nearest success counts; "first": any within the budget
    """

    name: ClassVar[str] = "fab"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = Unbounded("linf")
    iterations: Annotated[int, at_least(1)] = 100
    targets: Annotated[int, at_least(1)] = 9
    stop: Literal["first", "minimum"] = "minimum"

    @property
    def steps(self) -> int:
        return self.iterations + BISECTIONS

    @property
    def copies(self) -> int:
        return self.targets

    def init(self, problem: Problem) -> Lanes:
        x = problem.originals
        count = self.targets if problem.goal.kind == "untargeted" else 1
        targets = rivals(problem.clean, problem.goal.classes, count)
        number = x.new_zeros(len(x), dtype=torch.float64)
        return Lanes(
            images=x,
            points=x[:, None].expand(-1, targets.shape[1], *x.shape[1:]).contiguous(),
            distance=number + torch.inf,
            low=number,
            high=number + 1,
            targets=targets,
            done=torch.zeros_like(problem.rows, dtype=torch.bool),
        )

    def step(self, problem: Problem, state: Lanes) -> Lanes:
        if state.spent >= self.iterations:
            return self._bisect(problem, state)
        copies = problem.repeated(state.targets.shape[1])
        x, points = copies.originals, state.points.flatten(0, 1)
        sign = 1.0 if problem.goal.kind == "untargeted" else -1.0
        first, second = copies.goal.classes, state.targets.flatten()

        def gap(logits: Tensor) -> Tensor:
            """How far the label leads the target, or the highest other class the aim."""
            logits = logits.double()
            rival = second
            if sign < 0:
                rival = logits.detach().scatter(1, first[:, None], -torch.inf).argmax(1)
            chosen = logits.gather(1, torch.stack([first, rival], 1))
            return sign * (chosen[:, 0] - chosen[:, 1])

        value, gradient, _ = copies.evaluate(points, gap, "exact")
        moved = _combined(self.threat.norm, points, x, value, gradient)
        reached = copies.goal.reached(copies.logits(moved, "exact"))
        size = self.threat.distance(moved, x).double().masked_fill(~reached, torch.inf)
        nearest, copy = size.view(len(state.targets), -1).min(1)
        better = nearest < state.distance
        candidates = moved.view_as(state.points)[torch.arange(len(copy), device=copy.device), copy]
        back = where(reached, x + BACKWARD * (moved - x), moved)
        return Lanes(
            images=where(better | (state.distance == torch.inf), candidates, state.images),
            points=back.view_as(state.points),
            distance=torch.where(better, nearest, state.distance),
            low=state.low,
            high=state.high,
            targets=state.targets,
            done=state.done,
            spent=state.spent + 1,
        )

    def _bisect(self, problem: Problem, state: Lanes) -> Lanes:
        """Halve the part of the way to the nearest success in which the boundary lies."""
        x, middle, spent = problem.originals, (state.low + state.high) / 2, state.spent + 1
        if self.stop == "first" and spent == self.steps and self.threat.eps < torch.inf:
            middle = self.threat.eps / state.distance
        reached = problem.reached((x + lift(middle, x) * (state.images - x)).clamp(0, 1))
        return Lanes(
            images=state.images,
            points=state.points,
            distance=state.distance,
            low=torch.where(reached, state.low, middle),
            high=torch.where(reached, middle, state.high),
            targets=state.targets,
            done=state.done | (spent >= self.steps),
            spent=spent,
        )


def _combined(norm: str, points: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Equation 9: between the projections of the points and of the originals, each overshot.

    A few images at a time, whose values stay in the processor's cache.
    """
    each = max(1, TOGETHER // max(1, x[:1].numel()))
    parts = zip(*(tensor.split(each) for tensor in (points, x, value, gradient)), strict=True)
    return torch.cat([_combined_part(norm, *part) for part in parts])


def _combined_part(norm: str, points: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    slope, here, origin = gradient.flatten(1), points.flatten(1), x.flatten(1)
    level = value.to(here.dtype)
    from_point = to_plane(norm, here, slope, level)
    from_origin = to_plane(norm, origin, slope, level + (slope * (origin - here)).sum(1))
    a, b = (
        change.abs().amax(1) if norm == "linf" else change.norm(dim=1) for change in (from_point, from_origin)
    )
    bias = (a / (a + b).clamp_min(1e-30)).clamp_max(BIAS)[:, None]
    moved = torch.lerp(here + OVERSHOOT * from_point, origin + OVERSHOOT * from_origin, bias)
    return moved.clamp_(0, 1).view_as(points)


def to_plane(norm: str, points: Tensor, slope: Tensor, level: Tensor) -> Tensor:
    """The smallest change (n, D) of points in [0, 1]^D by which `level` + slope . change becomes 0.

    Along s = -sign(level) * slope (L2) or its sign (Linf), by t, each value stopping at its wall. What
    is gained is concave and piecewise linear in t, so Newton's steps from 0 never pass the t sought, and
    end on it: each goes as far as the values that still move would have to. Where the plane lies outside
    the box, every value goes to its wall.
    """
    power = power_of_two(slope)
    slope, level = slope / power[:, None], level / power
    level = level.nan_to_num(0)  # without an answer there is no plane: no change
    pull = -level.sign()[:, None] * slope
    way = pull.sign()
    room = (way.relu() - points).abs_()  # to the wall ahead, 1 or 0
    need = level.abs()
    if norm == "linf":
        stops, rate = room * way.abs(), pull.abs()  # the t at which a value stops, and what it gains per t
    else:
        stops, rate = room / pull.abs().clamp_min_(SMALLEST) * way.abs(), pull.square()
    t = torch.zeros_like(need)
    gained, moving = t, torch.ones_like(need, dtype=torch.bool)
    enough = need * (1 - PRECISE * torch.finfo(points.dtype).eps)
    for _ in range(points.shape[1] + 1):
        # What still moves is told by a sign: comparing and choosing value by value take five times as long.
        still = (stops - t[:, None]).relu_().sign_().mul_(rate).sum(1)
        step = torch.where(moving, (need - gained) / still.clamp_min(SMALLEST), 0)
        t = torch.where(still > 0, t + step, t)
        gained = torch.minimum(t[:, None], stops).mul_(rate).sum(1)
        moving = (still > 0) & (gained < enough)
        if not moving.any():
            break
    if norm == "linf":
        return torch.minimum(t[:, None], stops).mul_(way)
    t = t.clamp_max(torch.finfo(t.dtype).max)
    return torch.minimum(t[:, None] * pull.abs(), room).mul_(way)
