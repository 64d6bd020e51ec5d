"""Does a network's confidence say how often it is right? And is it less sure of what it cannot know?

A network is calibrated where, of all images it is 80 % sure of, it gets 80 % right. The calibration error is
the mean distance of both, over images: E |P(right | confidence) - confidence|, confidence being the largest
softmax probability. Guo et al. 2017, "On calibration of modern neural networks", estimate it by bins; so
estimated it is too large where images are few, since what is chance in a bin counts as a fault (a calibrated
network of 100 images in 15 bins shows 0.14). Here a bin's sign, whether the network is too sure there or not
sure enough, comes from other images than those that are counted with it: then chance cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError
from ostrich.runtime.randomness import keyed
from ostrich.statistics import Z, wilson

FOLDS = 5  # what is counted, and what its sign is taken from: 1 to 4
IN_A_BIN, MOST_BINS = 100, 15  # images in a bin at least, where there is more than one; the usual number
STEEPEST = 1e3  # largest inverse temperature that is looked for, and the inverse of the smallest
HALVINGS = 60  # of the range of its logarithm
PURPOSE = 53  # of random numbers


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """The error in [0, 1], its 95 % interval, of `count` images in `bins`; and Guo's estimate of 15 bins."""

    value: float
    low: float
    high: float
    count: int
    bins: int
    binned: float


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Images of about one confidence: their mean confidence, the share that is right, and their number."""

    confidence: float
    accuracy: float
    count: int


def calibration_error(confidence: Tensor, correct: Tensor, *, seed: int = 0) -> CalibrationError:
    """How far confidences (N,) in [0, 1] are from how often the network is right, (N,) bool, in the mean.

    Images lie in bins of equally many, at least 100, at most 15 bins. With d = confidence - correct, an image
    counts as s d, s the sign of the sum of d over those images of its bin that are in the other four of five
    parts; the estimate is the mean of s d, not below 0, and its interval that of a mean (normal), cut at 0.
    Where all or none are right it holds all that Wilson's interval of the share right allows too.
    Where the true distance in a bin is neither 0 nor large the sign is sometimes wrong, and the estimate a
    little too small. Bins hide what is too much and too little within one.

    Raises InputError for other shapes, and for fewer than two images.
    """
    if confidence.ndim != 1 or confidence.shape != correct.shape or len(confidence) < 2:
        shapes = f"{tuple(confidence.shape)} and {tuple(correct.shape)}"
        raise InputError(
            f"A calibration error is of two images (N,) at least, and whether right; got {shapes}."
        )
    count = len(confidence)
    gap = confidence.double().cpu() - correct.double().cpu()
    bins = min(MOST_BINS, max(1, count // IN_A_BIN))
    place = torch.empty(count, dtype=torch.int64)
    place[confidence.cpu().argsort(stable=True)] = torch.arange(count) * bins // count
    part = torch.randperm(count, generator=keyed(seed, PURPOSE)) % FOLDS
    sums = torch.zeros(bins, FOLDS, dtype=torch.float64).index_put_((place, part), gap, accumulate=True)
    others = (sums.sum(1, keepdim=True) - sums)[place, part]
    counted = torch.where(others < 0, -gap, gap)
    mean, half = float(counted.mean()), Z * float(counted.std()) / sqrt(count)
    low, high = mean - half, mean + half
    right = int(correct.sum())
    if right in (0, count):  # then d has no spread that tells how often it is right
        sure, (least, most) = float(confidence.double().mean()), wilson(right, count)
        low = min(low, max(least - sure, sure - most))
        high = max(high, sure - least, most - sure)
    return CalibrationError(
        value=max(0.0, mean),
        low=max(0.0, low),
        high=max(0.0, high),
        count=count,
        bins=bins,
        binned=sum(one.count * abs(one.confidence - one.accuracy) for one in reliability(confidence, correct))
        / count,
    )


def reliability(confidence: Tensor, correct: Tensor, bins: int = MOST_BINS) -> list[ReliabilityBin]:
    """The reliability diagram: bins of equal width over [0, 1], least sure first, without empty ones."""
    sure, hit = confidence.double().cpu(), correct.double().cpu()
    place = (sure * bins).long().clamp(0, bins - 1)
    found = []
    for i in range(bins):
        inside = place == i
        if count := int(inside.sum()):
            means = (float(values[inside].mean()) for values in (sure, hit))
            found.append(ReliabilityBin(confidence=next(means), accuracy=next(means), count=count))
    return found


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """The mean of -log p(label) in nats, of logits (N, K)."""
    return float(F.cross_entropy(logits.double(), labels))


def temperature(logits: Tensor, labels: Tensor) -> float:
    """What logits (N, K) have to be divided by for the least negative log likelihood of the labels (N,).

    Guo et al. 2017, section 4.2. Above 1 the network is too sure. The likelihood is convex in the inverse of
    the temperature, so the root of its slope is found by bisection. Where no wrong image speaks against being
    ever surer, it is the end of the range, 1/1000. Raises InputError where there are no images.
    """
    if not len(logits):
        raise InputError("A temperature is fitted to images; got none.")
    scores = logits.double()
    own = scores.gather(1, labels[:, None])[:, 0]
    low, high = torch.tensor([1 / STEEPEST, STEEPEST], dtype=torch.float64).log().tolist()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        probabilities = (scores * torch.tensor(middle).double().exp()).softmax(1)
        expected = (probabilities * scores.masked_fill(probabilities == 0, 0)).sum(1)  # also of -inf
        too_steep = bool((expected - own).mean() > 0)  # the slope of the negative log likelihood
        low, high = (low, middle) if too_steep else (middle, high)
    return float(torch.tensor(-(low + high) / 2).double().exp())


# What it should not know -------------------------------------------------------------------------


def max_softmax(logits: Tensor) -> Tensor:
    """The largest probability (N,): Hendrycks and Gimpel 2017, "A baseline for detecting misclassified ...".

    The larger, the more like what the network knows.
    """
    return logits.double().softmax(1).amax(1)


def energy(logits: Tensor) -> Tensor:
    """The log of the sum of exp (N,): Liu et al. 2020, "Energy-based out-of-distribution detection".

    It is minus the energy, so that here too the larger is the more like what the network knows.
    """
    return logits.double().logsumexp(1)


def roc_area(known: Tensor, unknown: Tensor) -> tuple[float, float, float]:
    """How likely a score of what is known (n,) is above one of what is not (m,), ties half; and 95 % of it.

    The interval is that of DeLong et al. 1988; where the scores do not overlap at all, or are all the same,
    that of a fraction of the smaller number. 0.5 is chance. Raises InputError where one side has fewer than
    two scores.
    """
    if len(known) < 2 or len(unknown) < 2:
        raise InputError(f"An area under ROC takes two scores a side; got {len(known)} and {len(unknown)}.")
    known, unknown = known.double(), unknown.double()
    wins = (known[:, None] > unknown).double() + 0.5 * (known[:, None] == unknown).double()  # (n, m)
    area = float(wins.mean())
    variance = float(wins.mean(1).var() / len(known) + wins.mean(0).var() / len(unknown))
    if variance == 0:
        fewest = min(len(known), len(unknown))
        return area, *wilson(area * fewest, fewest)
    half = Z * sqrt(variance)
    return area, max(0.0, area - half), min(1.0, area + half)
