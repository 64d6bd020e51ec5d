"""What every threat model offers, and distances that are exact for files."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.images import LEVELS, SNAP

TOLERANCE = 1e-6  # relative, for floating-point distances at the edge of a budget

Draw = Callable[[str], Tensor]  # "uniform" in [0, 1) or "normal", shaped like the images


@runtime_checkable
class Threat(Protocol):
    """What every threat model offers; `images` and `originals` are (N, C, H, W) in [0, 1]."""

    @property
    def norm(self) -> str:
        """linf, l2, l1, l0, patch or lab."""

    @property
    def eps(self) -> float:
        """The budget, in the norm's unit."""

    def project(self, images: Tensor, originals: Tensor) -> Tensor:
        """The `images` (N, C, H, W), moved into the budget about `originals` and into [0, 1]."""

    def random_start(self, originals: Tensor, draw: Draw) -> Tensor:
        """A random image within the budget for each of `originals` (N, C, H, W).

        `draw("uniform")` gives numbers in [0, 1) of their shape, `draw("normal")` normal ones.
        """

    def direction(self, gradient: Tensor) -> Tensor:
        """The change (N, C, H, W) of unit size that most increases a function with this `gradient`."""

    def distance(self, images: Tensor, originals: Tensor) -> Tensor:
        """The size (N,) of the change from `originals` to `images` (N, C, H, W), in the norm's unit."""

    def quantize(self, images: Tensor, originals: Tensor) -> Tensor:
        """Images (N, C, H, W) on the 8-bit grid near `images`.

        They are within the budget about `originals` where the grid allows it.
        """


def within(threat: Threat, images: Tensor, originals: Tensor) -> Tensor:
    """Whether each image keeps the budget, (N,) bool."""
    return keeps(threat, exact_distance(threat, images, originals))


def keeps(threat: Threat, distance: Tensor) -> Tensor:
    """Whether exact distances (N,) are within the budget, (N,) bool."""
    return distance <= threat.eps * (1 + TOLERANCE)


def exact_distance(threat: Threat, images: Tensor, originals: Tensor) -> Tensor:
    """The distance (N,) in float64 of images that are meant to lie on the 8-bit grid.

    3/255 is no float32: what lies near a level is taken for it, so a distance of files is exact.
    """
    return threat.distance(to_levels(images) / LEVELS, to_levels(originals) / LEVELS)


def to_levels(images: Tensor) -> Tensor:
    """Images in 8-bit levels, float64; what is within rounding of a whole level is that level."""
    levels = images.double() * LEVELS
    whole = levels.round()
    return torch.where((levels - whole).abs() < SNAP, whole, levels)


def flat(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as rows (N, D)."""
    return images.flatten(1)


def check_budget(eps: float) -> None:
    """Refuse, by an InputError, what is no budget."""
    if not is_number(eps) or not 0 <= eps < float("inf"):
        raise InputError(f"A budget eps is a number from 0 up, in units of [0, 1] images; got {eps!r}.")


def is_number(value: object) -> bool:
    """Whether it is a real number, of Python or of numpy."""
    return isinstance(value, Real) and not isinstance(value, bool)
