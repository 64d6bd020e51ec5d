"""Blur: out of focus, behind frosted glass, in motion, and zoomed while the shutter is open."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from ostrich.corruptions.draws import Draws
from ostrich.corruptions.sampling import convolved, moved, smoothed, zoomed
from ostrich.corruptions.severity import Settings

DEFOCUS = Settings(
    names=("radius", "edge"),  # of the disk; deviation of its soft edge
    lengths=frozenset({"radius"}),
    photograph=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    thumbnail=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
)
GLASS = Settings(
    names=("sigma", "reach", "times"),  # of the blur before and after; how near is nearby; rounds
    lengths=frozenset({"sigma", "reach"}),
    photograph=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    thumbnail=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
)
MOTION = Settings(
    names=("radius", "sigma"),
    lengths=frozenset({"radius", "sigma"}),
    photograph=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    thumbnail=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
)
ZOOM = Settings(
    names=("count", "step"),  # zooms by 1, 1 + step, 1 + 2 step, ...
    photograph=((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    thumbnail=((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
)
ANGLE = 45.0  # degrees, the largest of a motion


def defocus_blur(images: Tensor, draws: Draws, *, radius: float, edge: float) -> Tensor:
    """Each point becomes a disk of `radius` pixels; one of less than a pixel is a point with a soft edge."""
    return convolved(images, _disk(radius, edge))


@cache
def _disk(radius: float, edge: float) -> Tensor:
    """A disk (k, k) that sums to 1, its edge softened by a small Gaussian, of 3 pixels or 5.

    As in the original the array ends where a disk of 8 pixels or more does, and is mirrored there: a kernel
    that is softened then sums to a little more than 1, and the image becomes brighter by half a percent.
    """
    soft, reach = (1, min(8, int(radius) + 2)) if radius <= 8 else (2, int(radius))
    along = torch.arange(-reach, reach + 1, dtype=torch.float64)
    disk = (along**2 + along[:, None] ** 2 <= radius**2).double()
    gaussian = torch.exp(-0.5 * (torch.arange(-soft, soft + 1, dtype=torch.float64) / edge) ** 2)
    gaussian /= gaussian.sum()
    return convolved(disk[None, None], gaussian[:, None] * gaussian)[0, 0] / disk.sum()


def glass_blur(images: Tensor, draws: Draws, *, sigma: float, reach: float, times: float) -> Tensor:
    """Blurred; then, from the last pixel to the first, each takes the colour of one nearby; blurred again.

    The paper speaks of swaps. The authors' code, which ImageNet-C is made with, copies: of the two pixels
    of a swap only the first changes.
    """
    count, _, height, width = images.shape
    reach = min(max(1, round(reach)), max(0, (min(height, width) - 1) // 2))
    blurred = smoothed(images, sigma).mul(255).add(1e-3).floor().div(255)
    if reach:
        order, ends = _order(height, width, reach)
        source = np.tile(np.arange(height * width, dtype=np.int32)[:, None], count)  # (H * W, N)
        columns = np.arange(count)
        for _ in range(round(times)):
            steps = draws.integers(2, len(order), low=-reach, high=reach).numpy()  # (N, 2, pixels)
            other = order[:, None] + (steps[:, 0] * width + steps[:, 1]).T
            for start, end in zip([0, *ends], ends, strict=False):
                source[order[start:end]] = source[other[start:end], columns]
        places = torch.from_numpy(source.T.astype(np.int64)).to(images.device)[:, None]
        blurred = blurred.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).view_as(images)
    return smoothed(blurred, sigma)


@cache
def _order(height: int, width: int, reach: int) -> tuple[np.ndarray, list[int]]:
    """The pixels that change, as places in the flattened image, in groups, and where the groups end.

    What is nearby of pixels at least 2 `reach` apart does not meet. So those of one group, one in each row,
    2 `reach` columns further in the row above, change at once: the result is that of one after the other.
    """
    rows = np.arange(height - reach, reach, -1)
    columns = np.arange(width - reach, reach, -1)
    turn = 2 * reach * np.arange(len(rows))[:, None] + np.arange(len(columns))
    sequence = np.argsort(turn, axis=None, kind="stable")
    places = (rows[:, None] * width + columns).reshape(-1)[sequence]
    return places, np.cumsum(np.bincount(turn.reshape(-1))).tolist() if places.size else []


def motion_blur(images: Tensor, draws: Draws, *, radius: float, sigma: float) -> Tensor:
    """The camera moves, in a direction of its own for each image, at most 45 degrees from the horizontal."""
    return moved(images, draws.uniform(low=-ANGLE, high=ANGLE), radius, sigma)


def zoom_blur(images: Tensor, draws: Draws, *, count: float, step: float) -> Tensor:
    """The mean of the image, once more the image, and its enlargements."""
    total = images.clone()
    for i in range(round(count)):
        total += zoomed(images, 1 + i * step)
    return total / (round(count) + 1)
