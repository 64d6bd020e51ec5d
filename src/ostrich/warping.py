"""Images seen from elsewhere: rotated, scaled, shifted, in perspective, resampled once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(
    images: Tensor, matrices: Tensor, outside: str = "border", size: tuple[int, int] | None = None
) -> Tensor:
    """Images (m, C, H, W) seen through homographies (m, 3, 3), bilinear; (m, C, *size) or as they were.

    Outside of an image its border is repeated, or with `outside` "zeros" there is nothing.

    A matrix takes an output place to the input place that is shown there. The centre is (0, 0); the
    shorter side reaches from -1 to 1, so a rotation is one whatever the shape.
    """
    height, width = size or images.shape[-2:]
    short = min(height, width)
    y = (2 * torch.arange(height).to(images) + 1 - height) / short  # pixel centres
    x = (2 * torch.arange(width).to(images) + 1 - width) / short
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)], -1).view(1, -1, 3)  # (1, H*W, 3)
    mapped = places @ matrices.mT
    flat = mapped[..., :2] / mapped[..., 2:].clamp_min(1e-3)
    high, wide = images.shape[-2:]
    sides = images.new_tensor([min(high, wide) / wide, min(high, wide) / high])
    grid = flat.view(-1, height, width, 2) * sides
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)
