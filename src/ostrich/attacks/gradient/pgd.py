"""PGD: steps along the steepest descent of the loss, each projected back into the budget.

Madry, Makelov, Schmidt, Tsipras, Vladu 2018, "Towards deep learning models resistant to
adversarial attacks", section 2.1. Without a random start it is the basic iterative method
(Kurakin 2017). The step size of 2.5 eps / steps is Madry's (section 5.1 and their public code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ostrich.attacks.base import InputSpecificAttack, State
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import Loss, followed, usual_loss
from ostrich.attacks.threats import Linf, Threat
from ostrich.runtime.ranges import above, at_least


@dataclass(frozen=True)
class Descent(State):
    """Where each image stands."""

    spent: int = 0  # steps


@dataclass(frozen=True, kw_only=True)
class PGD(InputSpecificAttack):
    """Projected gradient descent: at most `steps` forwards and backwards per image.

    Madry, Makelov, Schmidt, Tsipras, Vladu 2018, "Towards deep learning models resistant to adversarial
    attacks", section 2.1.

    loss          "ce", cross-entropy; "margin", the lead of the label in logits (Carlini and Wagner's, which
                  Madry tried as well, table 1); "ce-then-margin", half of the steps on either. None: ce, in
                  L2 away from a label ce-then-margin, since ce shares an L2 budget among all other classes
    steps         steps of gradient descent
    step_size     length of a step, in the norm of the budget; None: 2.5 * eps / steps
    random_start  whether it begins anywhere within the budget instead of at the image
    stop          "first": an image is done once it is broken; "budget": when all steps are spent
    """

    name: ClassVar[str] = "pgd"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = Linf(8 / 255)
    loss: Loss | None = None
    steps: Annotated[int, at_least(1)] = 40
    step_size: Annotated[float | None, above(0)] = None
    random_start: bool = True
    stop: Literal["first", "budget"] = "first"

    def init(self, problem: Problem) -> Descent:
        if not self.random_start:
            return Descent(problem.originals)
        return Descent(self.threat.random_start(problem.originals, problem.draw))

    def step(self, problem: Problem, state: Descent) -> Descent:
        size = self.step_size if self.step_size is not None else 2.5 * self.threat.eps / self.steps
        loss = self.loss or usual_loss(problem.goal, self.threat.norm)
        gradient = problem.gradient(state.images, followed(problem.goal, loss, state.spent, self.steps))
        moved = state.images - size * self.threat.direction(gradient)
        return Descent(self.threat.project(moved, problem.originals), state.spent + 1)
