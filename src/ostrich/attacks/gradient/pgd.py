"""PGD: steps along the steepest descent of the loss, each projected back into the budget.

Madry, Makelov, Schmidt, Tsipras, Vladu 2018, "Towards deep learning models resistant to
adversarial attacks", section 2.1. Without a random start it is the basic iterative method
(Kurakin 2017). The step size of 2.5 eps / steps is Madry's (section 5.1 and their public code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ostrich.attacks.problem import Problem
from ostrich.attacks.threats import Linf, Threat
from ostrich.errors import InputError


@dataclass(frozen=True)
class State:
    """Where each image stands."""

    images: Tensor  # (n, C, H, W)


@dataclass(frozen=True, kw_only=True)
class PGD:
    """`steps` forwards and backwards per image at most; `step_size` in the norm of the budget."""

    name: ClassVar[str] = "pgd"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = Linf(8 / 255)
    steps: int = 40
    step_size: float | None = None  # None: 2.5 * eps / steps
    random_start: bool = True
    stop: str = "first"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"PGD takes at least one step; got {self.steps}.")
        if self.step_size is not None and not self.step_size > 0:
            raise InputError(f"A step size is above 0; got {self.step_size}.")
        if self.stop not in ("first", "budget"):
            raise InputError(f"stop is first or budget; got {self.stop!r}.")

    def init(self, problem: Problem) -> State:
        if not self.random_start:
            return State(problem.originals)
        return State(self.threat.random_start(problem.originals, problem.draw))

    def step(self, problem: Problem, state: State) -> State:
        size = self.step_size if self.step_size is not None else 2.5 * self.threat.eps / self.steps
        downhill = -self.threat.direction(problem.gradient(state.images))
        return State(self.threat.project(state.images + size * downhill, problem.originals))
