"""What keeps an image from becoming noise: Yosinski's four, and total variation.

Yosinski, Clune, Nguyen, Fuchs, Lipson 2015, "Understanding neural networks through deep
visualization", section 3. With d = x - m the distance from the mean colour m and g the gradient of
the step before it, in this order after each step up (their code, which the paper's figure follows):

    d <- (1 - decay) d                                    L2 decay
    d <- gaussian(d, blur_sigma)                          blur, every blur_every-th step from the first
    d <- 0 where |d| of a pixel is under its percentile   small_norm, over colours
    d <- 0 where |g . d| is under its percentile          small_contribution: what zeroing would cost

All but the decay change pixels, so they belong to the pixel parametrisation; decay pulls any parameters
towards what counts as nothing there. Total variation, the mean absolute difference of neighbours, is
taken from the objective instead and serves every parametrisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError

TRUNCATE = 4.0  # where the blur's kernel ends, in standard deviations: scipy's gaussian_filter


@dataclass(frozen=True, kw_only=True)
class Regularisers:
    """How strong each is; 0: not at all. Yosinski 2015, section 3, and total variation.

    decay               part of the distance to nothing, the mean colour, that a step takes back, in [0, 1)
    blur_sigma          standard deviation of the blur, pixels
    blur_every          steps from one blur to the next
    small_norm          percent of the pixels that are reset, those of least norm
    small_contribution  percent of the pixels that are reset, those that do least for the unit
    tv                  weight of the total variation in the objective

    Raises InputError for a value out of its range.
    """

    decay: float = 0.0
    blur_sigma: float = 0.0
    blur_every: int = 4
    small_norm: float = 0.0
    small_contribution: float = 0.0
    tv: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise InputError(f"decay is a part of 1, from 0 up to below 1; got {self.decay}.")
        if self.blur_every < 1:
            raise InputError(f"blur_every is at least 1; got {self.blur_every}.")
        for name in ("blur_sigma", "tv"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} is a number from 0 up; got {getattr(self, name)}.")
        for name in ("small_norm", "small_contribution"):
            if not 0 <= getattr(self, name) < 100:
                raise InputError(
                    f"{name} is a percentage, from 0 up to below 100; got {getattr(self, name)}."
                )

    @property
    def of_pixels(self) -> list[str]:
        """The names of those in use that change pixels."""
        return [n for n in ("blur_sigma", "small_norm", "small_contribution") if getattr(self, n)]

    def apply(self, parameters: Tensor, slope: Tensor, nothing: Tensor, step: int) -> Tensor:
        """`parameters`, pixels (R, C, H, W) mostly, after Yosinski's four.

        `slope`, of their shape, led to them; `nothing` are those that count as nothing, and `step` counts
        from 0.
        """
        if not self.of_pixels and not self.decay:
            return parameters
        d = (1 - self.decay) * (parameters - nothing)
        if self.blur_sigma > 0 and step % self.blur_every == 0:
            d = gaussian(d, self.blur_sigma)
        if self.small_norm > 0:
            d = _without_the_least(d, d.norm(dim=1), self.small_norm)
        if self.small_contribution > 0:
            d = _without_the_least(d, (slope * d).sum(1).abs(), self.small_contribution)
        return nothing + d


def _without_the_least(d: Tensor, size: Tensor, percent: float) -> Tensor:
    """d (R, C, H, W), zero at the pixels of each image whose `size` (R, H, W) is under the percentile."""
    limit = torch.quantile(size.flatten(1), percent / 100, dim=1)
    return torch.where((size < limit.view(-1, 1, 1))[:, None], 0, d)


def total_variation(images: Tensor) -> Tensor:
    """The mean absolute difference (R,) of neighbouring values of images (R, C, H, W)."""
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().sum((1, 2, 3))
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().sum((1, 2, 3))
    return (down + across) / images[0].numel()


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Images (N, C, H, W) blurred; sigma in pixels. At the edge they are mirrored, edge pixel included."""
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images)
    count, channels, height, width = images.shape
    flat = images.reshape(count * channels, 1, height, width)
    flat = F.conv2d(flat[:, :, _mirrored(height, radius)], kernel.view(1, 1, -1, 1))
    flat = F.conv2d(flat[:, :, :, _mirrored(width, radius)], kernel.view(1, 1, 1, -1))
    return flat.view_as(images)


def _mirrored(length: int, radius: int) -> Tensor:
    """Places -radius ... length + radius - 1 of a line that is mirrored at its ends: b a | a b c | c b."""
    places = torch.arange(-radius, length + radius) % (2 * length)
    return torch.minimum(places, 2 * length - 1 - places)
