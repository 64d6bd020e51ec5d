"""Exact one-sided tests for pairs: the same images under two conditions."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

SURE = 1e-3  # of a fault of the input or the classes, where several alternatives are tried
LIKELY = 1e-2  # of an attack that does worse than a weaker one


def sign_test(wins: int, losses: int) -> float:
    """The probability of at least so many wins where win and loss are equally likely; ties do not count.

    On images right under one condition alone it is McNemar's test (1947) in its exact form.
    """
    count = wins + losses
    return sum(comb(count, k) for k in range(wins, count + 1)) / 2**count


def paired_test(better: Tensor, worse: Tensor) -> tuple[int, int, float]:
    """Of two bool (N,): where only the first holds, where only the second, and p of the first."""
    wins, losses = int((better & ~worse).sum()), int((worse & ~better).sum())
    return wins, losses, sign_test(wins, losses)


def p_value_text(p: float) -> str:
    """A probability as people write it."""
    return "p < 1e-12" if p < 1e-12 else f"p = {p:.1g}"


def spread_of(predictions: Tensor, num_classes: int) -> float:
    """How many classes the predictions (N,) are spread over: exp of their entropy."""
    share = torch.bincount(predictions, minlength=num_classes).double() / max(1, len(predictions))
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))
