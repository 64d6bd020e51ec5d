"""Square: random search with squares on the boundary of the budget.

Andriushchenko, Croce, Flammarion, Hein 2020, "Square attack: a query-efficient black-box
adversarial attack via random search", algorithms 1, 2 (Linf) and 3 (L2). An image starts in
vertical stripes (Linf) or a grid of bumps (L2) of the whole budget; each query changes a square of
it, and the change is kept where it lowers the margin (section 3.2).

Most late proposals are refused, and few images fill no batch; so with `ahead` above 1 the next
proposals are asked about together, all drawn from the same point. Those after the first that is kept
are forgotten and drawn anew, so the result is that of one after another; the forwards are more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import margin
from ostrich.attacks.per_image import where
from ostrich.attacks.threats import Linf, Threat
from ostrich.runtime.ranges import above, at_least

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 queries: the part of the area halves
TILES = 5  # bumps along a side of the first change under L2
FILLED = 64  # images that fill a forward


@dataclass(frozen=True)
class Search(EndingState):
    """`images` are the best so far."""

    loss: Tensor  # (n,) float64, inf before the first query
    asked: Tensor  # (n,) int64, proposals decided
    low: Tensor  # (n, C, H, W), Linf: the least and the largest values within the budget
    high: Tensor


@dataclass(frozen=True, kw_only=True)
class Square(InputSpecificAttack):
    """At most `queries` forwards per image, the clean one and the verification among them.

    With `ahead` above 1 as many proposals are decided, for more forwards.
    """

    name: ClassVar[str] = "square"
    needs: ClassVar[str] = "scores"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    stop: ClassVar[str] = "first"

    threat: Threat = Linf(8 / 255)
    queries: Annotated[int, at_least(3)] = 5000
    area: Annotated[float, above(0, at_most=1)] = 0.8  # part of the image that the first squares cover
    ahead: Annotated[int, at_least(1)] = 1  # most proposals of an image asked about together

    @property
    def steps(self) -> int:
        return self.queries

    @property
    def most_forwards(self) -> int | None:
        return self.queries if self.ahead == 1 else None

    def init(self, problem: Problem) -> Search:
        x = problem.originals
        start = _stripes(problem) if self.threat.norm == "linf" else _bumps(problem)
        change = self.threat.eps * start
        return Search(
            images=self._bounded(x, change),
            loss=x.new_full((len(x),), torch.inf, dtype=torch.float64),
            asked=torch.zeros_like(problem.rows),
            low=self.threat.project(x - 1, x) if self.threat.norm == "linf" else x,
            high=self.threat.project(x + 1, x) if self.threat.norm == "linf" else x,
            done=torch.zeros_like(problem.rows, dtype=torch.bool),
        )

    def step(self, problem: Problem, state: Search) -> Search:
        fresh = bool((state.loss == torch.inf).any())  # so all are, and the start itself is asked about
        count = 1 if fresh else self._together(problem, state)
        copies = problem.repeated(count)
        numbers = [state.asked + j for j in range(count)]
        proposals = [state.images if fresh else self._proposal(problem, state, asked) for asked in numbers]
        trial = torch.stack(proposals, 1)  # (n, count, C, H, W)
        loss = _loss(copies, copies.logits(trial.flatten(0, 1), "exact")).view(-1, count)
        better = loss < state.loss[:, None]
        first = torch.where(better.any(1), better.to(torch.uint8).argmax(1), count - 1)
        rows = torch.arange(len(first), device=first.device)
        kept = better[rows, first]
        asked = state.asked + first + 1
        return replace(
            state,
            images=where(kept, trial[rows, first], state.images),
            loss=torch.where(kept, loss[rows, first], state.loss),
            asked=asked,
            done=asked >= self.queries - 2,  # the clean image and the verification are queries too
        )

    def _together(self, problem: Problem, state: Search) -> int:
        """How many proposals are asked about at once: as many as fill a forward and are wanted."""
        wanted = self.queries - 2 - int(state.asked.max())
        return max(1, min(self.ahead, FILLED // len(problem.rows), wanted))

    def _proposal(self, problem: Problem, state: Search, asked: Tensor) -> Tensor:
        """The image (n, C, H, W) that is asked about as number `asked` (n,)."""
        x = problem.originals
        height, width = x.shape[-2:]
        # Places of two windows, a sign for each channel, whether a bump lies on its side, other signs.
        drawn = problem.draw("uniform", asked + 1, (6 + x.shape[1],))
        area = share(asked, self.queries, self.area).float()
        side = (area * height * width).sqrt().round().long()
        up = (drawn[:, 4:-2] >= 0.5)[:, :, None, None]
        if self.threat.norm == "linf":
            mask = _Window.at(drawn[:, :2], side.clamp_min(1), height, width).mask[:, None]
            proposal = torch.where(mask, torch.where(up, state.high, state.low), state.images)
            # What is there already would be asked about for nothing (the authors' code draws again).
            same = (proposal == state.images).flatten(1).all(1)
            if same.any():
                turned = up[same] != _flips(drawn[same, -1], x.shape[1])
                ends = torch.where(turned, state.high[same], state.low[same])
                proposal[same] = torch.where(mask[same], ends, state.images[same])
            return proposal
        signs = torch.where(up, 1.0, -1.0).to(x)
        side = side.clamp_min(3)
        side = (side + (side % 2 == 0)).clamp_max(min(height, width))
        moved = _moved_bump(state.images - x, self.threat.eps, side, signs, drawn)
        return self._bounded(x, moved)

    def _bounded(self, x: Tensor, change: Tensor) -> Tensor:
        if self.threat.norm == "l2":
            change = self.threat.eps * self.threat.direction(change)
        return self.threat.project(x + change, x)


def share(asked: Tensor, queries: int, area: float) -> Tensor:
    """The part of the image that a square covers, by the number of its query, (n,) float64."""
    scaled = asked.double() / queries * 10000
    halvings = (scaled[:, None] > torch.tensor(HALVINGS, device=asked.device)).sum(1)
    return area / 2.0 ** halvings.double()


def _flips(numbers: Tensor, channels: int) -> Tensor:
    """Whether each channel (n, C, 1, 1) is turned, not none, chosen by `numbers` (n,) in [0, 1)."""
    code = 1 + (numbers.double() * (2**channels - 1)).long()
    bits = code[:, None] >> torch.arange(channels, device=numbers.device) & 1
    return (bits == 1)[:, :, None, None]


def _loss(copies: Problem, logits: Tensor) -> Tensor:
    """The label's margin, or minus the target's cross-entropy as the paper has it, to be lowered."""
    if copies.goal.kind == "untargeted":
        return margin(logits.double(), copies.goal.classes)
    return copies.goal.loss(logits)


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
            corner = (numbers[:, k].double() * (length - sides + 1)).long()
            places = torch.arange(length, device=side.device)[None] - corner[:, None]
            index.append(places)
            inside.append((places >= 0) & (places < sides[:, None]))
        return cls(inside[0][:, :, None] & inside[1][:, None], index[0], index[1])


def _moved_bump(change: Tensor, eps: float, side: Tensor, signs: Tensor, drawn: Tensor) -> Tensor:
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


def _stripes(problem: Problem) -> Tensor:
    """Columns (n, C, H, W) of one random sign each."""
    _, channels, height, width = problem.originals.shape
    drawn = problem.draw("uniform", 0, (channels, 1, width))
    return torch.where(drawn < 0.5, -1.0, 1.0).expand(-1, -1, height, -1).to(problem.originals)


def _bumps(problem: Problem) -> Tensor:
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
