"""Where a curve's lines, bands and ticks lie on paper; the report's template only draws them.

A block `{"kind": "curve", "x_label", "y_label", "series": [{"name", "style", "points": [{"x", "y",
"low", "high", "label"}]}]}` becomes coordinates in a drawing of `width` x `height` units. The label
of a point is its x as a person writes it ("8/255"); short labels serve as ticks. Values that all lie
in [0, 1] are read as fractions and drawn on the full scale, 0 to 100 %, so that no axis flatters. With
"even" true x is spaced as it is, never logarithmically, and of long labels the end is kept.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

LETTER = 7.0  # units one letter of a tick takes at the drawing's text size
STYLES = ("attack", "noise", "other")


def layout(block: dict[str, Any], width: int, height: int) -> dict[str, Any] | None:
    """Coordinates of everything in the drawing, None where no point was measured."""
    series = [{**one, "points": _measured(one["points"])} for one in block["series"]]
    points = [point for one in series for point in one["points"]]
    if not points:
        return None
    left, right, top, bottom = 52, width - 14, 12, height - 26
    labels = _labels(points)
    even = bool(block.get("even"))
    warp, logarithmic = (float, False) if even else _spacing(labels, right - left)
    x_of = _scale(warp, min(labels), max(labels), left, right)
    values = [v for p in points for v in (p["y"], p.get("low"), p.get("high")) if v is not None]
    fraction = all(0 <= v <= 1 for v in values)
    y_ticks = [0, 0.25, 0.5, 0.75, 1] if fraction else _round_steps(min(values), max(values))
    y_of = _scale(float, y_ticks[0], y_ticks[-1], bottom, top)
    seen: Counter[str] = Counter()
    return {
        "width": width,
        "height": height,
        "frame": {"left": left, "right": right, "top": top, "bottom": bottom},
        "x_label": block["x_label"] + (" (logarithmic spacing)" if logarithmic else ""),
        "x_ticks": _ticks(labels, x_of, even),
        "y_ticks": [(round(y_of(v), 1), _text(v, fraction)) for v in y_ticks],
        "series": [_line(one, seen, x_of, y_of, list(labels)) for one in series],
        "stops": [round(x_of(x), 1) for x in labels],
        "rows": [(text, [_cell(one["points"], x, fraction) for one in series]) for x, text in labels.items()],
    }


def _measured(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points that have a value, from left to right."""
    return sorted((p for p in points if p["y"] is not None and math.isfinite(p["y"])), key=lambda p: p["x"])


def _labels(points: list[dict[str, Any]]) -> dict[float, str]:
    """Every x that occurs, ascending, with its text."""
    texts: dict[float, str] = {}
    for point in sorted(points, key=lambda p: p["x"]):
        texts[point["x"]] = str(point.get("label") or texts.get(point["x"]) or f"{point['x']:.4g}")
    return texts


def _spacing(labels: dict[float, str], length: float) -> tuple[Callable[[float], float], bool]:
    """Even spacing, or log(1 + x/x0) where budgets that double would crowd at the left end.

    x0 is the smallest positive x, so zero keeps a place on the axis.
    """
    xs = list(labels)
    positive = [x for x in xs if x > 0]
    if len(positive) < 3 or xs[0] < 0 or positive[-1] / positive[0] < 6:
        return float, False
    span = xs[-1] - xs[0]
    narrowest = min(b - a for a, b in itertools.pairwise(xs)) / span * length
    if narrowest >= LETTER * max(map(len, labels.values())):
        return float, False
    return lambda x: math.log1p(x / positive[0]), True


def _scale(
    warp: Callable[[float], float], low: float, high: float, start: float, end: float
) -> Callable[[float], float]:
    """The map that sends low to start and high to end; a single value goes to the middle."""
    a, b = warp(low), warp(high)
    if a == b:
        return lambda _: (start + end) / 2
    return lambda v: start + (warp(v) - a) / (b - a) * (end - start)


def _round_steps(low: float, high: float) -> list[float]:
    """About five round numbers that enclose [low, high]."""
    rough = (high - low or abs(high) or 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _ticks(labels: dict[float, str], x_of: Callable[[float], float], even: bool) -> list[tuple[float, str]]:
    """The labels that fit side by side; both ends first, then from left to right."""
    short = {
        x: text if len(text) <= 9 else f"..{text[-7:]}" if even else f"{x:.3g}" for x, text in labels.items()
    }
    xs = list(short)
    kept: list[tuple[float, str]] = []
    for x in [xs[-1], *xs[:-1]]:
        room = [abs(x_of(x) - at) - LETTER * (len(short[x]) + len(text)) / 2 for at, text in kept]
        if all(gap > 6 for gap in room):
            kept.append((round(x_of(x), 1), short[x]))
    return sorted(kept)


def _line(
    one: dict[str, Any],
    seen: Counter[str],
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
    stops: list[float],
) -> dict[str, Any]:
    """One series: its line, its band of intervals, its points. Lines of one style differ by their dash."""
    if one["style"] not in STYLES:
        raise AssertionError(f"curve style {one['style']!r} is none of {', '.join(STYLES)}")
    points = [
        {"x": round(x_of(p["x"]), 1), "y": round(y_of(p["y"]), 1), "stop": stops.index(p["x"])}
        for p in one["points"]
    ]
    banded = [p for p in one["points"] if p.get("low") is not None and p.get("high") is not None]
    outline = [(x_of(p["x"]), y_of(p["high"])) for p in banded]
    outline += [(x_of(p["x"]), y_of(p["low"])) for p in reversed(banded)]
    turn = seen[one["style"]]
    seen[one["style"]] += 1
    return {
        "name": one["name"],
        "style": one["style"],
        "turn": turn % 4,
        "line": " ".join(f"{p['x']},{p['y']}" for p in points),
        "band": " ".join(f"{x:.1f},{y:.1f}" for x, y in outline) if len(banded) > 1 else "",
        "points": points,
    }


def _cell(points: list[dict[str, Any]], x: float, fraction: bool) -> str:
    """The value at x with its interval, in words."""
    at = next((p for p in points if p["x"] == x), None)
    if at is None:
        return "–"
    text = _text(at["y"], fraction)
    if at.get("low") is not None and at.get("high") is not None:
        text += f" ({_text(at['low'], fraction)} to {_text(at['high'], fraction)})"
    return text


def _text(value: float, fraction: bool) -> str:
    return percent(value) if fraction else f"{value:.4g}"


def percent(value: float | None) -> str:
    """A fraction as a percentage; what is not quite all or nothing never reads as all or nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    if 0 < value < 0.0005:
        return "<0.1\u00a0%"
    if 0.9995 <= value < 1:
        return ">99.9\u00a0%"
    return f"{100 * value:.1f}".removesuffix(".0") + "\u00a0%"
