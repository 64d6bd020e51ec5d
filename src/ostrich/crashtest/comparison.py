"""Two runs side by side: the figures that both have, and which differ beyond the first one's interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ostrich.crashtest.gates import comparable


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures that both results have: [{figure, first, second, difference, beyond}, ...].

    `beyond` says whether the second lies outside the first's 95 % interval, None where it has none.
    """
    ours, theirs = comparable(first), comparable(second)
    rows = []
    for name in ours:
        if name in theirs:
            a, b = ours[name], theirs[name]["value"]
            outside = not a["low"] <= b <= a["high"]
            rows.append(_row(name, a["value"], b, outside))
    flat = [_flat(first), _flat(second)]
    rows += [_row(name, flat[0][name], flat[1][name], None) for name in flat[0] if name in flat[1]]
    return rows


def _row(figure: str, a: float, b: float, beyond: bool | None) -> dict[str, Any]:
    return {"figure": figure, "first": a, "second": b, "difference": b - a, "beyond": beyond}


def _flat(results: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers of a result, nested ones by their path."""
    found: dict[str, float] = {}
    for name, value in results.items():
        if name == "distance" and isinstance(value, dict):
            found |= {f"{name} {k}": v for k, v in value.items() if isinstance(v, int | float)}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name.replace("_", " ")] = value
    return found
