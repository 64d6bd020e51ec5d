"""One-pixel attack: differential evolution of a pixel's place and colour.

Su, Vargas, Sakurai 2019, "One pixel attack for fooling deep neural networks", section III: a
candidate is (x, y, r, g, b) for each of the k pixels that may change; the first generation has
uniform places and colours from N(128, 127); children are  a + F (b - c)  of three different parents
with F = 0.5 and no crossover; a child replaces its own parent where it is fitter. The fitness is the
probability of the label, to be lowered, or of the target, to be raised. At most 100 generations of
400. Ours ends at the first success; theirs goes on until the target has more than 90 %, or the label less
than 5 %, so that its confidences are higher. And ours compares log-odds, which rank as the probabilities
do, but still differ where those of a confident network are all 1 in float64.

The populations of all images are asked about in one batch, and an image that is done leaves it.
Where the paper is silent: a place outside the image is drawn anew, a colour outside its range is
clamped, and colours are rounded to 8 bits before the network sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack, State
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.threats import Pixels, Threat
from ostrich.errors import InputError
from ostrich.images import LEVELS, rounded
from ostrich.runtime.ranges import above, at_least

MEAN, SPREAD = 128 / LEVELS, 127 / LEVELS  # of the first colours


@dataclass(frozen=True)
class Population(State):
    """p candidates of k pixels with C channels; `images` are the fittest candidate's."""

    candidates: Tensor  # (n, p, k, 2 + C): row and column as parts of the side, then the colour
    unfitness: Tensor  # (n, p) float64, to be lowered; inf before the first generation
    spent: int = 0  # generations


@dataclass(frozen=True, kw_only=True)
class OnePixel(InputSpecificAttack):
    """At most (`generations` + 1) * `population` forwards per image; eps of the budget is in pixels.

    Su, Vargas, Sakurai 2019, "One pixel attack for fooling deep neural networks", section III. Ours differs
    in its end: the first success, where theirs wants 90 % for the target, or less than 5 % for the label.

    population   candidates in a generation
    generations  most generations after the first
    factor       weight of the difference of two parents (F)
    queries      most forwards for an image, of all generations; None: no limit

    Raises InputError for too few queries for a generation.
    """

    name: ClassVar[str] = "one-pixel"
    needs: ClassVar[str] = "scores"
    norms: ClassVar[tuple[str, ...]] = ("l0",)
    stop: ClassVar[str] = "first"

    threat: Threat = Pixels(1)
    population: Annotated[int, at_least(4)] = 400
    generations: Annotated[int, at_least(1)] = 100
    factor: Annotated[float, above(0, at_most=2)] = 0.5
    queries: Annotated[int | None, at_least(1)] = None

    def validate(self) -> None:
        if self.queries is not None and self.queries < self.population + 2:
            raise InputError(f"A generation costs {self.population} queries; {self.queries} are too few.")

    @property
    def steps(self) -> int:
        return self.generations + 1  # the first generation is a step too

    @property
    def most_forwards(self) -> int | None:
        return self.queries

    @property
    def copies(self) -> int:
        return self.population

    def init(self, problem: Problem) -> Population:
        x = problem.originals
        shape = (self.population, int(self.threat.eps), 2 + x.shape[1])
        places = problem.draw("uniform", 0, (*shape[:2], 2))
        colours = MEAN + SPREAD * problem.draw("normal", 1, (*shape[:2], x.shape[1]))
        candidates = torch.cat([places, colours.clamp(0, 1)], 3)
        return Population(x, candidates, x.new_full(candidates.shape[:2], torch.inf, dtype=torch.float64))

    def step(self, problem: Problem, state: Population) -> Population:
        trial = state.candidates if state.spent == 0 else self._children(problem, state)
        copies = problem.repeated(self.population)
        images = painted(copies.originals, trial.flatten(0, 1))
        unfitness = _unfitness(problem, copies.logits(images).unflatten(0, (-1, self.population)))
        fitter = unfitness < state.unfitness
        candidates = torch.where(fitter[..., None, None], trial, state.candidates)
        unfitness = torch.where(fitter, unfitness, state.unfitness)
        rows = torch.arange(len(candidates), device=candidates.device)
        best = painted(problem.originals, candidates[rows, unfitness.argmin(1)])
        return Population(best, candidates, unfitness, state.spent + 1)

    def _children(self, problem: Problem, state: Population) -> Tensor:
        """a + F (b - c) for each place in the population, (n, p, k, 2 + C)."""
        p, step = self.population, 3 * state.spent
        # Three different parents: offsets from the own place that differ and are not 0.
        numbers = problem.draw("uniform", step, (p, 3)).double()
        order = (numbers * torch.tensor([p - 1, p - 2, p - 3], device=numbers.device)).long() + 1
        first = order[..., 0]
        second = order[..., 1] + (order[..., 1] >= first)
        low, high = torch.minimum(first, second), torch.maximum(first, second)
        third = order[..., 2] + (order[..., 2] >= low)
        third = third + (third >= high)
        place = torch.arange(p, device=numbers.device)
        rows = torch.arange(len(numbers), device=numbers.device)[:, None]
        a, b, c = (state.candidates[rows, (place + shift) % p] for shift in (first, second, third))
        child = a + self.factor * (b - c)
        places, fresh = child[..., :2], problem.draw("uniform", step + 1, (*child.shape[1:3], 2))
        places = torch.where((places >= 0) & (places < 1), places, fresh)
        return torch.cat([places, child[..., 2:].clamp(0, 1)], 3)


def painted(images: Tensor, candidates: Tensor) -> Tensor:
    """Images (m, C, H, W) with the pixels of their candidates (m, k, 2 + C), on the 8-bit grid."""
    height, width = images.shape[-2:]
    row = (candidates[..., 0] * height).long().clamp(0, height - 1)
    column = (candidates[..., 1] * width).long().clamp(0, width - 1)
    place = (row * width + column)[:, None].expand(-1, images.shape[1], -1)  # (m, C, k)
    colours = rounded(candidates[..., 2:]).transpose(1, 2).to(images.dtype)
    return images.flatten(2).scatter(2, place, colours).view_as(images)


def _unfitness(problem: Problem, logits: Tensor) -> Tensor:
    """The log-odds (n, p) of the label, or of anything but the target; logits (n, p, K)."""
    precise = logits.double()
    place = problem.goal.classes[:, None, None].expand(-1, logits.shape[1], 1)
    own = precise.gather(2, place)[..., 0]
    odds = own - precise.scatter(2, place, -torch.inf).logsumexp(2)  # log p - log(1 - p)
    return odds if problem.goal.kind == "untargeted" else -odds
