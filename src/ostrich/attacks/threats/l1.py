"""L1: the sum of all changes is at most eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attacks.per_image import lift
from ostrich.attacks.threats.base import Draw, check_budget, flat
from ostrich.attacks.threats.sums import quantize_sum

BISECTIONS = 30  # of the threshold of a projection


@dataclass(frozen=True)
class L1:
    """The sum of all changes is at most eps."""

    eps: float
    norm: ClassVar[str] = "l1"

    def __post_init__(self) -> None:
        check_budget(self.eps)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The nearest point of the ball and the box at once (Croce and Hein 2021, proposition 2.1).

        A change v becomes sign(v) min(max(|v| - t, 0), room), room being the way to 0 or 1; the
        smallest t >= 0 that keeps the budget is bisected.
        """
        change = flat(images - originals)
        size, origin = change.abs(), flat(originals)
        room = torch.where(change > 0, 1 - origin, origin)
        low = torch.zeros_like(size[:, :1])
        high = size.amax(1, keepdim=True)
        high = torch.where(torch.minimum(size, room).sum(1, keepdim=True) <= self.eps, low, high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            inside = torch.minimum((size - middle).clamp_min(0), room).sum(1, keepdim=True) <= self.eps
            low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
        shrunk = change.sign() * torch.minimum((size - high).clamp_min(0), room)
        return (originals + shrunk.view_as(originals)).clamp_(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        weights = -draw("uniform").clamp_min(1e-12).log()  # exponential: uniform on the simplex
        signs = draw("normal").sign()
        total = lift(flat(weights).sum(1), weights)
        return (originals + self.eps * signs * weights / total).clamp_(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        values = flat(gradient)
        largest = values.abs().argmax(1, keepdim=True)
        one = torch.zeros_like(values).scatter(1, largest, values.gather(1, largest).sign())
        return one.view_as(gradient)

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return flat(images - originals).abs().sum(1)

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        return quantize_sum(images, originals, self.eps, power=1)
