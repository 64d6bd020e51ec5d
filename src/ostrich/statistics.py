"""Intervals for fractions, means and slopes."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, inf, nan, sqrt

Z = 1.959964  # standard normal quantile of 0.975: 95 % intervals


def wilson(hits: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a fraction (Wilson 1927): around hits / count, inside [0, 1], also at 0 and n."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    centre = share + Z**2 / (2 * count)
    spread = Z * sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    scale = 1 + Z**2 / count
    low = 0.0 if hits == 0 else (centre - spread) / scale  # in floating point it is a little above 0
    return low, 1.0 if hits == count else (centre + spread) / scale


def sign_test(hits: int, count: int) -> float:
    """The probability that of `count` throws of a fair coin so many or more are heads: one-sided."""
    return sum(comb(count, k) for k in range(hits, count + 1)) / 2**count


def binomial_test(hits: int, count: int, share: float) -> tuple[float, float]:
    """The probabilities of so many hits or fewer, and or more, of `count` tries that each hit by `share`."""
    from scipy.special import bdtr, bdtrc

    return float(bdtr(hits, count, share)), float(bdtrc(hits - 1, count, share))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the 95 % interval of it by Student's t; for fewer than two values it is without end."""
    from scipy.special import stdtrit

    count = len(values)
    if count == 0:
        return nan, -inf, inf
    mean = sum(values) / count
    if count == 1:
        return mean, -inf, inf
    half = float(stdtrit(count - 1, 0.975)) * deviation(values) / sqrt(count)
    return mean, mean - half, mean + half


def bootstrap(values: Sequence[float], *, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """The 95 % interval of a mean: the percentiles of `draws` resamples (Efron 1979).

    Of shares in [0, 1] it is at least so wide that a kind of image may exist that none of these is: at either
    end a share as large as Wilson's interval of 0 of n allows is put in, of zeros or ones. So where all are 0
    or 1 it is Wilson's interval, and one value that differs a little changes it a little.
    """
    import numpy as np

    if not len(values):
        return -inf, inf
    known = np.asarray(values, dtype=np.float64)
    weights = np.random.default_rng(seed).multinomial(len(known), np.full(len(known), 1 / len(known)), draws)
    low, high = np.quantile(weights @ known / len(known), (0.025, 0.975))
    if known.min() >= 0 and known.max() <= 1:
        mean, (_, unseen) = known.mean(), wilson(0, len(known))
        low, high = min(low, mean - unseen * mean), max(high, mean + unseen * (1 - mean))
    return float(low), float(high)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; equal values share their mean rank. NaN where one side is constant."""
    a, b = (_ranks(values) for values in (x, y))
    mean = (len(x) + 1) / 2
    product = sum((i - mean) * (j - mean) for i, j in zip(a, b, strict=True))
    size = sqrt(sum((i - mean) ** 2 for i in a) * sum((j - mean) ** 2 for j in b))
    return product / size if size else nan


def _ranks(values: Sequence[float]) -> list[float]:
    below = [sum(other < value for other in values) for value in values]
    return [low + (sum(other == value for other in values) + 1) / 2 for low, value in zip(below, values)]


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """The slope of the least-squares line through the points, and its 95 % interval by Student's t.

    It takes at least three points with different x.
    """
    from scipy.special import stdtrit

    count, mean_x, mean_y = len(x), sum(x) / len(x), sum(y) / len(y)
    square = sum((a - mean_x) ** 2 for a in x)
    found = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / square
    rest = sum((b - mean_y - found * (a - mean_x)) ** 2 for a, b in zip(x, y))
    half = float(stdtrit(count - 2, 0.975)) * sqrt(rest / (count - 2) / square)
    return found, found - half, found + half


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation in words, with n: "8.40 ± 0.20 (n = 5)"; of one value "8.40 (n = 1)"."""
    if not values:
        return "-"
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.{digits}f} (n = 1)"
    return f"{mean:.{digits}f} ± {deviation(values):.{digits}f} (n = {len(values)})"
