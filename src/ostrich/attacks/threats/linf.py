"""Linf: every value may change by at most eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attacks.threats.base import TOLERANCE, Draw, check_budget, flat, to_levels
from ostrich.images import LEVELS


@dataclass(frozen=True)
class Linf:
    """Every value may change by at most eps, for example 8/255."""

    eps: float
    norm: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        check_budget(self.eps)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        return torch.clamp(images, originals - self.eps, originals + self.eps).clamp_(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        return (originals + self.eps * (2 * draw("uniform") - 1)).clamp_(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return flat(images - originals).abs().amax(1)

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        origin, reach = to_levels(originals), self.eps * LEVELS * (1 + TOLERANCE)
        levels = images.double().mul(LEVELS).round().clamp((origin - reach).ceil(), (origin + reach).floor())
        return levels.clamp(0, LEVELS).div(LEVELS).to(images.dtype)
