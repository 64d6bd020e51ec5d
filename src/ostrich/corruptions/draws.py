"""Random numbers for several images at once, each image's from its own key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from ostrich.runtime.randomness import keyed

PURPOSE = 47  # of random numbers


class Draws:
    """Numbers (N, ...) for N images: those of an image depend on its key, never on its place or neighbours.

    They are drawn on the CPU, so every device gets the same ones.
    """

    def __init__(self, seed: int, corruption: int, keys: Sequence[int], like: Tensor) -> None:
        self._generators = [keyed(seed, PURPOSE, corruption, key) for key in keys]
        self._like = like

    def zeros(self, *shape: int) -> Tensor:
        """Where random numbers are added to."""
        return self._each(lambda generator, _: torch.zeros(shape))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return self._each(lambda generator, _: torch.randn(shape, generator=generator))

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Between `low` and `high`."""
        return low + (high - low) * self._each(lambda g, _: torch.rand(shape, generator=g))

    def integers(self, *shape: int, low: int, high: int) -> Tensor:
        """Of `low`, ..., `high` - 1, int64 on the CPU."""
        return torch.stack([torch.randint(low, high, shape, generator=g) for g in self._generators])

    def poisson(self, rates: Tensor) -> Tensor:
        """Poisson counts of the rates (N, ...)."""
        rates = rates.cpu()
        return self._each(lambda generator, i: torch.poisson(rates[i], generator=generator))

    def _each(self, draw: Callable[[Generator, int], Tensor]) -> Tensor:
        numbers = [draw(generator, i) for i, generator in enumerate(self._generators)]
        return torch.stack(numbers).to(self._like)
