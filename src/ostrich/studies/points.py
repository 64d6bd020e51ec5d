"""Rows of a study as the points of a chart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from math import inf
from typing import Any

from ostrich.statistics import interval, wilson
from ostrich.studies.schema import Row


def mean_points(rows: Sequence[Row], x: str, y: str) -> list[dict[str, Any]]:
    """Mean and 95 % interval of the field `y` for each value of the field `x`; missing values left out.

    The interval of an error or an accuracy, which are percentages, is drawn between 0 and 100.
    """
    bottom, top = (0.0, 100.0) if y.endswith(("error", "accuracy")) else (-inf, inf)
    groups: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        if row.get(y) is not None:
            groups[row[x]].append(row[y])
    found = []
    for at in sorted(groups):
        mean, low, high = interval(groups[at])
        point: dict[str, Any] = {"x": at, "y": mean, "label": f"{at:g}"}
        if len(groups[at]) > 1:
            point |= {"low": max(low, bottom), "high": min(high, top)}
        found.append(point)
    return found


def ranged(found: tuple[float, float, float], digits: int = 1, sign: str = "") -> str:
    """A mean and its 95 % interval in words, 0.44 (0.01 to 0.86); `sign` is "+" where it is a change."""
    mean, low, high = found
    if low == -inf or high == inf:
        return f"{mean:{sign}.{digits}f} (one value: no interval)"
    return f"{mean:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def at_most(value: float) -> str:
    """A number in two digits, none of them below it."""
    return f"{float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(repr(value))):.2g}"


def at_least(value: float) -> str:
    """The same, none above it."""
    return f"{float(Context(prec=2, rounding=ROUND_FLOOR).create_decimal(repr(value))):.2g}"


def percent(hits: int, n: int) -> tuple[float, float, float]:
    """A share and its 95 % interval (Wilson), in percent."""
    low, high = wilson(hits, n)
    return 100 * hits / n, 100 * low, 100 * high


def percent_words(hits: int, n: int) -> str:
    """The same in words; of none, "-"."""
    return ranged(percent(hits, n)) if n else "-"


def by_seed(rows: Sequence[Row], field: str, /, **wanted: object) -> dict[int, float]:
    """A field of the rows with the wanted values, by their seed; missing values left out."""
    chosen = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return {row["seed"]: row[field] for row in chosen if row.get(field) is not None}


def paired(first: dict[int, float], second: dict[int, float]) -> list[float]:
    """First less second, for every seed that both have."""
    return [first[seed] - second[seed] for seed in first if seed in second]
