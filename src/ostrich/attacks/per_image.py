"""Arithmetic with one number for each image of a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def lift(values: Tensor, images: Tensor) -> Tensor:
    """(n,) as (n, 1, 1, 1) of the images' type, to multiply images with."""
    return values.to(images.dtype).view(-1, *[1] * (images.ndim - 1))


def where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Whole images of `yes` where `mask` (n,) is true, else of `no`."""
    return torch.where(mask.view(-1, *[1] * (yes.ndim - 1)), yes, no)


def power_of_two(values: Tensor) -> Tensor:
    """The power of two below the largest absolute value of each row, (n,); 1 where all are zero.

    Divided by it, values whose squares vanish or overflow can be squared, and no others change a bit.
    """
    largest = values.abs().flatten(1).amax(1)
    return torch.where(largest > 0, largest / (2 * largest.frexp().mantissa), 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The products of images with images, (n,) float64."""
    return (a.double() * b.double()).flatten(1).sum(1)


def square(change: Tensor) -> Tensor:
    """The squared L2 lengths, (n,) float64."""
    return dot(change, change)
