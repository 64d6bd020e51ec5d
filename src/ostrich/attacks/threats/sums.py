"""Rounding to 8 bits under a budget that is a sum over all values: L1 and L2."""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks.threats.base import TOLERANCE, flat, to_levels
from ostrich.images import LEVELS, SNAP


def quantize_sum(images: Tensor, originals: Tensor, eps: float, power: int) -> Tensor:
    """Round to 8 bits, leaving neither the budget nor the change.

    A value between two levels has a nearer one and another. Where the summed change is too large, values
    take the other one if that is nearer to the original. Where rounding has shortened the change along its
    own direction, as it does where all values change by less than half a level, they take the other one if
    that is farther away, while the budget allows it. Those whose rounding was closest to a tie go first.
    """
    target = flat(images.double().clamp(0, 1)) * LEVELS
    origin = flat(to_levels(originals))
    near = target.round()
    other = torch.where(target > near, near + 1, near - 1).clamp(0, LEVELS)
    change, step = target - origin, other - near
    cost = (target - other).abs() - (target - near).abs()
    larger = (other - origin).abs() ** power - (near - origin).abs() ** power
    excess = ((near - origin).abs() ** power).sum(1, keepdim=True)
    excess = excess - (eps * LEVELS * (1 + TOLERANCE / 2)) ** power
    order, saved = _cheapest(cost, torch.where(change * step < 0, -larger, 0))
    chosen = torch.zeros_like(near, dtype=torch.bool)
    chosen = chosen.scatter(1, order, (saved.cumsum(1) - saved < excess) & (saved > 0))
    lost = (change * (target - near)).sum(1, keepdim=True)  # times the change's length
    rounded_down = (change * step > 0) & ((target - near).abs() > SNAP)
    order, spent = _cheapest(cost, torch.where(rounded_down, larger, 0))
    gained = torch.where(spent > 0, (change * step).gather(1, order), 0)
    affordable = (spent > 0) & (spent.cumsum(1) <= -excess)
    chosen = chosen | chosen.scatter(1, order, affordable & (gained.cumsum(1) - gained < lost))
    return torch.where(chosen, other, near).div(LEVELS).view_as(images).to(images.dtype)


def _cheapest(cost: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The order (n, D) of values by their costs, those above zero first; and in it the values, from 0 up."""
    values = values.clamp_min(0)
    order = cost.where(values > 0, torch.inf).argsort(dim=1, stable=True)
    return order, values.gather(1, order)
