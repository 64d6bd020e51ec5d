"""Threat models: what may change, and by how much.

Distances are between images with values in [0, 1], over all channels and pixels. A threat model
projects into its budget, draws random starts, gives the direction of steepest descent, and
settles images on the 8-bit grid without leaving the budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ostrich.attacks.batched import lift
from ostrich.attacks.lab import Lab
from ostrich.errors import InputError, UnknownName
from ostrich.images import LEVELS, rounded

TOLERANCE = 1e-6  # relative, for floating-point distances at the edge of a budget
BISECTIONS = 30  # of the threshold of an L1 projection
SNAP = 1e-4  # levels; float32 errs by at most 255 * 2^-25 = 8e-6 of them

Draw = Callable[[str], Tensor]  # "uniform" in [0, 1) or "normal", shaped like the images


class Threat(Protocol):
    """What every threat model offers; images and originals are (N, C, H, W)."""

    @property
    def norm(self) -> str:
        """linf, l2, l1, l0, patch or lab."""

    @property
    def eps(self) -> float:
        """The budget, in the norm's unit."""

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The images, moved into the budget and into [0, 1]."""

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        """A random image within the budget for each original."""

    def direction(self, gradient: Tensor) -> Tensor:
        """The change of unit size that most increases a function with this gradient."""

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        """The size of the change, (N,)."""

    def settle(self, images: Tensor, originals: Tensor) -> Tensor:
        """Images on the 8-bit grid near `images`, within the budget where the grid allows it."""


def within(threat: Threat, images: Tensor, originals: Tensor) -> Tensor:
    """Whether each image keeps the budget, (N,) bool."""
    return exact_distance(threat, images, originals) <= threat.eps * (1 + TOLERANCE)


def exact_distance(threat: Threat, images: Tensor, originals: Tensor) -> Tensor:
    """The distance (N,) in float64 of images that are meant to lie on the 8-bit grid.

    3/255 is no float32: what lies near a level is taken for it, so a distance of files is exact.
    """
    return threat.distance(_levels(images) / LEVELS, _levels(originals) / LEVELS)


@dataclass(frozen=True)
class Linf:
    """Every value may change by at most eps, for example 8/255."""

    eps: float
    norm: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        _check_budget(self.eps)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        return torch.clamp(images, originals - self.eps, originals + self.eps).clamp_(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        return (originals + self.eps * (2 * draw("uniform") - 1)).clamp_(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return _flat(images - originals).abs().amax(1)

    def settle(self, images: Tensor, originals: Tensor) -> Tensor:
        origin, reach = _levels(originals), self.eps * LEVELS * (1 + TOLERANCE)
        levels = images.double().mul(LEVELS).round().clamp((origin - reach).ceil(), (origin + reach).floor())
        return levels.clamp(0, LEVELS).div(LEVELS).to(images.dtype)


@dataclass(frozen=True)
class L2:
    """The root of the summed squares of all changes is at most eps."""

    eps: float
    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        _check_budget(self.eps)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        change = images - originals
        size = lift(self.distance(images, originals), images)
        shrink = (self.eps / size.clamp_min(1e-30)).clamp_max(1)
        # The clamp to [0, 1] comes last: the originals lie inside, so it only brings images nearer.
        return (originals + change * shrink).clamp_(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        direction = self.direction(draw("normal"))
        dimensions = originals[0].numel() if len(originals) else 1
        # A radius u^(1/d) with uniform u makes the points uniform in the ball.
        radius = _flat(draw("uniform"))[:, 0] ** (1 / dimensions)
        return (originals + self.eps * lift(radius, originals) * direction).clamp_(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        size = lift(_flat(gradient).norm(dim=1), gradient)
        return torch.where(size > 0, gradient / size, torch.zeros_like(gradient))

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return _flat(images - originals).norm(dim=1)

    def settle(self, images: Tensor, originals: Tensor) -> Tensor:
        return _settle_sum(images, originals, self.eps, power=2)


@dataclass(frozen=True)
class L1:
    """The sum of all changes is at most eps."""

    eps: float
    norm: ClassVar[str] = "l1"

    def __post_init__(self) -> None:
        _check_budget(self.eps)

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The nearest point of the ball and the box at once (Croce and Hein 2021, proposition 2.1).

        A change v becomes sign(v) min(max(|v| - t, 0), room), room being the way to 0 or 1; the
        smallest t >= 0 that keeps the budget is bisected.
        """
        change = _flat(images - originals)
        size, origin = change.abs(), _flat(originals)
        room = torch.where(change > 0, 1 - origin, origin)
        low = torch.zeros_like(size[:, :1])
        high = size.amax(1, keepdim=True)
        high = torch.where(torch.minimum(size, room).sum(1, keepdim=True) <= self.eps, low, high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            inside = torch.minimum((size - middle).clamp_min(0), room).sum(1, keepdim=True) <= self.eps
            low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
        shrunk = change.sign() * torch.minimum((size - high).clamp_min(0), room)
        return (originals + shrunk.view_as(originals)).clamp_(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        weights = -draw("uniform").clamp_min(1e-12).log()  # exponential: uniform on the simplex
        signs = draw("normal").sign()
        total = lift(_flat(weights).sum(1), weights)
        return (originals + self.eps * signs * weights / total).clamp_(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        flat = _flat(gradient)
        largest = flat.abs().argmax(1, keepdim=True)
        one = torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign())
        return one.view_as(gradient)

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return _flat(images - originals).abs().sum(1)

    def settle(self, images: Tensor, originals: Tensor) -> Tensor:
        return _settle_sum(images, originals, self.eps, power=1)


@dataclass(frozen=True)
class Pixels:
    """At most eps pixels may change, each to any colour (Su, Vargas, Sakurai 2019, section III.A)."""

    eps: float
    norm: ClassVar[str] = "l0"

    def __post_init__(self) -> None:
        _check_budget(self.eps)
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

    def settle(self, images: Tensor, originals: Tensor) -> Tensor:
        return rounded(images)


@dataclass(frozen=True)
class Patch:
    """The pixels that a patch covers may take any colour; eps is the largest part of all pixels."""

    eps: float
    norm: ClassVar[str] = "patch"

    def __post_init__(self) -> None:
        if not 0 < self.eps < 1:
            raise InputError(
                f"A patch's eps is the part of the image it covers, above 0 and below 1; got {self.eps}."
            )

    def pixels(self, images: Tensor) -> int:
        """The largest number of pixels of images (N, C, H, W)."""
        return int(self.eps * images.shape[-2] * images.shape[-1] * (1 + TOLERANCE))

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The pixels with the largest change; ties go to the first."""
        return Pixels(self.pixels(originals)).project(images, originals)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        return Pixels(self.pixels(originals)).random_start(originals, draw)

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        """The part of the pixels that changed."""
        return (images != originals).any(1).flatten(1).to(images.dtype).mean(1)

    def settle(self, images: Tensor, originals: Tensor) -> Tensor:
        return rounded(images)


@dataclass(frozen=True)
class Unbounded:
    """Any image with values in [0, 1]; distances are measured in `norm`, linf, l2 or l1."""

    norm: str = "l2"
    eps: ClassVar[float] = torch.inf

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2", "l1"):
            raise UnknownName("norm", self.norm, ("linf", "l2", "l1"))

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        return images.clamp(0, 1)

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        return draw("uniform")

    def direction(self, gradient: Tensor) -> Tensor:
        return NORMS[self.norm](1.0).direction(gradient)

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        return NORMS[self.norm](1.0).distance(images, originals)

    def settle(self, images: Tensor, originals: Tensor) -> Tensor:
        return rounded(images)


NORMS: dict[str, Callable[[float], Threat]] = {
    "linf": Linf,
    "l2": L2,
    "l1": L1,
    "l0": Pixels,
    "patch": Patch,
    "lab": Lab,
}


def _settle_sum(images: Tensor, originals: Tensor, eps: float, power: int) -> Tensor:
    """Round to 8 bits, leaving neither the budget nor the change.

    A value between two levels has a nearer one and another. Where the summed change is too large, values
    take the other one if that is nearer to the original. Where rounding has shortened the change along its
    own direction, as it does where all values change by less than half a level, they take the other one if
    that is farther away, while the budget allows it. Those whose rounding was closest to a tie go first.
    """
    target = _flat(images.double().clamp(0, 1)) * LEVELS
    origin = _flat(_levels(originals))
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


def _levels(images: Tensor) -> Tensor:
    """Images in 8-bit levels, float64; what is within rounding of a whole level is that level."""
    levels = images.double() * LEVELS
    whole = levels.round()
    return torch.where((levels - whole).abs() < SNAP, whole, levels)


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1)


def _check_budget(eps: float) -> None:
    if not 0 <= eps < float("inf"):
        raise InputError(f"A budget eps is a number from 0 up, in units of [0, 1] images; got {eps}.")
