"""L0: at most so many pixels may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attacks.threats.base import Draw, check_budget
from ostrich.errors import InputError
from ostrich.images import rounded


@dataclass(frozen=True)
class Pixels:
    """At most eps pixels may change, each to any colour (Su, Vargas, Sakurai 2019, section III.A).

    Raises InputError unless eps is a whole number from 0 up.
    """

    eps: float
    norm: ClassVar[str] = "l0"

    def __post_init__(self) -> None:
        check_budget(self.eps)
        if self.eps != int(self.eps):
            raise InputError(f"A number of pixels is whole; got {self.eps}.")

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The eps pixels with the largest change; ties go to the first."""
        change = (images - originals).flatten(2).square().sum(1)  # (n, H*W)
        order = change.argsort(dim=1, descending=True, stable=True)[:, : int(self.eps)]
        kept = torch.zeros_like(change, dtype=torch.bool).scatter(1, order, True)
        mask = kept.view(len(images), 1, *images.shape[2:])
        return torch.where(mask, images, originals).clamp(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        """Of uniformly random pixels, the eps that differ most."""
        return self.project(draw("uniform"), originals)

    def direction(self, gradient: Tensor) -> Tensor:
        """The pixel whose change helps most, its values by their sign."""
        flat = gradient.flatten(2)
        best = flat.abs().sum(1).argmax(1)[:, None, None].expand(-1, flat.shape[1], 1)
        return torch.zeros_like(flat).scatter(2, best, flat.gather(2, best).sign()).view_as(gradient)

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return (images != originals).any(1).flatten(1).sum(1).to(images.dtype)

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        return rounded(images)
