"""The images within a budget of one image, and the least that an affine function takes on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Ball:
    """Images within `eps` of one image (C, H, W) in [0, 1], by "linf" or "l2".

    With `box` those outside of [0, 1] are none: bounds are closer, but no longer those of the whole ball.
    """

    image: Tensor
    eps: float
    norm: str
    box: bool = True

    def ends(self) -> tuple[Tensor, Tensor]:
        """The smallest and largest value of each pixel, (1, C, H, W)."""
        low, high = self.image[None] - self.eps, self.image[None] + self.eps
        return (low.clamp(0, 1), high.clamp(0, 1)) if self.box else (low, high)

    def least(self, rows: Tensor) -> Tensor:
        """The least of each row (k, C, H, W) times an image of the ball, (k,); a lower bound of it in L2."""
        low, high = self.ends()
        edges = (rows.clamp(min=0) * low + rows.clamp(max=0) * high).flatten(1).sum(1)
        if self.norm == "linf":
            return edges
        middle = (rows * self.image).flatten(1).sum(1)
        return torch.maximum(edges, middle - self.eps * rows.flatten(1).norm(dim=1))
