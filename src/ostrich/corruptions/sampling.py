"""What several corruptions do to pixels: convolutions, smoothing, motion and zoom.

What sums over pixels goes image by image, so that no image's result depends on its neighbours.
"""

from __future__ import annotations

from functools import cache
from math import ceil, cos, exp, radians, sin

import torch
import torch.nn.functional as F
from torch import Tensor


def convolved(images: Tensor, kernel: Tensor) -> Tensor:
    """Images (N, C, H, W), each channel by itself, under a kernel (k, k), k odd; mirrored at the edge."""
    margin, channels = len(kernel) // 2, images.shape[1]
    rows, columns = (_mirrored(size, margin).to(images.device) for size in images.shape[2:])
    weight = kernel.to(images).expand(channels, 1, -1, -1)
    wide = images[:, :, rows][:, :, :, columns]
    return torch.cat([F.conv2d(one[None], weight, groups=channels) for one in wide])


def _mirrored(size: int, margin: int) -> Tensor:
    """The places -margin, ..., size + margin - 1 of a line, those outside mirrored at its end pixels."""
    period = max(1, 2 * (size - 1))
    places = torch.arange(-margin, size + margin).remainder(period)
    return torch.minimum(places, period - places) if size > 1 else torch.zeros_like(places)


def smoothed(images: Tensor, sigma: float, *, truncate: float = 4.0, edge: str = "nearest") -> Tensor:
    """Images (..., H, W) under a Gaussian of `sigma` pixels, cut off after `truncate` of them.

    Beyond the edge its pixels are repeated ("nearest"), or the image is mirrored ("reflect").
    """
    if round(truncate * sigma) == 0:
        return images
    height, width = images.shape[-2:]
    down = _gaussian(height, sigma, truncate, edge).to(images)
    across = _gaussian(width, sigma, truncate, edge).to(images)
    flat = images.reshape(-1, height, width)
    return torch.stack([down @ one @ across.T for one in flat]).view_as(images)


@cache
def _gaussian(size: int, sigma: float, truncate: float, edge: str) -> Tensor:
    """The matrix (size, size), float64, that smooths a line."""
    radius = int(truncate * sigma + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    places = torch.arange(size)[:, None] + torch.arange(-radius, radius + 1)
    if edge == "nearest":
        places = places.clamp(0, size - 1)
    else:
        places = places.remainder(2 * size)
        places = torch.minimum(places, 2 * size - 1 - places)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(size, -1).contiguous())


def moved(images: Tensor, angles: Tensor, radius: float, sigma: float) -> Tensor:
    """Images (N, C, H, W) in motion, each at its angle (N,) in degrees.

    A pixel is the mean of those behind it, weighted by half a Gaussian of `sigma` pixels over 2 `radius` + 1
    places, edge pixels repeated: the motion blur of ImageMagick, which ImageNet-C is made with.
    """
    length = 2 * max(1, round(radius)) + 1
    weights = [exp(-0.5 * (i / sigma) ** 2) for i in range(length)]
    return torch.stack(
        [_moved(one, radians(angle), weights) for one, angle in zip(images, angles.tolist(), strict=True)]
    )


def _moved(image: Tensor, angle: float, weights: list[float]) -> Tensor:
    height, width = image.shape[1:]
    margin = len(weights)
    wide = F.pad(image[None], (margin,) * 4, mode="replicate")[0]
    total = torch.zeros_like(image)
    for i, weight in enumerate(weights):
        top, left = (margin + ceil(i * part(angle) - 0.5) for part in (sin, cos))
        total.add_(wide[:, top : top + height, left : left + width], alpha=weight / sum(weights))
    return total


def zoomed(images: Tensor, factor: float) -> Tensor:
    """The middle of images (N, C, H, W), enlarged `factor` times, at least 1, to their size; bilinear."""
    height, width = images.shape[2:]
    high, wide = ceil(height / factor), ceil(width / factor)
    top, left = (height - high) // 2, (width - wide) // 2
    size = (round(high * factor), round(wide * factor))
    middle = images[:, :, top : top + high, left : left + wide]
    large = F.interpolate(middle, size=size, mode="bilinear", align_corners=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return large[:, :, top : top + height, left : left + width]
