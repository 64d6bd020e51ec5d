"""Rounding to 8 bits under a budget that is a sum over all values: L1 and L2."""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks.threats.base import TOLERANCE, flat, to_levels
from ostrich.images import LEVELS


def quantize_sum(images: Tensor, originals: Tensor, eps: float, power: int) -> Tensor:
    """Round to 8 bits; where the summed change is then too large, round the cheapest values back.

    A value between two levels has a nearer one and another. Where the nearer one is also the one
    farther from the original, taking the other lowers the sum; the values whose rounding was
    closest to a tie go first, as many as are needed.
    """
    target = flat(images.double().clamp(0, 1)) * LEVELS
    origin = flat(to_levels(originals))
    near = target.round()
    other = torch.where(target > near, near + 1, near - 1).clamp(0, LEVELS)
    size, size_other = (near - origin).abs() ** power, (other - origin).abs() ** power
    saved = torch.where((target - origin) * (near - other) > 0, size - size_other, 0).clamp_min(0)
    excess = size.sum(1, keepdim=True) - (eps * LEVELS * (1 + TOLERANCE / 2)) ** power
    cost = torch.where(saved > 0, (target - other).abs() - (target - near).abs(), torch.inf)
    order = cost.argsort(dim=1, stable=True)
    gained = saved.gather(1, order).cumsum(1)
    back = (gained - saved.gather(1, order) < excess) & (saved.gather(1, order) > 0)
    chosen = torch.zeros_like(back).scatter(1, order, back)
    levels = torch.where(chosen, other, near)
    return levels.div(LEVELS).view_as(images).to(images.dtype)
