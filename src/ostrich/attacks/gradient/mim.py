"""MIM: PGD whose direction is a decaying sum of all gradients so far.

Dong, Liao, Pang, Su, Zhu, Hu, Li 2018, "Boosting adversarial attacks with momentum", algorithm 1:
g <- decay * g + grad / |grad|_1, x <- project(x + step * sign(g)). A gradient that is zero adds
nothing. The step size is eps / steps (section 3.1) where none is given. With two losses, each half of the
steps is a run of its own, from where the other ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack, State
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import Loss, followed, usual_loss
from ostrich.attacks.threats import Linf, Threat
from ostrich.runtime.ranges import above, at_least


@dataclass(frozen=True)
class Momentum(State):
    """Where each image stands, and its sum of gradients."""

    momentum: Tensor  # (n, C, H, W)
    spent: int = 0  # steps


@dataclass(frozen=True, kw_only=True)
class MIM(InputSpecificAttack):
    """The momentum iterative method: at most `steps` forwards and backwards per image.

    Dong, Liao, Pang, Su, Zhu, Hu, Li 2018, "Boosting adversarial attacks with momentum", algorithm 1.

    loss       "ce", cross-entropy; "margin", the lead of the label in logits; "ce-then-margin", half of the
               steps on either. None: ce, in L2 away from a label ce-then-margin, since ce shares an L2 budget
               among all other classes
    steps      steps of gradient descent
    step_size  length of a step, in the norm of the budget; None: eps / steps
    decay      part of the sum of gradients that a step keeps (mu)
    stop       "first": an image is done once it is broken; "budget": when all steps are spent
    """

    name: ClassVar[str] = "mim"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = Linf(8 / 255)
    loss: Loss | None = None
    steps: Annotated[int, at_least(1)] = 10
    step_size: Annotated[float | None, above(0)] = None
    decay: Annotated[float, at_least(0)] = 1.0
    stop: Literal["first", "budget"] = "first"

    def init(self, problem: Problem) -> Momentum:
        return Momentum(problem.originals, torch.zeros_like(problem.originals))

    def step(self, problem: Problem, state: Momentum) -> Momentum:
        loss = self.loss or usual_loss(problem.goal, self.threat.norm)
        gradient = problem.gradient(state.images, followed(problem.goal, loss, state.spent, self.steps))
        size = gradient.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
        fresh = torch.where(size > 0, gradient / size, torch.zeros_like(gradient))
        first = self.steps // 2 if loss == "ce-then-margin" else 0  # steps on the first of two losses
        momentum = fresh if state.spent == first else self.decay * state.momentum + fresh
        steps = first if state.spent < first else self.steps - first
        length = self.step_size if self.step_size is not None else self.threat.eps / steps
        moved = state.images - length * self.threat.direction(momentum)
        return Momentum(self.threat.project(moved, problem.originals), momentum, state.spent + 1)
