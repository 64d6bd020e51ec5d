"""Fooling images by evolution of their pixels: the direct encoding.

Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", section 2.4: a genome is the
image, a gene in [0, 1] for each value. The first are uniform noise; then genes are mutated by polynomial
mutation of strength 15, each with a probability that starts at 0.1 and is halved every 1000 generations.
As in their program, half of the children are crossed before (simulated binary crossover, eta 10).

Run with the goal `Confident(classes, 0.99)` on any images; it does not look at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.fooling.map_elites import EvolutionAttack
from ostrich.attacks.fooling.operators import crossed, polynomial
from ostrich.ranges import above

ETA_MUTATION, ETA_CROSSOVER = 15.0, 10.0
CROSSOVER_RATE = 0.5
HALVED_EVERY = 1000  # generations


@dataclass(frozen=True)
class Pixels:
    """p genomes."""

    genes: Tensor  # (p, C, H, W)

    def __len__(self) -> int:
        return len(self.genes)

    def take(self, rows: Tensor) -> Pixels:
        return Pixels(self.genes[rows])

    def put(self, rows: Tensor, others: Pixels) -> Pixels:
        return Pixels(self.genes.index_copy(0, rows, others.genes))

    def to(self, device: torch.device) -> Pixels:
        return Pixels(self.genes.to(device))


@dataclass(frozen=True, kw_only=True)
class FoolingDirect(EvolutionAttack):
    """`population` forwards a generation, together, at most `generations`, at most `minutes`."""

    name: ClassVar[str] = "fooling-direct"

    mutation_rate: Annotated[float, above(0, at_most=1)] = 0.1  # of each gene, in the first 1000 generations

    def random(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Pixels:
        return Pixels(torch.rand(count, *shape, generator=generator))

    def children(self, elites: Pixels, count: int, generation: int, generator: torch.Generator) -> Pixels:
        mothers, fathers = (
            elites.genes[torch.randint(len(elites), (count,), generator=generator)] for _ in range(2)
        )
        mixed = torch.rand(count, generator=generator) < CROSSOVER_RATE
        genes = mothers.clone()
        genes[mixed] = crossed(mothers[mixed], fathers[mixed], ETA_CROSSOVER, 0.0, 1.0, generator)
        rate = self.mutation_rate * 0.5 ** (generation // HALVED_EVERY)
        return Pixels(polynomial(genes, rate, ETA_MUTATION, 0.0, 1.0, generator))

    def drawn(self, genomes: Pixels, shape: tuple[int, ...]) -> Tensor:
        return genomes.genes
