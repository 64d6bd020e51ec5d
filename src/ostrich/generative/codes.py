"""Latent codes: how they are drawn, truncated, and walked between.

A code's numbers depend on (seed, its own number) alone, never on how many are drawn beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.runtime.randomness import keyed

CODES = 11  # of a key: drawn for use
NORMAL = 3.0  # deviations to which a normal code is clipped; DGN-AM's range too
SMALLEST = 0.01  # threshold of truncation: below it, one number in 125 is kept


class Observed(nn.Module):
    """How the numbers of a code were seen to vary, each (Z,): buffers, so that a generator's file has them.

    `unit` is the standard deviation in the encoder's own measure; `mean`, `low` and `high` are in units.
    """

    unit: Tensor
    mean: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        for name, value in (("unit", 1.0), ("mean", 0.0), ("low", -NORMAL), ("high", NORMAL)):
            self.register_buffer(name, torch.full((length,), value))


@dataclass(frozen=True)
class Codes:
    """Codes of `length` numbers: uniform in [-1, 1], standard normal, or of an encoder, as `observed`."""

    kind: Literal["uniform", "normal", "observed"]
    length: int
    observed: Observed | None = field(default=None, compare=False, repr=False)

    def draw(self, count: int, draw: torch.Generator, truncation: float | None = None) -> Tensor:
        """Codes (count, length), float32.

        `truncation` t redraws every number until it lies within [-t, t] (Brock 2019, section 3.1): a
        truncated normal, not a scaled one. Uniform codes have no tails and refuse it. Of observed codes
        each number is drawn by itself, normal about its mean and within its range.
        """
        if self.kind == "uniform":
            if truncation is not None:
                raise InputError("Uniform codes have no tails to truncate; truncation is for normal codes.")
            return torch.rand(count, self.length, generator=draw).mul_(2).sub_(1)
        codes = torch.randn(count, self.length, generator=draw)
        if truncation is not None:
            if not truncation >= SMALLEST:
                raise InputError(f"Truncation is a threshold of at least {SMALLEST}; got {truncation}.")
            while (outside := codes.abs() > truncation).any():
                codes[outside] = torch.randn(int(outside.sum()), generator=draw)
        return codes if self.observed is None else self.clipped(codes + self.observed.mean.cpu())

    def clipped(self, codes: Tensor) -> Tensor:
        """The codes (N, length) brought to where codes lie: a normal one within three deviations."""
        if self.observed is not None:
            return codes.clamp(self.observed.low.to(codes), self.observed.high.to(codes))
        most = 1.0 if self.kind == "uniform" else NORMAL
        return codes.clamp(-most, most)

    def numbered(self, numbers: range, seed: int, truncation: float | None = None) -> Tensor:
        """The codes of these numbers under a seed, (len(numbers), length)."""
        each = [self.draw(1, keyed(seed, CODES, number), truncation) for number in numbers]
        return torch.cat(each) if each else torch.empty(0, self.length)

    def check(self, codes: Tensor) -> None:
        """Refuse what is no batch of these codes. Raises InputError."""
        if codes.ndim != 2 or codes.shape[1] != self.length:
            raise InputError(
                f"A code has {self.length} numbers, codes are (N, {self.length}); got {tuple(codes.shape)}."
            )
        if not codes.is_floating_point() or not torch.isfinite(codes).all():
            raise InputError("Codes are finite floating-point numbers.")
        if self.kind == "uniform" and codes.numel() and codes.abs().max() > 1:
            raise InputError(f"Uniform codes lie in [-1, 1]; got {codes.abs().max().item():.4g}.")

    def between(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """From codes a (N, length) to b in `steps`, ends included: (steps, N, length).

        A straight line stays inside the cube of uniform codes. Normal codes lie near a sphere, whose
        inside they never visit: they go along the great circle. Observed ones go straight too.
        """
        if steps < 2:
            raise InputError(f"An interpolation has at least 2 steps, its ends; got {steps}.")
        walk = great_circle if self.kind == "normal" else straight
        return torch.stack([walk(a, b, step / (steps - 1)) for step in range(steps)])


def straight(a: Tensor, b: Tensor, share: float) -> Tensor:
    """(1 - t) a + t b."""
    return (1 - share) * a + share * b


def great_circle(a: Tensor, b: Tensor, share: float) -> Tensor:
    """sin((1 - t) w) / sin w a + sin(t w) / sin w b, w the angle between a and b (Shoemake 1985).

    Row by row of (N, d). Where a and b are parallel or opposite no circle is singled out: a straight line.
    """
    if share in (0, 1):
        return (b if share else a).clone()
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1)[..., None].clamp(-1, 1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    aligned = sine < 1e-6
    safe = torch.where(aligned, torch.ones_like(sine), sine)
    circle = torch.sin((1 - share) * angle) / safe * a + torch.sin(share * angle) / safe * b
    return torch.where(aligned, straight(a, b, share), circle)
