"""
Write an attack in thirty lines
===============================

An attack is a state and two functions. The engine does the rest: solved images leave the batch, success
is decided on the image rounded to 8 bits, questions are counted, and a cut-off run goes on.
"""

# %%
# The attack
# ----------
# Steps along the sign of the gradient, each from the best point so far.

from dataclasses import dataclass

import torch

import ostrich
from ostrich.attacks import InputSpecificAttack, Linf, State


@dataclass(frozen=True)
class Best(State):
    """The best images so far and their loss; every tensor has the image as its first axis."""

    best: torch.Tensor  # (n, C, H, W)
    loss: torch.Tensor  # (n,)


@dataclass(frozen=True, kw_only=True)
class Remembering(InputSpecificAttack):
    """At most `steps` forwards and backwards per image."""

    name, needs, norms, stop = "remembering", "gradient", ("linf",), "first"
    threat: Linf = Linf(8 / 255)
    steps: int = 10

    def init(self, problem):
        nothing_yet = torch.full_like(problem.rows, 2**40).double()
        return Best(problem.originals, problem.originals, nothing_yet)

    def step(self, problem, state):
        loss, gradient, _ = problem.evaluate(state.images, problem.goal.loss)
        better = (loss < state.loss).view(-1, 1, 1, 1)
        best = torch.where(better, state.images, state.best)
        moved = best - 2 * self.threat.eps / self.steps * gradient.sign()
        return Best(self.threat.project(moved, problem.originals), best, torch.minimum(loss, state.loss))


# %%
# Run it like any other
# ---------------------

images, labels = ostrich.data.toybox("test", limit=32)
mine = ostrich.attack(Remembering(eps=2 / 255), "zoo:toybox-resnet20", images, labels)
mine

# %%
# Beside PGD
# ----------

pgd = ostrich.attack("pgd", "zoo:toybox-resnet20", images, labels, eps=2 / 255, steps=10)
for result in (mine, pgd):
    print(result, result.figures["forwards_per_image"])

# %%
# A success is a file
# -------------------
# What is claimed are images on the 8-bit grid, inside the budget, that fool the plain network.

model = ostrich.load("zoo:toybox-resnet20")
fooled = model.predict(mine.images).argmax(1) != labels
assert bool(fooled[mine.success].all())
assert float((mine.images - images).abs().amax()) <= 2 / 255 + 1e-6

# %%
# On the command line it is ``ostrich attack my_attack.py:Remembering MODEL DATA``.
