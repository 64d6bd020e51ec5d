"""From the nearest adversarial image to the nearest adversarial file: a search on the 8-bit grid.

The nearest adversarial image lies on the decision boundary, and its change is often below one
level a value, so rounding takes most of it back. Carlini and Wagner 2017 (section VII.C) searched
the grid greedily, one value at a time. Here two one-parameter families of grid images are bisected,
for all images of a batch at once. A trial succeeds where the folded network, in the network's own
precision, is clear of rounding errors by more than the plain one will be asked to be:

1. round(x + s * change), s from 1 up, or from where the largest change is a level. On a linear
   boundary the nearest change is parallel to the gradient g, and buying the levels with the largest
   gain |g| / ((k+1)^2 - k^2) first gives just round(s * g).
2. From the best so far, exchange: of all levels, those there and one more of each value, the k with the
   largest gain per cost are taken. k is searched, and the gradient taken anew, on the grid. What counts is
   the rank, not a price: values with the same gain have the same price, and would all go together.

Where the first family passes a narrow region of success by, between them: from its nearest miss,
levels are bought where the gradient is steepest, more and more of them until one trial succeeds.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import SLACK, Goal, missed
from ostrich.attacks.per_image import lift
from ostrich.attacks.threats import exact_distance
from ostrich.images import LEVELS, rounded

GROWTH = (1.0, 1.1, 1.3, 1.8, 3.0, 8.0)  # scales tried until one succeeds
HALVINGS = 5  # of the interval between the last scale that failed and the first that succeeded
GRID_FORWARDS = len(GROWTH) + HALVINGS  # of the first family
REPAIRS = 3  # rounds of buying where no scale succeeded, each with a new gradient
SHARES = (1 / 4096, 1 / 1024, 1 / 256, 1 / 64, 1 / 16)  # of the values, of which a level is bought
PRECISE = 0.02  # part of the scale to which the interval is halved
ROUNDS = 6  # of exchange at most, each with a new gradient
RANKS = 6  # tried in a round
FIRST_STRIDE, LONGER = 1 / 128, 4  # of all values: the first step down, and its growth until one fails
WORTHWHILE = 0.997  # of the distance: an image that a round brought no nearer than that gets no other
CLEAR = 4 * SLACK
POWERS = {"l1": 1, "l2": 2}  # a norm's cost is the sum of |levels|^power; Linf has no such sum


def on_grid(problem: Problem, images: Tensor, exchange: bool = True) -> Tensor:
    """The nearest verified images (n, C, H, W) on the 8-bit grid found around `images`.

    Where none succeeds, `images` rounded. A budget is not looked at: if any file keeps it, the
    nearest does. Costs up to GRID_FORWARDS forwards and, with `exchange` and except in Linf, 6 times 6
    forwards and a forward and backward per image, fewer where a round gains little; 3 times 5 and as many
    more where no scale succeeds. An image without queries left stays as it is.
    """
    search = _Search(problem, rounded(images))
    change = images - problem.originals
    low, high = _bracket(search, change)
    scaled = search.found
    for _ in range(REPAIRS if exchange else 0):
        _repair(search)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        open_ = scaled & (high - low > PRECISE * high)
        reached = search.offer(problem.originals + lift(middle, change) * change, open_)
        high, low = torch.where(reached, middle, high), torch.where(open_ & ~reached, middle, low)
    if exchange and problem.threat.norm in POWERS:
        going = search.found
        for _ in range(ROUNDS):
            before = search.distance.clone()
            _exchange(search, POWERS[problem.threat.norm], going)
            going = going & (search.distance < WORTHWHILE * before)
    return search.best


class _Search:
    """The nearest success of each image so far, and the nearest miss."""

    def __init__(self, problem: Problem, start: Tensor) -> None:
        self.problem = problem
        self.best = start
        self.distance = problem.originals.new_full((len(start),), torch.inf, dtype=torch.float64)
        self.miss, self.loss = start, self.distance.clone()  # the goal's loss of the miss

    @property
    def found(self) -> Tensor:
        return self.distance < torch.inf

    def offer(self, proposed: Tensor, mask: Tensor) -> Tensor:
        """Bring `proposed` to the grid and try it where `mask` (n,) is true; whether it succeeds (n,)."""
        reached = torch.zeros_like(mask)
        mask = mask & (self.problem.left > 0)
        if not mask.any():
            return reached
        part = self.problem.keep(mask)
        grid = rounded(proposed[mask])
        logits = part.access.logits(grid, part.rows, "exact")
        success, loss = part.goal.reached(logits, CLEAR), part.goal.loss(logits).double()
        distance = exact_distance(part.threat, grid, part.originals)
        reached[mask] = success
        nearer = success & (distance < self.distance[mask])
        rows = mask.nonzero()[:, 0][nearer]
        self.best = self.best.index_copy(0, rows, grid[nearer])
        self.distance[rows] = distance[nearer]
        closer = ~success & (loss < self.loss[mask])
        rows = mask.nonzero()[:, 0][closer]
        self.miss = self.miss.index_copy(0, rows, grid[closer])
        self.loss = self.loss.index_copy(0, rows, loss[closer])
        return reached


def _bracket(search: _Search, change: Tensor) -> tuple[Tensor, Tensor]:
    """The last scale (n,) that failed, and the first that succeeded."""
    level = 0.5001 / LEVELS / change.abs().flatten(1).amax(1).double().clamp_min(1e-12)
    least = level.clamp_min(1.0)
    low, high = least / 2, least
    for growth in GROWTH:
        missing, scale = ~search.found, growth * least
        search.offer(search.problem.originals + lift(scale, change) * change, missing)
        high = torch.where(missing & search.found, scale, high)
        low = torch.where(search.found, low, scale)
    return low, high


def _repair(search: _Search) -> None:
    """Where nothing has succeeded, from the nearest miss buy the levels that gain most."""
    mask = ~search.found
    if not mask.any():
        return
    part, start = search.problem.keep(mask), search.miss[mask]
    gain = -part.gradient(start).flatten(1)  # (n, D)
    gain = torch.where((start.flatten(1) + gain.sign() / LEVELS - 0.5).abs() <= 0.5001, gain, 0)
    order = gain.abs().argsort(dim=1, descending=True)
    proposed = search.miss.clone()
    for share in SHARES:
        first = order[:, : max(1, round(share * gain.shape[1]))]
        bought = torch.zeros_like(gain).scatter(1, first, gain.gather(1, first).sign())
        proposed[mask] = start + (bought / LEVELS).view_as(start)
        search.offer(proposed, ~search.found)


def _exchange(search: _Search, power: int, mask: Tensor) -> None:
    """Where `mask` (n,), take the levels with the largest gain per cost; search how many."""
    if not mask.any():
        return
    part = search.problem.keep(mask)
    best = search.best[mask]
    levels = ((best - part.originals).double() * LEVELS).flatten(1)  # (n, D)
    gain = -part.gradient(best, partial(_loss, part.goal)).double().flatten(1)  # per level, up to a factor
    size, sign = levels.abs(), torch.where(levels == 0, gain.sign(), levels.sign())
    toward = sign * gain  # what a level away from the original gains
    buy = toward / ((size + 1) ** power - size**power)
    keep = toward / (size**power - (size - 1).clamp_min(0) ** power)
    keep = torch.where(size >= 0.5, keep, torch.inf)  # where there is no level, none can be given back
    ranks = torch.cat([keep, buy], 1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # (n, 2D)
    kept, bought = ranks.split(gain.shape[1], dim=1)
    low = (keep == torch.inf).sum(1)  # all given back
    high = torch.full_like(low, gain.shape[1])  # as many levels as now, but the best ones
    stride = (FIRST_STRIDE * high).long().clamp_min(1)
    bracketed = torch.zeros_like(low, dtype=torch.bool)
    proposed = search.best.clone()
    for _ in range(RANKS):
        count = torch.where(bracketed, (low + high) // 2, torch.maximum(high - stride, low))
        change = (bought < count[:, None]).double() - (kept >= count[:, None]).double()
        moved = levels + sign * change
        proposed[mask] = part.originals + (moved / LEVELS).view_as(best).to(best.dtype)
        reached = search.offer(proposed, mask)[mask]
        high, low = torch.where(reached, count, high), torch.where(reached, low, count)
        stride, bracketed = LONGER * stride, bracketed | ~reached


def _loss(goal: Goal, logits: Tensor) -> Tensor:
    """By which a level gains: towards the nearest class alone, not towards all others as in cross-entropy."""
    return goal.loss(logits) if goal.kind == "confident" else missed(goal, logits)
