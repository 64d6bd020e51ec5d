"""What happens to files: little contrast, elastic deformation, coarse pixels, and JPEG."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ostrich.corruptions.draws import Draws
from ostrich.corruptions.sampling import smoothed
from ostrich.corruptions.severity import Settings
from ostrich.images import from_bytes, to_bytes

CONTRAST = Settings(
    names=("share",),  # of the contrast that is left
    photograph=((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    thumbnail=((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
)
ELASTIC = Settings(
    names=(
        "alpha",
        "sigma",
        "affine",
    ),  # times the smoothed noise; of its smoothing; largest of a corner's move
    lengths=frozenset({"alpha", "sigma", "affine"}),
    # The original reckons with a side of 244 pixels: 2, 0.7 and 0.1 of it, and so on.
    photograph=(
        (488, 170.8, 24.4),
        (488, 19.52, 48.8),
        (12.2, 2.44, 4.88),
        (17.08, 2.44, 4.88),
        (29.28, 2.44, 4.88),
    ),
    thumbnail=((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
)
PIXELATE = Settings(
    names=("share",),  # of the pixels of a side that are left
    photograph=((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    thumbnail=((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
)
JPEG = Settings(
    names=("quality",),
    photograph=((25,), (18,), (15,), (10,), (7,)),
    thumbnail=((80,), (65,), (58,), (50,), (40,)),
)


def contrast(images: Tensor, draws: Draws, *, share: float) -> Tensor:
    """Each channel comes near to its mean."""
    means = torch.stack([one.mean((1, 2)) for one in images])[:, :, None, None]
    return means + share * (images - means)


def elastic_transform(images: Tensor, draws: Draws, *, alpha: float, sigma: float, affine: float) -> Tensor:
    """Three corners of the middle move, the rest with them; then each pixel, as smoothed noise says."""
    height, width = images.shape[2:]
    y, x = torch.meshgrid(torch.arange(height).to(images), torch.arange(width).to(images), indexing="ij")
    if affine:
        matrix = _back(draws.uniform(3, 2, low=-affine, high=affine), height, width).to(images)
        places = matrix @ torch.stack([x, y, torch.ones_like(x)]).flatten(1)  # (N, 2, H * W)
        to_x, to_y = places.view(-1, 2, height, width).unbind(1)
        images = _seen(images, to_x, to_y, mirror_edge_pixel=False)
    noise = draws.uniform(2, height, width, low=-1.0, high=1.0)
    shift = alpha * (smoothed(noise, sigma, truncate=3.0, edge="reflect") if sigma else noise)
    return _seen(images, x + shift[:, 0], y + shift[:, 1], mirror_edge_pixel=True)


def _back(moves: Tensor, height: int, width: int) -> Tensor:
    """The maps (N, 2, 3) from a place (x, y, 1) to where it was before the corners' moves (N, 3, 2)."""
    middle = torch.tensor([width // 2, height // 2], dtype=torch.float64)
    size = min(height, width) // 3
    corners = middle + size * torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
    after = torch.cat([corners + moves.cpu().double(), torch.ones(len(moves), 3, 1)], 2)  # (N, 3, 3)
    return (torch.linalg.pinv(after) @ corners).mT


def _seen(images: Tensor, x: Tensor, y: Tensor, *, mirror_edge_pixel: bool) -> Tensor:
    """Images (N, C, H, W) at places (N, H, W) in pixels, bilinear, mirrored beyond the edge.

    The mirror stands at the middle of the edge pixel, or where that pixel ends.
    """
    height, width = images.shape[2:]
    if mirror_edge_pixel:
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    else:
        grid = torch.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], -1)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=not mirror_edge_pixel)


def pixelate(images: Tensor, draws: Draws, *, share: float) -> Tensor:
    """Scaled down, a pixel the mean of its area, and up again."""

    def coarse(picture: Image.Image) -> Image.Image:
        small = (max(1, int(picture.width * share)), max(1, int(picture.height * share)))
        return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BOX)

    return _by_picture(images, coarse)


def jpeg_compression(images: Tensor, draws: Draws, *, quality: float) -> Tensor:
    """Saved as JPEG and read again; of other than 3 channels each is a grey picture of its own."""

    def saved(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=round(quality))
        return Image.open(file)

    return _by_picture(images, saved)


def _by_picture(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Images (N, C, H, W) changed as pictures of 8 bits: three channels in colour, others in grey."""
    changed = []
    for pixels in to_bytes(images):  # (H, W, C)
        parts = [pixels] if pixels.shape[-1] == 3 else list(np.moveaxis(pixels, -1, 0))
        pictures = [np.asarray(change(Image.fromarray(np.ascontiguousarray(part)))) for part in parts]
        changed.append(
            pictures[0] if len(pictures) == 1 and pictures[0].ndim == 3 else np.stack(pictures, -1)
        )
    return from_bytes(np.stack(changed), images.dtype).to(images.device)
