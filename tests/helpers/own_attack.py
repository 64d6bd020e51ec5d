"""An attack of one's own: steps along the sign of the gradient from the best point so far."""

from dataclasses import dataclass

import torch

from ostrich.attacks import InputSpecificAttack, Linf, State


@dataclass(frozen=True)
class Best(State):
    best: torch.Tensor  # (n, C, H, W)
    loss: torch.Tensor  # (n,)


@dataclass(frozen=True, kw_only=True)
class Remembering(InputSpecificAttack):
    """`steps` forwards and backwards per image at most."""

    name, needs, norms, stop = "remembering", "gradient", ("linf",), "first"
    threat: Linf = Linf(8 / 255)
    steps: int = 10

    def init(self, problem):
        return Best(problem.originals, problem.originals, torch.full_like(problem.rows, 2**40).double())

    def step(self, problem, state):
        loss, gradient, _ = problem.evaluate(state.images, problem.goal.loss)
        better = (loss < state.loss).view(-1, 1, 1, 1)
        best = torch.where(better, state.images, state.best)
        moved = best - 2 * self.threat.eps / self.steps * gradient.sign()
        return Best(self.threat.project(moved, problem.originals), best, torch.minimum(loss, state.loss))
