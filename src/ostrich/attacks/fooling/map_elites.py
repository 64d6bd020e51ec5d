"""MAP-Elites: one evolution that keeps the best image of every class.

Mouret and Clune 2015, "Illuminating search spaces by mapping elites", with the classes as the map's
cells, as Nguyen, Yosinski, Clune 2015 ("Deep neural networks are easily fooled", section 2.3) use it: the
first population is random; then parents are drawn evenly from the cells, and each child competes in every
class by the probability that the network gives it there. What starts as a poor lemon may end as a good
lamp, so the archive holds all classes of the network, however few are asked for.

For the engine it is one state: its rows are the images asked for, each the best of its class so far, and
its archive serves them all. So an image does not depend on which others are asked for. A population is
one batch, looked at as a file would hold it, rounded to 8 bits. Random numbers come from the seed and
the number of the generation alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.per_image import where
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.errors import InputError
from ostrich.images import rounded
from ostrich.runtime.randomness import keyed
from ostrich.runtime.ranges import above, at_least

LEVELS = (0.5, 0.9, 0.99)  # of confidence, at which the archive's classes are counted
PURPOSE = 3  # tells these random numbers from all others of the same seed


class Genomes(Protocol):
    """What an encoding evolves: p individuals as tensors with the individual as first axis."""

    def __len__(self) -> int: ...

    def take(self, rows: Tensor) -> Self:
        """Individuals by place, perhaps one more often."""

    def put(self, rows: Tensor, others: Self) -> Self:
        """The same with `others` at the places `rows`."""

    def to(self, device: torch.device) -> Self: ...


@dataclass(frozen=True, kw_only=True)
class EvolutionAttack(InputSpecificAttack):
    """An attack that evolves images: its settings, and what its images are made from.

    Mouret and Clune 2015, "Illuminating search spaces by mapping elites": the fittest image of each class is
    kept, and its children may take any class. An image costs a forward.

    population   images in a generation; theirs: 200 for MNIST, 400 for ImageNet
    generations  most generations; theirs: 1000 for MNIST, 5000 for ImageNet
    minutes      most minutes; None: no limit
    stop         "first": an image is done once it is broken; "budget": when all steps are spent
    """

    needs: ClassVar[str] = "scores"
    norms: ClassVar[tuple[str, ...]] = ("none",)
    needs_data: ClassVar[bool] = False
    shared: ClassVar[bool] = True
    threat: ClassVar[Threat] = Unbounded()

    population: Annotated[int, at_least(1)] = 200
    generations: Annotated[int, at_least(1)] = 1000
    minutes: Annotated[float | None, above(0)] = None
    stop: Literal["first", "budget"] = "first"

    @property
    def steps(self) -> int:
        return self.generations

    def init(self, problem: Problem) -> Evolution:
        return start(self, problem)

    def step(self, problem: Problem, state: Evolution) -> Evolution:
        return advance(self, problem, state)

    def metrics(self, step: int, state: Evolution) -> dict[str, Any]:
        """What is known of all classes of the network after a generation."""
        fitness = state.archive.fitness.clamp_min(0)
        return {
            "generation": step,
            "classes": len(fitness),
            **{f"classes_at_{level:g}": int((fitness >= level).sum()) for level in LEVELS},
            "median": fitness.median().item(),
            "mean": fitness.mean().item(),
            "forwards": step * self.population,
            "seconds": state.seconds,
        }

    def random(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Any:
        """`count` genomes of the first generation, drawn by `generator`, for images of `shape` (C, H, W)."""
        raise NotImplementedError

    def children(self, elites: Any, count: int, generation: int, generator: torch.Generator) -> Any:
        """`count` genomes, varied as in that `generation`; `generator` draws parents evenly from `elites`."""
        raise NotImplementedError

    def drawn(self, genomes: Any, shape: tuple[int, ...]) -> Tensor:
        """The images (p, C, H, W) in [0, 1] of p `genomes`, at `shape` (C, H, W)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Archive:
    """The best of each of K classes."""

    genomes: Any  # K of them; where the fitness is -inf, none has been found
    fitness: Tensor  # (K,) float64, the probability of the class

    def after(self, children: Any, probability: Tensor) -> tuple[Archive, Tensor, Tensor]:
        """With `children`, whose probabilities are (p, K); the best child of each class (K,), and whether
        it is better than what was there (K,).
        """
        best, winner = probability.nan_to_num(nan=-torch.inf).max(0)
        better = best > self.fitness
        genomes = self.genomes.put(better.nonzero()[:, 0].cpu(), children.take(winner[better].cpu()))
        return Archive(genomes, torch.where(better, best, self.fitness)), winner, better


@dataclass(frozen=True)
class Evolution(EndingState):
    """Where the evolution stands.

    `images` are the best of each image's class, before the first what was given; they are all `done` at
    once, when the time is over.
    """

    logits: Tensor  # (n, K), of the images
    archive: Archive
    generation: int = 0  # generations so far
    seconds: float = 0.0  # that they took


def start(method: EvolutionAttack, problem: Problem) -> Evolution:
    """An archive in which every class is still to be found."""
    if problem.goal.kind == "untargeted":
        raise InputError("A fooling image has a class to reach: its goal is Confident or Targeted.")
    classes = problem.clean.shape[1]
    unknown = method.random(classes, problem.originals.shape[1:], keyed(problem.seed, PURPOSE, 0))
    archive = Archive(unknown, problem.clean.new_full((classes,), -torch.inf, dtype=torch.float64))
    none = torch.zeros_like(problem.rows, dtype=torch.bool)
    return Evolution(problem.originals, none, problem.clean, archive)


def advance(method: EvolutionAttack, problem: Problem, state: Evolution) -> Evolution:
    """One generation: children, their probabilities, and who is better than the best of a class."""
    started = time.monotonic()
    shape, elites = problem.originals.shape[1:], state.archive
    generator = keyed(problem.seed, PURPOSE, state.generation + 1)
    found = (elites.fitness > -torch.inf).nonzero()[:, 0].cpu()
    if len(found):
        parents = elites.genomes if len(found) == len(elites.fitness) else elites.genomes.take(found)
        children = method.children(parents, method.population, state.generation, generator)
    else:
        children = method.random(method.population, shape, generator)
    images = rounded(method.drawn(children.to(problem.originals.device), shape).to(problem.originals))
    logits = problem.shared_logits(images)
    archive, winner, better = elites.after(children, logits.double().softmax(1))
    fresh, by = better[problem.goal.classes], winner[problem.goal.classes]
    state = replace(
        state,
        images=where(fresh, images[by], state.images),
        logits=torch.where(fresh[:, None], logits[by], state.logits),
        archive=archive,
        generation=state.generation + 1,
    )
    problem.propose(state.images, problem.goal.reached(state.logits))
    seconds = state.seconds + time.monotonic() - started
    over = method.minutes is not None and seconds >= 60 * method.minutes
    return replace(state, seconds=seconds, done=torch.full_like(state.done, over))
