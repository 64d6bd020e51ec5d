"""Two runs side by side: the figures that both have, and which differ beyond the first one's interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ostrich.crashtest.answer import Changed, Since
from ostrich.crashtest.comparable import comparable, images_of

NONE: dict[str, Any] = {"low": None, "high": None, "known": True}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Changed]:
    """The figures that both runs have, those with an interval first, as they stand in the results.

    Where both have one of a kind that is told by its budget, the answers to other questions are no pair.
    """
    ours, theirs = comparable(first), comparable(second)
    rows = [_row(name, ours[name], theirs[name]) for name in ours if name in theirs]
    flat = [_flat(first.get("results") or {}), _flat(second.get("results") or {})]
    kinds = [{name.partition(" at ")[0] for name in found} for found in (ours, theirs)]
    for name, value in flat[0].items():
        if name in flat[1] and name not in kinds[0] & kinds[1]:
            rows.append(_row(name, {"value": value, **NONE}, {"value": flat[1][name], **NONE}))
    return rows


def since(path: str, baseline: Mapping[str, Any], now: Mapping[str, Any]) -> Since:
    """What changed since an earlier run, of what both know: beyond its interval first, the largest first."""
    rows = [row for row in differences(baseline, now) if row["beyond"] is not None]
    same = images_of(baseline) == images_of(now)
    rows.sort(key=lambda row: (not row["beyond"], -abs(row["difference"]) if row["beyond"] else 0.0))
    return {"run": path, "command": baseline.get("command"), "same_images": same, "rows": rows}


def _row(figure: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Changed:
    judged = a["low"] is not None and a["known"] and b["known"]
    return {
        "figure": figure,
        "first": a["value"],
        "first_low": a["low"],
        "first_high": a["high"],
        "second": b["value"],
        "second_low": b["low"],
        "second_high": b["high"],
        "difference": b["value"] - a["value"],
        "beyond": not a["low"] <= b["value"] <= a["high"] if judged else None,
    }


def _flat(results: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers of a result, nested ones by their path."""
    found: dict[str, float] = {}
    for name, value in results.items():
        if name == "distance" and isinstance(value, dict):
            found |= {f"{name} {k}": v for k, v in value.items() if isinstance(v, int | float)}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name.replace("_", " ")] = value
    return found
