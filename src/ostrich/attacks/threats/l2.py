"""L2: the root of the summed squares of all changes is at most eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attacks.per_image import lift, power_of_two
from ostrich.attacks.threats.base import Draw, check_budget, flat
from ostrich.attacks.threats.sums import quantize_sum


@dataclass(frozen=True)
class L2:
    """The root of the summed squares of all changes is at most eps."""

    eps: float
    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        check_budget(self.eps)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        change = images - originals
        size = lift(self.distance(images, originals), images)
        shrink = (self.eps / size.clamp_min(1e-30)).clamp_max(1)
        # The clamp to [0, 1] comes last: the originals lie inside, so it only brings images nearer.
        return (originals + change * shrink).clamp_(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        direction = self.direction(draw("normal"))
        dimensions = originals[0].numel() if len(originals) else 1
        # A radius u^(1/d) with uniform u makes the points uniform in the ball.
        radius = flat(draw("uniform"))[:, 0] ** (1 / dimensions)
        return (originals + self.eps * lift(radius, originals) * direction).clamp_(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        gradient = gradient / lift(power_of_two(gradient), gradient)
        size = lift(flat(gradient).norm(dim=1), gradient)
        return torch.where(size > 0, gradient / size, torch.zeros_like(gradient))

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return flat(images - originals).norm(dim=1)

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        return quantize_sum(images, originals, self.eps, power=2)
