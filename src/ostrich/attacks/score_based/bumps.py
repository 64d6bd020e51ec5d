"""What Square moves under L2: bumps, two opposite heaps in a square; with a grid of them it begins.

Andriushchenko, Croce, Flammarion, Hein 2020, section 3.3 and algorithm 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.per_image import where

TILES = 5  # bumps along a side of the first change


def bumps(problem: Problem) -> Tensor:
    """A grid of bumps (n, C, H, W), each with a random sign in each channel."""
    _, channels, height, width = problem.originals.shape
    side = max(1, min(height, width) // TILES)
    down, across = height // side, width // side
    drawn = problem.draw("uniform", 0, (channels, down, across))
    signs = torch.where(drawn < 0.5, -1.0, 1.0).repeat_interleave(side, 2).repeat_interleave(side, 3)
    change = torch.zeros_like(problem.originals)
    top, left = (height - down * side) // 2, (width - across * side) // 2
    pattern = bump(side).repeat(down, across).to(change)
    change[:, :, top : top + down * side, left : left + across * side] = signs.to(change) * pattern
    return change


@cache
def even_shifts(channels: int) -> Tensor:
    """Changes (m, C) of every pixel alike: one channel against another, one alone, and all together."""
    one = torch.eye(channels)
    pairs = [one[j] - one[i] for i in range(channels) for j in range(channels) if i != j]
    alone = [sign * row for row in one for sign in (1.0, -1.0)]
    whole = [torch.ones(channels), -torch.ones(channels)] if channels > 1 else []
    return torch.stack([*pairs, *alone, *whole])


def moved_bump(change: Tensor, eps: float, side: Tensor, signs: Tensor, drawn: Tensor) -> Tensor:
    """Algorithm 3: the second window's change is spent on a bump in the first, with what is left of eps."""
    height, width = change.shape[-2:]
    target = _Window.at(drawn[:, :2], side, height, width)
    source = _Window.at(drawn[:, 2:4], side, height, width).mask[:, None]
    mask = target.mask[:, None]
    spent = change.square().flatten(1).sum(1).view(-1, 1, 1, 1)
    freed = (change * (mask | source)).square().sum((2, 3), keepdim=True)  # (n, C, 1, 1)
    length = ((eps**2 - spent).clamp_min(0) / change.shape[1] + freed).sqrt()
    old = change * mask
    fresh = _placed(target, side, drawn[:, -2] < 0.5).to(change)[:, None] * signs + _unit(old)
    return torch.where(mask, length * _unit(fresh * mask), torch.where(source, 0, change))


def _placed(window: _Window, side: Tensor, lying: Tensor) -> Tensor:
    """The bump of each image's side, in its window, (n, H, W); transposed where `lying` (n,)."""
    found = torch.zeros(window.mask.shape, device=side.device)
    for length in side.unique().tolist():
        of = side == length
        pattern = bump(length).to(side.device)
        rows, columns = (place[of].clamp(0, length - 1) for place in (window.rows, window.columns))
        upright = pattern[rows[:, :, None], columns[:, None]]
        turned = pattern.T[rows[:, :, None], columns[:, None]]
        found[of] = where(lying[of], turned, upright)
    return found * window.mask


def _unit(change: Tensor) -> Tensor:
    """Each channel of length 1, (n, C, H, W); zero stays zero."""
    return change / change.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)


@cache
def bump(side: int) -> Tensor:
    """The pattern (side, side) of section 3.3: two opposite heaps, one above the other, of length 1."""
    upper = side // 2
    pattern = torch.cat([_heap(upper, side), -_heap(side - upper, side)])
    return pattern / pattern.norm()


def _heap(height: int, width: int) -> Tensor:
    """Nested rectangles about the middle; the value at distance d is the sum of 1 / (k + 1)^2, k >= d."""
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    distance = torch.maximum(rows[:, None], columns[None])
    steps = 1 / torch.arange(1, max(height, width) // 2 + 2).double() ** 2
    return steps.flip(0).cumsum(0).flip(0)[distance].float() if height else torch.zeros(0, width)


@dataclass(frozen=True)
class _Window:
    """A square in each image (n,): the mask (n, H, W) and places (n, H), (n, W) counted from its corner."""

    mask: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def at(cls, numbers: Tensor, side: Tensor, height: int, width: int) -> _Window:
        """Where `numbers` (n, 2) in [0, 1) put a window of `side` (n,), cut to the image's size."""
        index, inside = [], []
        for k, length in enumerate((height, width)):
            sides = side.clamp_max(length)
            corner = corners(numbers[:, k], sides, length)
            places = torch.arange(length, device=side.device)[None] - corner[:, None]
            index.append(places)
            inside.append((places >= 0) & (places < sides[:, None]))
        return cls(inside[0][:, :, None] & inside[1][:, None], index[0], index[1])


def corners(numbers: Tensor, side: Tensor, length: int) -> Tensor:
    """The first places (n,) of windows that `numbers` (n,) in [0, 1) put along an axis of `length`."""
    return (numbers.double() * (length - side + 1)).long()
