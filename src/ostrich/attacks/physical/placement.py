"""Where a patch lies in an image: a random homography, and the patch drawn through it.

Coordinates are those of `warping.warp`: the centre is (0, 0), the shorter side reaches from -1 to 1.
The patch is the square from -1 to 1 in its own coordinates, of which a mask says what is patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.images import into_range
from ostrich.warping import warp

NUMBERS = 5  # uniform random numbers of one placement: angle, foreshortening (2), place (2)
CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


def drawn(generators: Sequence[torch.Generator]) -> Tensor:
    """The numbers (n, 5) of a placement in each of n images, float64 in [0, 1)."""
    return torch.stack([torch.rand(NUMBERS, generator=g, dtype=torch.float64) for g in generators])


def homographies(
    numbers: Tensor, size: tuple[int, int], area: float, rotation: float, perspective: float
) -> Tensor:
    """Matrices (n, 3, 3), float64, from places in an image of `size` (H, W) to places in the patch.

    The square takes the part `area` of the image's area; it is turned by up to `rotation` degrees and
    foreshortened by up to `perspective` (the part by which one side is nearer than the other), and
    lies anywhere inside.
    """
    height, width = size
    turned = _shapes(2 * numbers[:, :3] - 1, rotation, perspective)  # (n, 3, 3), patch to image, about 0
    corners = turned @ numbers.new_tensor([(x, y, 1.0) for x, y in CORNERS]).T  # (n, 3, 4)
    outline = corners[:, :2] / corners[:, 2:]
    x, y = outline.unbind(1)
    twice = (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(1).abs()  # shoelace: twice the area
    reach = numbers.new_tensor([width, height]) / min(size)  # half the image's sides
    scale = (area * 4 * reach.prod() / (twice / 2)).sqrt()
    low, high = outline.amin(2) * scale[:, None], outline.amax(2) * scale[:, None]
    room = (2 * reach - (high - low)).clamp_min(0)
    place = -reach - low + room * numbers[:, 3:5]
    scaled = turned.clone()
    scaled[:, :2] *= scale[:, None, None]
    moved = torch.eye(3, dtype=numbers.dtype).repeat(len(numbers), 1, 1)
    moved[:, :2, 2] = place
    back = torch.linalg.inv(moved @ scaled)
    middle = (back[:, 2, :2] * place).sum(1) + back[:, 2, 2]  # positive there, so in front of the viewer
    return back / middle[:, None, None]


def upright(place: tuple[float, float], size: tuple[int, int], area: float) -> Tensor:
    """The matrix (1, 3, 3), as `homographies` gives it, of a square that lies there and is not turned.

    `place` is its middle: the share of the image's height from the top, and of its width from the left. Where
    it would reach beyond the image it is moved inside.
    """
    height, width = size
    reach_y, reach_x = height / min(size), width / min(size)  # half the image's sides
    half = math.sqrt(area * reach_y * reach_x)  # of the square: (2 half)^2 = area (2 reach_y) (2 reach_x)
    y, x = (
        max(half - reach, min(reach - half, (2 * share - 1) * reach))
        for share, reach in zip(place, (reach_y, reach_x), strict=True)
    )
    return torch.tensor(
        [[[1 / half, 0, -x / half], [0, 1 / half, -y / half], [0, 0, 1]]], dtype=torch.float64
    )


def read_place(text: str) -> tuple[float, float]:
    """0.5,0.25 as shares of the height and of the width. Raises InputError."""
    try:
        down, right = (float(share) for share in text.split(","))
    except ValueError:
        down = right = -1.0
    if not (0 <= down <= 1 and 0 <= right <= 1):
        raise InputError(
            f"place={text}: the patch's middle is expected, as shares of the height and of the width: "
            "0.5,0.25."
        )
    return down, right


def widest(area: float, size: tuple[int, int], rotation: float, perspective: float) -> float:
    """How much of the image's shorter side a square of that `area` may take up, turned as far as it is."""
    angle = math.radians(min(rotation, 45.0))
    side = math.sqrt(area * size[0] * size[1])
    return side * (math.cos(angle) + math.sin(angle)) * (1 + perspective) / min(size)


def placed(patches: Tensor, mask: Tensor, images: Tensor, matrices: Tensor, most: int) -> Tensor:
    """Images (n, C, H, W) with patches (n or 1, C, s, s) laid on them; `mask` (1, s, s) in [0, 1].

    One resampling for all. A pixel is the patch's or the image's: the patch's where it is covered at
    least by half, and `most` pixels at most.
    """
    count, channels = len(images), images.shape[1]
    covered = patches.expand(count, -1, -1, -1) * mask
    both = torch.cat([covered, mask.expand(count, 1, -1, -1)], 1)  # (n, C+1, s, s)
    seen = warp(both, matrices.to(images), "zeros", (images.shape[2], images.shape[3]))
    cover = seen[:, channels:].detach()
    colours = seen[:, :channels] / cover.clamp_min(1e-6)  # the mask's edge darkens no colour
    flat = cover.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)[:, :most]
    first = torch.zeros_like(flat, dtype=torch.bool).scatter(1, order, True).view_as(cover)
    return torch.where(first & (cover >= 0.5), into_range(colours), images)


def _shapes(numbers: Tensor, rotation: float, perspective: float) -> Tensor:
    """Foreshortened, then turned: matrices (n, 3, 3) of numbers (n, 3) in [-1, 1]."""
    angle = math.radians(rotation) * numbers[:, 0]
    turn = torch.zeros(len(numbers), 3, 3, dtype=numbers.dtype)
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos(), -angle.sin()
    turn[:, 1, 0], turn[:, 1, 1] = angle.sin(), angle.cos()
    turn[:, 2, 2] = 1
    tilt = torch.eye(3, dtype=numbers.dtype).repeat(len(numbers), 1, 1)
    tilt[:, 2, :2] = perspective / 2 * numbers[:, 1:3]
    return turn @ tilt
