"""Expectation over transformation: random views of an image, differentiable, in one batch.

Athalye, Engstrom, Ilyas, Kwok 2018, "Synthesizing robust adversarial examples", section 2.1: an
attack follows the gradient of the mean of the loss over transformations, so that what it finds
survives them. Each image of a batch is shown `samples` times, all in one forward.

A view is one random homography (rotation, scale, translation, perspective), resampled bilinearly
with the border repeated, then blur, contrast, brightness, noise, and JPEG, which is passed straight
through backwards (Athalye, Carlini, Wagner 2018, section 4.1.1).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ostrich.errors import InputError
from ostrich.images import from_bytes, into_range, picture
from ostrich.warping import warp

NUMBERS = 9  # uniform random numbers of one view
BEST_JPEG = 95  # the highest quality drawn


@dataclass(frozen=True, kw_only=True)
class EOT:
    """How far the views of an image reach; every strength is drawn uniformly up to the one given.

    Athalye, Engstrom, Ilyas, Kwok 2018, "Synthesizing robust adversarial examples", section 2.1. Raises
    InputError for a strength outside of its range.

    samples      views of each image for one gradient, at least 1
    rotation     degrees, either way, up to 180
    scale        part of the size, either way, up to 0.9
    translation  part of the side, in both directions, up to 1
    perspective  foreshortening of one side against the other, part of the size, up to 0.9
    blur         standard deviation, pixels, up to 20
    noise        standard deviation, of values in [0, 1], up to 1
    brightness   added to all values, either way, up to 1
    contrast     part of the distance from middle grey, either way, up to 1
    jpeg         lowest quality, 1 to 95; 0: none
    """

    samples: int = 10
    rotation: float = 15.0
    scale: float = 0.1
    translation: float = 0.1
    perspective: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.0
    jpeg: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"EOT takes at least one sample; got {self.samples}.")
        for name, most in (("rotation", 180), ("scale", 0.9), ("translation", 1), ("perspective", 0.9)):
            if not 0 <= vars(self)[name] <= most:
                raise InputError(f"EOT's {name} lies between 0 and {most}; got {vars(self)[name]}.")
        mosts = {"blur": 20, "noise": 1, "brightness": 1, "contrast": 1, "jpeg": BEST_JPEG}
        for name, most in mosts.items():
            if not 0 <= vars(self)[name] <= most:
                raise InputError(f"EOT's {name} lies between 0 and {most}; got {vars(self)[name]}.")

    @classmethod
    def light(cls, *, brightness: float, blur: float, noise: float) -> EOT:
        """One view that does not move: what a camera does to a picture."""
        return cls(
            samples=1, rotation=0, scale=0, translation=0, brightness=brightness, blur=blur, noise=noise
        )

    def apply(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Views (n * samples, C, H, W) of images (n, C, H, W).

        Each image draws from its own of `generators`.
        """
        count = len(images) * self.samples
        drawn = [torch.rand(self.samples, NUMBERS, generator=g, dtype=torch.float64) for g in generators]
        numbers = torch.cat(drawn).to(images)  # (n * s, 9)
        views = images.repeat_interleave(self.samples, 0)
        if self.rotation or self.scale or self.translation or self.perspective:
            views = warp(views, self._homographies(2 * numbers - 1))
        if self.blur:
            views = blurred(views, self.blur * numbers[:, 6], self.blur)
        if self.contrast:
            apart = [torch.rand(self.samples, generator=g, dtype=torch.float64) for g in generators]
            factors = 1 + self.contrast * (2 * torch.cat(apart).to(images) - 1)
            views = 0.5 + factors.view(count, 1, 1, 1) * (views - 0.5)
        views = views + self.brightness * (2 * numbers[:, 7] - 1).view(count, 1, 1, 1)
        if self.noise:
            shape = (self.samples, *images.shape[1:])
            grain = [torch.randn(shape, generator=g, dtype=torch.float64) for g in generators]
            views = views + self.noise * torch.cat(grain).to(images)
        views = into_range(views)
        if self.jpeg:
            qualities = self.jpeg + (BEST_JPEG - self.jpeg) * numbers[:, 8]
            views = views + (jpeg(views.detach(), qualities.round().int().tolist()) - views).detach()
        return views

    def _homographies(self, numbers: Tensor) -> Tensor:
        """Matrices (m, 3, 3) from output to input coordinates, of numbers (m, 9) in [-1, 1]."""
        angle = math.radians(self.rotation) * numbers[:, 0]
        size = 1 / (1 + self.scale * numbers[:, 1])
        matrix = numbers.new_zeros(len(numbers), 3, 3)
        matrix[:, 0, 0] = matrix[:, 1, 1] = size * angle.cos()
        matrix[:, 0, 1], matrix[:, 1, 0] = -size * angle.sin(), size * angle.sin()
        matrix[:, :2, 2] = 2 * self.translation * numbers[:, 2:4]  # a side is 2 long
        matrix[:, 2, :2] = self.perspective / 2 * numbers[:, 4:6]
        matrix[:, 2, 2] = 1
        return matrix


def blurred(images: Tensor, sigmas: Tensor, widest: float) -> Tensor:
    """Images (m, C, H, W), each under a Gaussian of its own standard deviation (m,), in pixels.

    Each is cut off where one of deviation `widest` would be, so that neighbours change nothing.
    """
    count, channels, height, width = images.shape
    radius = max(1, math.ceil(3 * widest))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = (-0.5 * (offsets / sigmas.clamp_min(1e-3)[:, None]) ** 2).exp()  # (m, 2r+1)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    stacked = images.reshape(1, count * channels, height, width)
    across, down = kernel[:, None, None], kernel[:, None, :, None]  # (m * C, 1, 1, 2r+1) and its transpose
    for weights, padding in ((across, (radius, radius, 0, 0)), (down, (0, 0, radius, radius))):
        padded = F.pad(stacked, padding, mode="replicate")
        stacked = F.conv2d(padded, weights, groups=count * channels)
    return stacked.view_as(images)


def jpeg(images: Tensor, qualities: Sequence[int]) -> Tensor:
    """Images (m, C, H, W) after JPEG; unless C is 1 or 3, each channel by itself; no gradient."""
    together = images.shape[1] if images.shape[1] in (1, 3) else 1
    found = []
    for image, quality in zip(images, qualities, strict=True):
        parts = []
        for part in image.split(together):
            stream = io.BytesIO()
            picture(part).save(stream, format="JPEG", quality=quality)
            with Image.open(stream) as read:
                pixels = np.asarray(read)
            parts.append(from_bytes(pixels if pixels.ndim == 3 else pixels[..., None], images.dtype))
        found.append(torch.cat(parts))
    return torch.stack(found).to(images.device)
