"""A patch: the pixels that it covers may take any colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ostrich.attacks.threats.base import TOLERANCE, Draw, is_number
from ostrich.attacks.threats.pixels import Pixels
from ostrich.errors import InputError
from ostrich.images import rounded


@dataclass(frozen=True)
class Patch:
    """The pixels that a patch covers may take any colour; eps is the largest part of all pixels.

    Raises InputError unless eps lies between 0 and 1.
    """

    eps: float
    norm: ClassVar[str] = "patch"

    def __post_init__(self) -> None:
        if not is_number(self.eps) or not 0 < self.eps < 1:
            raise InputError(
                f"A patch's eps is the part of the image it covers, above 0 and below 1; got {self.eps!r}."
            )

    def pixels(self, images: Tensor) -> int:
        """The largest number of pixels of images (N, C, H, W)."""
        return int(self.eps * images.shape[-2] * images.shape[-1] * (1 + TOLERANCE))

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The pixels with the largest change; ties go to the first."""
        return Pixels(self.pixels(originals)).project(images, originals)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        return Pixels(self.pixels(originals)).random_start(originals, draw)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        """The part of the pixels that changed."""
        return (images != originals).any(1).flatten(1).to(images.dtype).mean(1)

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        return rounded(images)
