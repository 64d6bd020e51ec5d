"""Intervals for fractions."""

from __future__ import annotations

from math import sqrt

Z = 1.959964  # standard normal quantile of 0.975: 95 % intervals


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a fraction (Wilson 1927): defined and inside [0, 1] also at 0 and n."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    centre = share + Z**2 / (2 * count)
    spread = Z * sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    scale = 1 + Z**2 / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
