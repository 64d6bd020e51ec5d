"""A curve as a picture file. Where everything lies is computed as for the report (`crashtest/curve.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ostrich.crashtest.curve import layout
from ostrich.errors import InputError

WIDTH, HEIGHT, LEGEND = 640, 300, 20  # units; the legend has a line of its own for each series
SCALE = 2  # pixels a unit
TEXT = 11  # units
COLOURS = ("#b3261e", "#1f5fa8", "#2e7d32", "#8e5ba6", "#c77700", "#5f6368")
INK, PALE = "#333333", "#dddddd"


def write_chart(path: Path, *, x_label: str, y_label: str, series: dict[str, list[dict[str, Any]]]) -> None:
    """Lines with their intervals as a PNG: for each name its points, with "x", "y", "low", "high", "label".

    Raises InputError where no point has a value.
    """
    lines = [{"name": name, "style": "other", "points": points} for name, points in series.items()]
    drawing = layout({"x_label": x_label, "y_label": y_label, "series": lines}, WIDTH, HEIGHT)
    if drawing is None:
        raise InputError(f"There is nothing to draw of {', '.join(series)}: no point has a value.")
    height = HEIGHT + 24 + LEGEND * len(lines)
    page = Image.new("RGB", (WIDTH * SCALE, height * SCALE), "white")
    draw = ImageDraw.Draw(page, "RGBA")
    font = ImageFont.load_default(TEXT * SCALE)

    def text(x: float, y: float, words: str, anchor: str = "mm") -> None:
        draw.text((x * SCALE, y * SCALE), words, fill=INK, font=font, anchor=anchor)

    frame = drawing["frame"]
    for y, words in drawing["y_ticks"]:
        draw.line(_scaled([(frame["left"], y), (frame["right"], y)]), fill=PALE, width=SCALE)
        text(frame["left"] - 6, y, words.replace("\u00a0", " "), "rm")
    for x, words in drawing["x_ticks"]:
        text(x, frame["bottom"] + 10, words)
    text((frame["left"] + frame["right"]) / 2, HEIGHT + 8, f"{drawing['x_label']}; upwards: {y_label}")
    for i, line in enumerate(drawing["series"]):
        colour = COLOURS[i % len(COLOURS)]
        if line["band"]:
            draw.polygon(_scaled(_pairs(line["band"])), fill=f"{colour}22")
        points = _scaled(_pairs(line["line"]))
        if len(points) > 1:
            draw.line(points, fill=colour, width=2 * SCALE, joint="curve")
        for x, y in points:
            draw.ellipse((x - 2 * SCALE, y - 2 * SCALE, x + 2 * SCALE, y + 2 * SCALE), fill=colour)
        y = HEIGHT + 30 + LEGEND * i
        draw.line(_scaled([(frame["left"], y), (frame["left"] + 24, y)]), fill=colour, width=2 * SCALE)
        text(frame["left"] + 32, y, line["name"], "lm")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, format="PNG")


def _pairs(words: str) -> list[tuple[float, float]]:
    """ "1,2 3,4" as [(1, 2), (3, 4)]."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in words.split())]


def _scaled(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * SCALE, y * SCALE) for x, y in points]
