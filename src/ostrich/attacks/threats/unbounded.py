"""No budget: any image, at a distance that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attacks.threats.base import Draw, Threat
from ostrich.attacks.threats.l1 import L1
from ostrich.attacks.threats.l2 import L2
from ostrich.attacks.threats.linf import Linf
from ostrich.errors import UnknownName
from ostrich.images import rounded

MEASURES: dict[str, Threat] = {"linf": Linf(1.0), "l2": L2(1.0), "l1": L1(1.0)}


@dataclass(frozen=True)
class Unbounded:
    """Any image with values in [0, 1]; distances are measured in `norm`, linf, l2 or l1.

    Raises UnknownName for another norm.
    """

    norm: str = "l2"
    eps: ClassVar[float] = torch.inf

    def __post_init__(self) -> None:
        if self.norm not in MEASURES:
            raise UnknownName("norm", self.norm, MEASURES)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        return images.clamp(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        return draw("uniform")

    def direction(self, gradient: Tensor) -> Tensor:
        return MEASURES[self.norm].direction(gradient)

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return MEASURES[self.norm].distance(images, originals)

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        return rounded(images)
