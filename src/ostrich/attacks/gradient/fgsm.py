"""FGSM: one step of the size of the budget along the sign of the gradient.

Goodfellow, Shlens, Szegedy 2015, "Explaining and harnessing adversarial examples", section 4:
x + eps * sign(grad_x J(x, y)). Under L2 the step is eps times the gradient of unit length.
Targeted: down the loss of the target class (Kurakin 2017, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ostrich.attacks.base import InputSpecificAttack, State
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import Loss, followed
from ostrich.attacks.threats import Linf, Threat


@dataclass(frozen=True, kw_only=True)
class FGSM(InputSpecificAttack):
    """The fast gradient sign method: one forward and one backward per image.

    Goodfellow, Shlens, Szegedy 2015, "Explaining and harnessing adversarial examples", section 4.

    loss  "ce", cross-entropy; "margin", the lead of the label in logits, which only the nearest class ends
    """

    name: ClassVar[str] = "fgsm"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    steps: ClassVar[int] = 1
    stop: ClassVar[str] = "budget"

    threat: Threat = Linf(8 / 255)
    loss: Loss = "ce"

    def init(self, problem: Problem) -> State:
        return State(problem.originals)

    def step(self, problem: Problem, state: State) -> State:
        downhill = -self.threat.direction(problem.gradient(state.images, followed(problem.goal, self.loss)))
        moved = state.images + self.threat.eps * downhill
        return State(self.threat.project(moved, problem.originals))
