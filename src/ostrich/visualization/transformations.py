"""How an image is shown to the network while it climbs: moved, turned, scaled, with a border.

What must survive a random view cannot rest on single pixels (Mordvintsev 2015, jitter; Olah 2017,
"Transformation robustness"). All parts make one affine map, so an image is resampled once a step;
lucid resamples for each. What lies outside has the mean colour. Lengths are parts of the shorter
side, so that one setting serves 64 and 224 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.runtime.randomness import keyed
from ostrich.visualization.parametrisations import Canvas
from ostrich.warping import warp

VIEW = 1  # the purpose of random numbers, in their key


@dataclass(frozen=True, kw_only=True)
class Transformations:
    """How far the views reach. Each step and seed has its own, drawn uniformly.

    jitter  shift in both directions, either way, by whole pixels; part of the side, up to 1
    rotate  degrees, either way, up to 180
    scale   part of the size, either way, up to 0.9
    pad     border of mean colour, seen on every side; part of the side, up to 1

    Raises InputError for a value out of its range.
    """

    jitter: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    pad: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("jitter", 1), ("rotate", 180), ("scale", 0.9), ("pad", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} lies between 0 and {most}; got {getattr(self, name)}.")

    @property
    def are_none(self) -> bool:
        """Whether the network sees the image as it is."""
        return not (self.jitter or self.rotate or self.scale or self.pad)

    def view(self, canvas: Canvas, images: Tensor, seeds: Sequence[int], step: int) -> Tensor:
        """The images (R, C, H, W) on a `canvas` as they are shown at that step.

        A view depends on its seed, of `seeds`.
        """
        if self.are_none:
            return images
        drawn = {
            seed: torch.rand(4, generator=keyed(seed, VIEW, step), dtype=torch.float64) for seed in seeds
        }
        numbers = 2 * torch.stack([drawn[seed] for seed in seeds]) - 1  # (R, 4) in [-1, 1]
        side = min(images.shape[-2:])
        shift = (self.jitter * side * numbers[:, :2]).round() / side  # whole pixels
        angle = math.radians(self.rotate) * numbers[:, 2]
        size = (1 + 2 * self.pad) / (1 + self.scale * numbers[:, 3])
        matrix = torch.zeros(len(numbers), 3, 3, dtype=torch.float64)  # from the view to the image
        matrix[:, 0, 0] = matrix[:, 1, 1] = size * angle.cos()
        matrix[:, 0, 1], matrix[:, 1, 0] = -size * angle.sin(), size * angle.sin()
        matrix[:, :2, 2] = 2 * shift  # a side is 2 long
        matrix[:, 2, 2] = 1
        return canvas.mean + warp(images - canvas.mean, matrix.to(images), outside="zeros")
