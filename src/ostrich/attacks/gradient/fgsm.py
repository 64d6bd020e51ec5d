"""FGSM: one step of the size of the budget along the sign of the gradient.

Goodfellow, Shlens, Szegedy 2015, "Explaining and harnessing adversarial examples", section 4:
x + eps * sign(grad_x J(x, y)). Under L2 the step is eps times the gradient of unit length.
Targeted: down the loss of the target class (Kurakin 2017, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ostrich.attacks.base import InputSpecificAttack, State
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import followed, usual_loss
from ostrich.attacks.threats import Linf, Threat


@dataclass(frozen=True, kw_only=True)
class FGSM(InputSpecificAttack):
    """The fast gradient sign method: one forward and one backward per image.

    Goodfellow, Shlens, Szegedy 2015, "Explaining and harnessing adversarial examples", section 4.

    loss  "ce", cross-entropy; "margin", the lead of the label in logits. None: ce, in L2 away from a label
          margin, since ce shares an L2 budget among all other classes
    """

    name: ClassVar[str] = "fgsm"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    steps: ClassVar[int] = 1
    stop: ClassVar[str] = "budget"

    threat: Threat = Linf(8 / 255)
    loss: Literal["ce", "margin"] | None = None

    def init(self, problem: Problem) -> State:
        return State(problem.originals)

    def step(self, problem: Problem, state: State) -> State:
        loss = self.loss or usual_loss(problem.goal, self.threat.norm)
        gradient = problem.gradient(state.images, followed(problem.goal, loss, 0, self.steps))
        moved = state.images - self.threat.eps * self.threat.direction(gradient)
        return State(self.threat.project(moved, problem.originals))
