"""One-sided tests: the same images under two conditions, and predictions beside labels."""

from __future__ import annotations

from math import comb

import numpy as np
import torch
from torch import Tensor

SURE = 1e-3  # of a fault of the input or the classes, where several alternatives are tried
LIKELY = 1e-2  # of an attack that does worse than a weaker one
DEALS = 9999


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


def agreement_test(predictions: Tensor, labels: Tensor) -> float:
    """The probability of as many hits where the predictions (N,) are dealt to the images anew, by chance.

    How often each class is said, and how often it is there, stays (Fisher 1935): what says one class of
    everything is at chance, however frequent that class is. Of 9999 seeded deals, so it is never below 1e-4.
    """
    said, there = predictions.cpu().numpy(), labels.cpu().numpy()
    hits, draws = (said == there).sum(), np.random.default_rng(0)
    reached = sum(int((draws.permutation(said) == there).sum() >= hits) for _ in range(DEALS))
    return (1 + reached) / (1 + DEALS)


def clearly_better(
    then: Tensor, now: Tensor, labels: Tensor, *, gain: float = 0.0, level: float = SURE
) -> float | None:
    """McNemar's p where predictions `then` (N,) are clearly more often right than `now`; None where not.

    By a share `gain` of the images at least, with p below `level`, and because they depend on the images: an
    untrained network that says the most frequent class of everything is often right as well. So of images of
    one class nothing is better.
    """
    wins, losses, p = paired_test(then == labels, now == labels)
    clear = wins - losses >= gain * len(labels) and p < level
    return p if clear and agreement_test(then, labels) < SURE else None


def p_value_text(p: float) -> str:
    """A probability as people write it."""
    return "p < 1e-12" if p < 1e-12 else f"p = {p:.1g}"


def spread_of(predictions: Tensor, num_classes: int) -> float:
    """How many classes the predictions (N,) are spread over: exp of their entropy."""
    share = torch.bincount(predictions, minlength=num_classes).double() / max(1, len(predictions))
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))
