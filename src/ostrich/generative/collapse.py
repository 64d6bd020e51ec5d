"""Has the GAN collapsed? Two signs, said in words.

Saturation: the discriminator orders nearly every pair of a real and a generated image right, and has
little left to teach. Diversity: samples differ from one another less than real images do. The
thresholds were set before any generator was trained with them.
"""

from __future__ import annotations

import torch
from torch import Tensor

SATURATED = 0.99  # share of pairs told apart, mean over the steps between two sheets
UNIFORM = 0.5  # mean distance between samples, of that between real images


def spread(images: Tensor) -> float:
    """The mean distance between two images of (N, C, H, W), root mean square over their pixels."""
    flat = images.flatten(1).double()
    return (torch.pdist(flat) / flat.shape[1] ** 0.5).mean().item()


def diversity(samples: Tensor, real: Tensor) -> float | None:
    """Spread of samples over spread of as many real images, both (N, C, H, W) in one range.

    None where it is not known: of fewer than two images, and where the real ones are all alike.
    """
    if min(len(samples), len(real)) < 2:
        return None
    of_real = spread(real)
    return spread(samples) / of_real if of_real else None


def collapse(told_apart: float, variety: float | None, objective: str) -> list[str]:
    """What is to be said, nothing where all is well or, as a `variety` of None, not known.

    A critic of the Wasserstein distance is meant to tell apart: there saturation is no sign.
    """
    remarks = []
    if told_apart >= SATURATED and objective != "wgan-gp":
        remarks.append(
            f"The discriminator is saturated: it tells {told_apart:.1%} of pairs apart, so the generator "
            "learns little from it. A lower discriminator_rate, more data or another objective may help."
        )
    if variety is not None and not variety >= UNIFORM:
        remarks.append(
            f"The samples have collapsed: they differ {variety:.2f} times as much as real images do."
        )
    return remarks
