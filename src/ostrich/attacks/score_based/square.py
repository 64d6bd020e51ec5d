"""Square: random search with squares on the boundary of the budget.

Andriushchenko, Croce, Flammarion, Hein 2020, "Square attack: a query-efficient black-box
adversarial attack via random search", algorithms 1, 2 (Linf) and 3 (L2). An image starts in
vertical stripes (Linf) or a grid of bumps (L2) of the whole budget; each query changes a square of
it, and the change is kept where it lowers the margin (section 3.2).

Ours keeps it too where the margin is the same: scores that are steps, as those of a network in 8 bits, answer
to no small square, but to several. After the first such query it asks about even shifts of colour, the
largest squares there are, before it goes on; where every query moves the margin, nothing is different. Under
L2 it asks first about them: half of a bump goes up and half goes down, so that bumps hardly move the mean of
a channel, and a network that reads means would look robust.

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

from ostrich.attacks.base import EndingState, InputSpecificAttack, select
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import margin
from ostrich.attacks.score_based.bumps import bumps, corners, even_shifts, moved_bump
from ostrich.attacks.threats import Linf, Threat
from ostrich.runtime.ranges import above, at_least

SHIFTED = 40  # one query of so many, at most, for an even shift
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 queries: the part of the area halves
FILLED = 64  # images that fill a forward


@dataclass(frozen=True)
class Search(EndingState):
    """`images` are the best so far."""

    loss: Tensor  # (n,) float64; inf before the first query, and where the start has no finite one
    asked: Tensor  # (n,) int64, proposals decided
    shifts: Tensor  # (n,) int64, Linf: even shifts among them; -1 before a query left the loss as it was
    low: Tensor  # (n, C, H, W), Linf: the least and the largest values within the budget
    high: Tensor


@dataclass(frozen=True, kw_only=True)
class Square(InputSpecificAttack):
    """At most `queries` forwards per image, the clean one and the verification among them.

    Andriushchenko, Croce, Flammarion, Hein 2020, "Square attack: a query-efficient black-box adversarial
    attack via random search", algorithms 1 to 3. The default of `area` is AutoAttack's 0.8, which is for
    robust networks; the paper chooses it for each norm and data set, 0.05 under Linf on ImageNet. Ours
    differs: a change that leaves the margin as it is is kept, and after the first such query, under L2 from
    the start, even shifts of colour are asked about too.

    queries  most proposals, each a forward
    area     part of the image that the first squares cover (p)
    ahead    most proposals of an image that are asked about together; above 1 as many are decided, for more
             forwards
    """

    name: ClassVar[str] = "square"
    needs: ClassVar[str] = "scores"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    stop: ClassVar[str] = "first"

    threat: Threat = Linf(8 / 255)
    queries: Annotated[int, at_least(3)] = 5000
    area: Annotated[float, above(0, at_most=1)] = 0.8
    ahead: Annotated[int, at_least(1)] = 1

    @property
    def steps(self) -> int:
        return self.queries

    @property
    def most_forwards(self) -> int | None:
        return self.queries if self.ahead == 1 else None

    def init(self, problem: Problem) -> Search:
        x = problem.originals
        start = _stripes(problem) if self.threat.norm == "linf" else bumps(problem)
        change = self.threat.eps * start
        return Search(
            images=self._bounded(x, change),
            loss=x.new_full((len(x),), torch.inf, dtype=torch.float64),
            asked=torch.zeros_like(problem.rows),
            shifts=torch.full_like(problem.rows, -1),
            low=self.threat.project(x - 1, x) if self.threat.norm == "linf" else x,
            high=self.threat.project(x + 1, x) if self.threat.norm == "linf" else x,
            done=torch.zeros_like(problem.rows, dtype=torch.bool),
        )

    def step(self, problem: Problem, state: Search) -> Search:
        fresh = bool((state.asked == 0).any())  # so all are, and the start itself is asked about
        count = 1 if fresh else self._together(problem, state)
        copies = problem.repeated(count)
        trial = state.images if fresh else self._proposals(problem, state, count)  # (n * count, C, H, W)
        loss = _loss(copies, copies.logits(trial, "exact")).view(-1, count)
        better = loss <= state.loss[:, None]
        first = torch.where(better.any(1), better.to(torch.uint8).argmax(1), count - 1)
        rows = torch.arange(len(first), device=first.device)
        kept = better[rows, first]
        chosen = kept.nonzero()[:, 0]
        images = state.images
        if len(chosen):
            images = images.index_copy(0, chosen, trial[chosen * count + first[chosen]])
        asked = state.asked + first + 1
        begun = state.shifts >= 0
        same = kept & (loss[rows, first] == state.loss)
        return replace(
            state,
            images=images,
            loss=torch.where(kept, loss[rows, first], state.loss),
            asked=asked,
            shifts=torch.where(begun, state.shifts + first + 1, torch.where(same, 0, -1)),
            done=asked >= self.queries - 2,  # the clean image and the verification are queries too
        )

    def _together(self, problem: Problem, state: Search) -> int:
        """How many proposals are asked about at once: as many as fill a forward and are wanted."""
        wanted = self.queries - 2 - int(state.asked.max())
        return max(1, min(self.ahead, FILLED // len(problem.rows), wanted))

    def _proposals(self, problem: Problem, state: Search, count: int) -> Tensor:
        """The next `count` images of each, in a row, that are asked about if none before is kept."""
        x, now = problem.originals, state
        ahead = torch.arange(count, device=x.device).repeat(len(x))
        if count > 1:
            rows = torch.arange(len(x), device=x.device).repeat_interleave(count)
            x, now = x[rows], select(state, rows)
        asked = now.asked + ahead
        # Places of two windows, a sign for each channel, whether a bump lies on its side, other signs.
        drawn = problem.numbers(asked + 1, 6 + x.shape[1])
        side = sides(self.queries, self.area, x[0, 0].numel()).to(asked.device)[asked]
        up = (drawn[:, 4:-2] >= 0.5)[:, :, None]  # (n * count, C, 1)
        tints = even_shifts(x.shape[1])[: self.queries // SHIFTED].to(x)
        if self.threat.norm == "linf":
            recoloured = _recoloured(now, side, up, drawn)
            number = now.shifts + ahead
            shifted = (now.shifts >= 0) & (number < len(tints))
            if shifted.any():
                ends = tints[number[shifted]][:, :, None, None] > 0
                recoloured[shifted] = torch.where(ends, now.high[shifted], now.low[shifted])
            return recoloured
        side = side.clamp_min(3)
        side = (side + (side % 2 == 0)).clamp_max(min(x.shape[-2:]))
        signs = torch.where(up[..., None], 1.0, -1.0).to(x)
        change = moved_bump(now.images - x, self.threat.eps, side, signs, drawn)
        early = asked <= len(tints)  # the start was number 0
        change[early] = tints[asked[early] - 1][:, :, None, None].expand(-1, -1, *x.shape[-2:])
        return self._bounded(x, change)

    def _bounded(self, x: Tensor, change: Tensor) -> Tensor:
        if self.threat.norm == "l2":
            change = self.threat.eps * self.threat.direction(change)
        return self.threat.project(x + change, x)


def _recoloured(state: Search, side: Tensor, up: Tensor, drawn: Tensor) -> Tensor:
    """Algorithm 2: a square of each image at one end of the budget. Only its window is looked at."""
    squares = Squares.at(drawn[:, :2], side.clamp_min(1), *state.images.shape[-2:])
    old, low, high = (squares.cut(values) for values in (state.images, state.low, state.high))
    new = torch.where(squares.inside, torch.where(up, high, low), old)
    # What is there already would be asked about for nothing (the authors' code draws again).
    same = (new == old).flatten(1).all(1)
    if same.any():
        turned = up[same] != _flips(drawn[same, -1], up.shape[1])
        ends = torch.where(turned, high[same], low[same])
        new[same] = torch.where(squares.inside[same], ends, old[same])
    return squares.paste(new, state.images)


@cache
def sides(queries: int, area: float, pixels: int) -> Tensor:
    """The side of the square that each query changes, in pixels, int64 (queries + 1,)."""
    return (share(torch.arange(queries + 1), queries, area).float() * pixels).sqrt().round().long()


def share(asked: Tensor, queries: int, area: float) -> Tensor:
    """The part of the image that a square covers, by the number of its query, (n,) float64."""
    scaled = asked.double() / queries * 10000
    halvings = (scaled[:, None] > torch.tensor(HALVINGS, device=asked.device)).sum(1)
    return area / 2.0 ** halvings.double()


def _flips(numbers: Tensor, channels: int) -> Tensor:
    """Whether each channel (n, C, 1) is turned, not none, chosen by `numbers` (n,) in [0, 1)."""
    code = 1 + (numbers.double() * (2**channels - 1)).long()
    bits = code[:, None] >> torch.arange(channels, device=numbers.device) & 1
    return (bits == 1)[:, :, None]


def _loss(copies: Problem, logits: Tensor) -> Tensor:
    """The label's margin, or minus the target's cross-entropy as the paper has it, to be lowered."""
    if copies.goal.kind == "untargeted":
        return margin(logits.double(), copies.goal.classes)
    return copies.goal.loss(logits)


@dataclass(frozen=True)
class Squares:
    """A square in each image (n,), among the (n, S, S) places of a window that holds the largest of them.

    `places` int64 (n, S * S) count along an image's pixels, `inside` (n, 1, S * S) are those in the square.
    """

    places: Tensor
    inside: Tensor

    @classmethod
    def at(cls, numbers: Tensor, side: Tensor, height: int, width: int) -> Squares:
        """Where `numbers` (n, 2) in [0, 1) put a square of `side` (n,), cut to the image's size."""
        index, inside, largest = [], [], int(side.max())
        for k, length in enumerate((height, width)):
            sides, extent = side.clamp_max(length), min(largest, length)
            corner = corners(numbers[:, k], sides, length)
            first = corner.clamp_max(length - extent)
            places = first[:, None] + torch.arange(extent, device=side.device)
            index.append(places)
            inside.append((places >= corner[:, None]) & (places < (corner + sides)[:, None]))
        places = index[0][:, :, None] * width + index[1][:, None]
        return cls(places.flatten(1), (inside[0][:, :, None] & inside[1][:, None]).flatten(1)[:, None])

    def cut(self, images: Tensor) -> Tensor:
        """The values (n, C, S * S) of `images` (n, C, H, W) in the windows."""
        return images.flatten(2).gather(2, self._index(images))

    def paste(self, values: Tensor, images: Tensor) -> Tensor:
        """A copy of `images` (n, C, H, W) with these values in the windows."""
        return images.flatten(2).scatter(2, self._index(images), values).view_as(images)

    def _index(self, images: Tensor) -> Tensor:
        return self.places[:, None].expand(-1, images.shape[1], -1)


def _stripes(problem: Problem) -> Tensor:
    """Columns (n, C, H, W) of one random sign each."""
    _, channels, height, width = problem.originals.shape
    drawn = problem.draw("uniform", 0, (channels, 1, width))
    return torch.where(drawn < 0.5, -1.0, 1.0).expand(-1, -1, height, -1).to(problem.originals)
