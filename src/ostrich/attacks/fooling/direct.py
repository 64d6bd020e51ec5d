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
from ostrich.runtime.ranges import above

ETA_MUTATION, ETA_CROSSOVER = 15.0, 10.0
CROSSOVER_RATE = 0.5
HALVED_EVERY = 1000  # generations


@dataclass(frozen=True)
class PixelGenomes:
    """p genomes."""

    genes: Tensor  # (p, C, H, W)

    def __len__(self) -> int:
        return len(self.genes)

    def take(self, rows: Tensor) -> PixelGenomes:
        return PixelGenomes(self.genes[rows])

    def put(self, rows: Tensor, others: PixelGenomes) -> PixelGenomes:
        return PixelGenomes(self.genes.index_copy(0, rows, others.genes))

    def to(self, device: torch.device) -> PixelGenomes:
        return PixelGenomes(self.genes.to(device))


@dataclass(frozen=True, kw_only=True)
class FoolingDirect(EvolutionAttack):
    """Images whose pixels evolve: `population` forwards a generation, together.

    Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", section 2.4, the direct encoding.

    mutation_rate  of each gene, in the first 1000 generations
    """

    name: ClassVar[str] = "fooling-direct"

    mutation_rate: Annotated[float, above(0, at_most=1)] = 0.1

    def random(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> PixelGenomes:
        return PixelGenomes(torch.rand(count, *shape, generator=generator))

    def children(
        self, elites: PixelGenomes, count: int, generation: int, generator: torch.Generator
    ) -> PixelGenomes:
        mothers, fathers = (
            elites.genes[torch.randint(len(elites), (count,), generator=generator)] for _ in range(2)
        )
        mixed = torch.rand(count, generator=generator) < CROSSOVER_RATE
        genes = mothers.clone()
        genes[mixed] = crossed(mothers[mixed], fathers[mixed], ETA_CROSSOVER, 0.0, 1.0, generator)
        rate = self.mutation_rate * 0.5 ** (generation // HALVED_EVERY)
        return PixelGenomes(polynomial(genes, rate, ETA_MUTATION, 0.0, 1.0, generator))

    def drawn(self, genomes: PixelGenomes, shape: tuple[int, ...]) -> Tensor:
        return genomes.genes
