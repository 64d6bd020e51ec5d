"""Variation of real numbers in a range: simulated binary crossover and polynomial mutation.

Deb and Agrawal 1995, "Simulated binary crossover for continuous search space", and Deb and Goyal 1996,
"A combined genetic adaptive search (GeneAS)"; both in the bounded form, whose spread is cut so that no
child leaves the range. A large `eta` keeps children near their parents.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_GAP = 1e-10  # parents nearer than this have themselves for children


def polynomial(
    genes: Tensor, rate: float, eta: float, low: float, high: float, generator: torch.Generator
) -> Tensor:
    """Each gene changed with probability `rate`, by a polynomially distributed part of the range."""
    chosen, u = _uniform(genes, generator) < rate, _uniform(genes, generator)
    below, above = (genes - low) / (high - low), (high - genes) / (high - low)
    down = u < 0.5
    room = (1 - torch.where(down, below, above)).clamp(0, 1)
    tail = torch.where(down, 2 * u, 2 - 2 * u)
    size = 1 - (tail + (1 - tail) * room ** (eta + 1)) ** (1 / (eta + 1))
    moved = genes + torch.where(down, -size, size) * (high - low)
    return torch.where(chosen, moved, genes).clamp(low, high)


def crossed(
    mothers: Tensor, fathers: Tensor, eta: float, low: float, high: float, generator: torch.Generator
) -> Tensor:
    """One child (n, ...) of each pair: every gene near the one parent's or, as often, the other's."""
    u, side = _uniform(mothers, generator), _uniform(mothers, generator) < 0.5
    less, more = torch.minimum(mothers, fathers), torch.maximum(mothers, fathers)
    gap = (more - less).clamp_min(LEAST_GAP)
    beta = 1 + 2 * torch.where(side, less - low, high - more) / gap
    alpha = 2 - beta ** -(eta + 1)
    inner = u * alpha <= 1
    spread = torch.where(inner, u * alpha, 1 / (2 - u * alpha)) ** (1 / (eta + 1))
    child = 0.5 * (less + more + torch.where(side, -spread, spread) * gap)
    return torch.where(more - less < LEAST_GAP, mothers, child).clamp(low, high)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=like.dtype)
