"""Noise: Gaussian, of few photons, and of values lost. Channels are alike, however many there are."""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.corruptions.draws import Draws
from ostrich.corruptions.severity import Settings

GAUSSIAN = Settings(
    names=("deviation",),  # of a value
    photograph=((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    thumbnail=((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
)
SHOT = Settings(
    names=("photons",),  # of a white value
    photograph=((60,), (25,), (12,), (5,), (3,)),
    thumbnail=((500,), (250,), (100,), (75,), (50,)),
)
IMPULSE = Settings(
    names=("share",),  # of all values
    photograph=((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    thumbnail=((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
)


def gaussian_noise(images: Tensor, draws: Draws, *, deviation: float) -> Tensor:
    """As of a sensor in low light: each value by itself."""
    return images + deviation * draws.normal(*images.shape[1:])


def shot_noise(images: Tensor, draws: Draws, *, photons: float) -> Tensor:
    """Light is discrete: a value becomes the Poisson count of its photons."""
    return draws.poisson(images * photons) / photons


def impulse_noise(images: Tensor, draws: Draws, *, share: float) -> Tensor:
    """Salt and pepper: a share of the values becomes 0 or 1, each by itself."""
    chance = draws.uniform(*images.shape[1:])
    salt_or_pepper = (chance < share / 2).to(images)  # half of those below `share` are salt
    return torch.where(chance < share, salt_or_pepper, images)
