"""DeepFool: step after step over the nearest decision boundary of the linearised network.

Moosavi-Dezfooli, Fawzi, Frossard 2016, "DeepFool: a simple and accurate method to fool deep neural
networks", algorithm 2 (L2) and section 3.3 (Linf, the p = infinity case). For each class k other
than the label, with f = z_k - z_label and w its gradient, the boundary is |f| / |w|_q away; the step
goes to the nearest. The sum of all steps, times 1 + overshoot, is the change.

A gradient of every class is the price of a step. Which boundaries are near changes little along the
way, so after the first step only the `NEAREST` ones at it are looked at again. A class whose score moves as
the label's does, or has no finite gradient, is none to go to. An image goes on until its success is clear of
rounding errors.

Targeted, the boundary is that between the target and the class that stands highest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import SLACK, rivals
from ostrich.attacks.per_image import power_of_two, where
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.runtime.ranges import at_least

CREEP = 1e-3  # of the change so far, added to a step: else an image may end just short of the boundary
FIRST = 1e-4  # the least first step, far below a level: a class that ties with the label is no way off
FARTHEST = 1e15  # step, past any image: its square is finite in float32
NEAREST = 3  # classes whose boundaries are looked at after the first step


@dataclass(frozen=True)
class Walk(EndingState):
    """`images` are to be evaluated next."""

    change: Tensor  # (n, C, H, W), the sum of the steps, without overshoot
    classes: Tensor  # (n, k) int64, looked at: the label or target first


@dataclass(frozen=True, kw_only=True)
class DeepFool(InputSpecificAttack):
    """At most `steps` forwards per image, and for each as many backwards as `candidates`.

    Moosavi-Dezfooli, Fawzi, Frossard 2016, "DeepFool: a simple and accurate method to fool deep neural
    networks", algorithm 2. Ours differs: every point is clamped to [0, 1] before the network sees it, while
    the sum of the steps is not; the overshoot is added at every step, not only at the end; a step is longer
    by a thousandth of the change so far; and after the first step only the 3 nearest boundaries are looked
    at.

    steps       most steps over a linearised boundary
    overshoot   part of the change that is added to it
    candidates  most probable classes that are looked at, the label among them
    """

    name: ClassVar[str] = "deepfool"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("l2", "linf")
    stop: ClassVar[str] = "minimum"

    threat: Threat = Unbounded()
    steps: Annotated[int, at_least(1)] = 50
    overshoot: Annotated[float, at_least(0)] = 0.02
    candidates: Annotated[int, at_least(2)] = 10

    def init(self, problem: Problem) -> Walk:
        x = problem.originals
        never = torch.zeros_like(problem.rows, dtype=torch.bool)
        return Walk(x, never, torch.zeros_like(x), self._classes(problem))

    def step(self, problem: Problem, state: Walk) -> Walk:
        classes, untargeted = state.classes, problem.goal.kind == "untargeted"
        slopes, logits, judged = problem.logit_jacobian(state.images, classes)  # of z_k - z_first
        reached = problem.goal.reached(judged, SLACK)
        chosen = logits.gather(1, classes)
        gaps = (chosen[:, 1:] - chosen[:, :1]).abs()  # (n, k-1)
        if not untargeted:  # of the others, the highest one stands in the way
            gaps = gaps.masked_fill(chosen[:, 1:] < chosen[:, 1:].amax(1, keepdim=True), torch.inf)
        slopes = slopes.flatten(2)  # (n, k-1, D)
        powers = power_of_two(slopes.flatten(0, 1)).view_as(gaps)
        slopes = slopes / powers[..., None]
        sizes = slopes.norm(dim=2) if self.threat.norm == "l2" else slopes.abs().sum(2)
        away = (gaps / powers / sizes).clamp_max(FARTHEST)
        away = away.masked_fill((sizes == 0) | gaps.isinf(), torch.inf)  # no slope: the class moves along
        order = away.sort(dim=1, stable=True).indices
        rows, nearest = torch.arange(len(order), device=order.device), order[:, 0]
        slope, size, away = slopes[rows, nearest], sizes[rows, nearest, None], away[rows, nearest, None]
        unit = slope / size.clamp_min(1e-30) if self.threat.norm == "l2" else slope.sign()
        before = self.threat.distance(state.change, torch.zeros_like(state.change))[:, None]
        step = torch.where(before > 0, away + CREEP * before, away.clamp_min(FIRST))
        move = torch.where(away < torch.inf, step, 0) * unit * (1 if untargeted else -1)
        change = state.change + move.view_as(state.change)
        moved = (problem.originals + (1 + self.overshoot) * change).clamp(0, 1)
        if untargeted:
            classes = torch.cat([classes[:, :1], classes[:, 1:].gather(1, order[:, :NEAREST])], 1)
        images, change = where(reached, state.images, moved), where(reached, state.change, change)
        return Walk(images, reached, change, classes)

    def _classes(self, problem: Problem) -> Tensor:
        """The classes (n, k) looked at: the label or target first, then the highest of the clean image."""
        count = min(self.candidates, problem.clean.shape[1]) - 1
        first = problem.goal.classes
        return torch.cat([first[:, None], rivals(problem.clean, first, count)], 1)
