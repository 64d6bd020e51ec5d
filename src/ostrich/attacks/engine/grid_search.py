"""From the nearest adversarial image to the nearest adversarial file: a search on the 8-bit grid.

The nearest adversarial image lies on the decision boundary, and its change is often below one
level a value, so rounding takes most of it back. Carlini and Wagner 2017 (section VII.C) searched
the grid greedily, one value at a time. Here two one-parameter families of grid images are bisected,
for all images of a batch at once. A trial succeeds where the folded network, in the network's own
precision, is clear of rounding errors by more than the plain one will be asked to be:

1. round(x + s * change), s from 1 up, or from where the largest change is a level. On a linear
   boundary the nearest change is parallel to the gradient g, and buying the levels with the largest
   gain |g| / ((k+1)^2 - k^2) first gives just round(s * g).
2. From the best so far, exchange: a level is bought where its gain per cost is above a price, and
   given back where it is below. The gradient is taken anew, on the grid.

Where the first family passes a narrow region of success by, between them: from its nearest miss,
levels are bought where the gradient is steepest, more and more of them until one trial succeeds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import SLACK
from ostrich.attacks.per_image import lift
from ostrich.attacks.threats import exact_distance
from ostrich.images import LEVELS, rounded

GROWTH = (1.0, 1.1, 1.3, 1.8, 3.0, 8.0)  # scales tried until one succeeds
HALVINGS = 5  # of the interval between the last scale that failed and the first that succeeded
GRID_FORWARDS = len(GROWTH) + HALVINGS  # of the first family
REPAIRS = 3  # rounds of buying where no scale succeeded, each with a new gradient
SHARES = (1 / 4096, 1 / 1024, 1 / 256, 1 / 64, 1 / 16)  # of the values, of which a level is bought
PRECISE = 0.02  # part of the scale to which the interval is halved
ROUNDS = 2  # of exchange, each with a new gradient
WORTHWHILE = 0.997  # of the distance: an image that a round brought no nearer than that gets no other
CLEAR = 4 * SLACK
POWERS = {"l1": 1, "l2": 2}  # a norm's cost is the sum of |levels|^power; Linf has no such sum


def on_grid(problem: Problem, images: Tensor, exchange: bool = True) -> Tensor:
    """The nearest verified images (n, C, H, W) on the 8-bit grid found around `images`.

    Where none succeeds, `images` rounded. A budget is not looked at: if any file keeps it, the
    nearest does. Costs up to GRID_FORWARDS forwards and, with `exchange` and except in Linf, 2 times 6
    forwards and a forward and backward per image, 3 times 5 and as many more where no scale succeeds.
    An image without queries left stays as it is.
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
    """Where `mask` (n,), buy levels above a price and give back those below; bisect the price."""
    if not mask.any():
        return
    part = search.problem.keep(mask)
    best = search.best[mask]
    levels = ((best - part.originals).double() * LEVELS).flatten(1)  # (n, D)
    gain = -part.gradient(best).double().flatten(1)  # per level, up to a factor
    size, sign = levels.abs(), torch.where(levels == 0, gain.sign(), levels.sign())
    toward = sign * gain  # what a level away from the original gains
    buy = toward / ((size + 1) ** power - size**power)
    give = toward / (size**power - (size - 1).clamp_min(0) ** power)  # inf where there is no level
    give = torch.where(size >= 0.5, give, torch.inf)
    low, high = torch.zeros_like(gain[:, 0]), gain.abs().amax(1)
    proposed = search.best.clone()
    for _ in range(HALVINGS + 1):
        price = ((low + high) / 2)[:, None]
        moved = levels + sign * ((buy > price).double() - (give < price).double())
        proposed[mask] = part.originals + (moved / LEVELS).view_as(best).to(best.dtype)
        reached = search.offer(proposed, mask)[mask]
        low, high = torch.where(reached, price[:, 0], low), torch.where(reached, high, price[:, 0])
