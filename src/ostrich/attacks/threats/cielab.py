"""Colour as a budget: no texel's colour may move further than eps in CIELAB.

Athalye, Engstrom, Ilyas, Kwok 2018, section 2.2, measure a change in CIELAB, where equal distances
look about equally large. sRGB to CIELAB by IEC 61966-2-1 and CIE 15, D65; the distance is that of 1976.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.images import LEVELS, rounded

BISECTIONS = 10  # of the part of a change that the budget leaves, to a thousandth of it
TO_XYZ = (  # rows X, Y, Z of linear sRGB, divided by the white of D65
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
KNEE = 6 / 29  # below its cube the root is a straight line


def lab(images: Tensor) -> Tensor:
    """sRGB images (N, 3, H, W) in [0, 1] as CIELAB: L from 0 to 100, a, b about -100 to 100."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,njhw->nihw", images.new_tensor(TO_XYZ), linear)
    f = torch.where(xyz > KNEE**3, xyz.clamp_min(1e-12) ** (1 / 3), xyz / (3 * KNEE**2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@dataclass(frozen=True)
class Lab:
    """The colour of every pixel may move by at most eps in CIELAB; images have three channels.

    Raises InputError for an eps that is no number from 0 up.
    """

    eps: float
    norm: ClassVar[str] = "lab"

    def __post_init__(self) -> None:
        if not 0 <= self.eps < float("inf"):
            raise InputError(
                f"A budget eps in Lab is a number from 0 up; black to white is 100. Got {self.eps}."
            )

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """Each pixel as far on its straight way, in sRGB, from the original as the budget lets it go."""
        change, start = images.clamp(0, 1) - originals, lab(originals)
        low = torch.zeros_like(change[:, :1])  # the part of the change that surely stays within
        high = torch.ones_like(low)
        low = torch.where(self._far(originals + change, start), low, high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            far = self._far(originals + middle * change, start)
            low, high = torch.where(far, low, middle), torch.where(far, middle, high)
        return originals + low * change

    def random_start(self, originals: Tensor, draw: Callable[[str], Tensor]) -> Tensor:
        return self.project(draw("uniform"), originals)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        """The largest move of a pixel, (N,)."""
        return (lab(images) - lab(originals)).norm(dim=1).flatten(1).amax(1)

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        """Rounded; where that is too far, rounded towards the original, level by level.

        Between two levels an original may have none within its budget; it ends at one of them.
        """
        found, start = rounded(images), lab(originals.double())
        for _ in range(LEVELS):
            far = self._far(found.double(), start)
            if not far.any():
                break
            nearer = found - (found - originals).sign() / LEVELS
            found = torch.where(far, rounded(nearer), found)
        return found

    def _far(self, images: Tensor, start: Tensor) -> Tensor:
        """Which pixels have moved too far from their colours `start` in Lab, (N, 1, H, W)."""
        return (lab(images) - start).norm(dim=1, keepdim=True) > self.eps
