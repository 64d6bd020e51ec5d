"""MIM: PGD whose direction is a decaying sum of all gradients so far.

Dong, Liao, Pang, Su, Zhu, Hu, Li 2018, "Boosting adversarial attacks with momentum", algorithm 1:
g <- decay * g + grad / |grad|_1, x <- project(x + step * sign(g)). A gradient that is zero adds
nothing. The step size is eps / steps (section 3.1) where none is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attacks.problem import Problem
from ostrich.attacks.threats import Linf, Threat
from ostrich.errors import InputError


@dataclass(frozen=True)
class State:
    """Where each image stands, and its sum of gradients."""

    images: Tensor  # (n, C, H, W)
    momentum: Tensor  # (n, C, H, W)


@dataclass(frozen=True, kw_only=True)
class MIM:
    """`steps` forwards and backwards per image at most; `step_size` in the norm of the budget."""

    name: ClassVar[str] = "mim"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = Linf(8 / 255)
    steps: int = 10
    step_size: float | None = None  # None: eps / steps
    decay: float = 1.0
    stop: str = "first"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"MIM takes at least one step; got {self.steps}.")
        if self.step_size is not None and not self.step_size > 0:
            raise InputError(f"A step size is above 0; got {self.step_size}.")
        if not self.decay >= 0:
            raise InputError(f"A decay is from 0 up; got {self.decay}.")
        if self.stop not in ("first", "budget"):
            raise InputError(f"stop is first or budget; got {self.stop!r}.")

    def init(self, problem: Problem) -> State:
        return State(problem.originals, torch.zeros_like(problem.originals))

    def step(self, problem: Problem, state: State) -> State:
        gradient = problem.gradient(state.images)
        size = gradient.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
        fresh = torch.where(size > 0, gradient / size, torch.zeros_like(gradient))
        momentum = self.decay * state.momentum + fresh
        length = self.step_size if self.step_size is not None else self.threat.eps / self.steps
        moved = state.images - length * self.threat.direction(momentum)
        return State(self.threat.project(moved, problem.originals), momentum)
