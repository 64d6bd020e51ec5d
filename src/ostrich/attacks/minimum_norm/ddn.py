"""DDN: the direction by the gradient, the distance by success and failure.

Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger 2019, "Decoupling direction and norm for
efficient gradient-based L2 adversarial attacks and defenses", algorithm 1: a step along the
gradient of unit length, then the change is brought to a length that shrinks by 1 - gamma where the
image is adversarial and grows by 1 + gamma where it is not. The step falls from 1 to 0.01 by a
cosine (section 3). Rounding to 8 bits, which the paper does in each step, is left to the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import Loss, followed, usual_loss
from ostrich.attacks.per_image import lift, square
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.runtime.ranges import above, at_least

LAST_STEP = 0.01  # of the first step


@dataclass(frozen=True)
class Walk(EndingState):
    """`images` are to be evaluated next."""

    change: Tensor  # (n, C, H, W)
    length: Tensor  # (n,) float64, L2
    spent: Tensor  # (n,) int64, steps


@dataclass(frozen=True, kw_only=True)
class DDN(InputSpecificAttack):
    """Decoupled direction and norm: `steps` forwards and backwards per image.

    Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger 2019, "Decoupling direction and norm for efficient
    gradient-based L2 adversarial attacks and defenses", algorithm 1.

    loss            "ce", cross-entropy, which shares a change among all other classes; "margin", the lead of
                    the label in logits; "ce-then-margin", half of the steps on either. None: ce-then-margin,
                    towards a target ce
    steps           steps of gradient descent
    initial_length  length of the first change, L2
    gamma           part by which the length shrinks at a success and grows at a failure
    """

    name: ClassVar[str] = "ddn"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    stop: ClassVar[str] = "minimum"

    threat: Threat = Unbounded()
    loss: Loss | None = None
    steps: Annotated[int, at_least(1)] = 100
    initial_length: Annotated[float, above(0)] = 1.0
    gamma: Annotated[float, above(0, below=1)] = 0.05

    def init(self, problem: Problem) -> Walk:
        x = problem.originals
        number = x.new_zeros(len(x), dtype=torch.float64)
        count = torch.zeros_like(problem.rows)
        return Walk(
            images=x,
            change=torch.zeros_like(x),
            length=number + self.initial_length,
            spent=count,
            done=torch.zeros_like(count, dtype=torch.bool),
        )

    def step(self, problem: Problem, state: Walk) -> Walk:
        x = problem.originals
        done = int(state.spent.max()) if len(state.spent) else 0
        loss = followed(problem.goal, self.loss or usual_loss(problem.goal, "l2"), done, self.steps)
        _, gradient, reached = problem.evaluate(state.images, loss)
        size = LAST_STEP + (1 - LAST_STEP) * (1 + math.cos(math.pi * done / self.steps)) / 2
        change = state.change - size * self.threat.direction(gradient)
        length = state.length * torch.where(reached, 1 - self.gamma, 1 + self.gamma)
        change = change * lift(length / square(change).sqrt().clamp_min(1e-30), x)
        spent = state.spent + 1
        images = (x + change).clamp(0, 1)
        return Walk(
            images=images,
            change=images - x,
            length=length,
            spent=spent,
            done=spent >= self.steps,
        )
