"""Clips: float tensors (N, C, T, H, W) in [0, 1], T frames in the order of time, and how they are shown.

A frame is an image. What takes images or clips alike calls here and gets of an image the image itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.images import grid

STRIP = 8  # frames of a clip on a sheet


def is_clip(shape: tuple[int, ...]) -> bool:
    """Is (C, T, H, W) meant, and not (C, H, W)?"""
    return len(shape) == 4


def frames(clips: Tensor) -> Tensor:
    """The frames (N T, C, H, W) of clips (N, C, T, H, W), clip by clip; of images themselves."""
    return clips.transpose(1, 2).flatten(0, 1) if clips.ndim == 5 else clips


def stills(clips: Tensor) -> Tensor:
    """The middle frame (N, C, H, W) of each clip; of images themselves."""
    return clips[:, :, clips.shape[2] // 2] if clips.ndim == 5 else clips


def sheet(samples: Tensor, rows: int) -> Tensor:
    """One image of samples: images in a grid; of clips the first `rows`, in each row frames of one clip."""
    if samples.ndim == 4:
        return grid(samples)
    count = min(STRIP, samples.shape[2])
    times = torch.linspace(0, samples.shape[2] - 1, count).round().long()
    return grid(frames(samples[:rows, :, times]), count)


def film(clips: Tensor, columns: int | None = None) -> Tensor:
    """Clips (N, C, T, H, W) side by side as one clip (C, T, H', W'), laid out as `images.grid`."""
    return torch.stack([grid(now, columns) for now in clips.unbind(2)], 1)
