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
from ostrich.attacks.goals import Loss, followed
from ostrich.attacks.threats import Linf, Threat
from ostrich.runtime.ranges import above, at_least


@dataclass(frozen=True, kw_only=True)
class PGD(InputSpecificAttack):
    """Projected gradient descent: at most `steps` forwards and backwards per image.

    Madry, Makelov, Schmidt, Tsipras, Vladu 2018, "Towards deep learning models resistant to adversarial
    attacks", section 2.1.

    loss          "ce", cross-entropy, which in L2 shares the budget among all other classes; "margin", the
                  lead of the label in logits (Carlini and Wagner's, which Madry tried as well, table 1)
    steps         steps of gradient descent
    step_size     length of a step, in the norm of the budget; None: 2.5 * eps / steps
    random_start  whether it begins anywhere within the budget instead of at the image
    stop          "first": an image is done once it is broken; "budget": when all steps are spent
    """

    name: ClassVar[str] = "pgd"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = Linf(8 / 255)
    loss: Loss = "ce"
    steps: Annotated[int, at_least(1)] = 40
    step_size: Annotated[float | None, above(0)] = None
    random_start: bool = True
    stop: Literal["first", "budget"] = "first"

    def init(self, problem: Problem) -> State:
        if not self.random_start:
            return State(problem.originals)
        return State(self.threat.random_start(problem.originals, problem.draw))

    def step(self, problem: Problem, state: State) -> State:
        size = self.step_size if self.step_size is not None else 2.5 * self.threat.eps / self.steps
        downhill = -self.threat.direction(problem.gradient(state.images, followed(problem.goal, self.loss)))
        return State(self.threat.project(state.images + size * downhill, problem.originals))
