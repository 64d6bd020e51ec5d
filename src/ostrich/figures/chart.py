"""Curves as a picture file. Where everything lies is computed as for the report (`curve.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ostrich.errors import InputError
from ostrich.figures.curve import layout

WIDTH, HEIGHT, LEGEND = 640, 300, 20  # units; the legend has a line of its own for each series
TITLE = 24  # units
SCALE = 2  # pixels a unit
TEXT = 11  # units
COLOURS = ("#b3261e", "#1f5fa8", "#2e7d32", "#8e5ba6", "#c77700", "#5f6368", "#00838f", "#6d4c41")
INK, PALE = "#333333", "#dddddd"
DASH = 5  # units of a dashed line that are drawn, and then left out


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines with their intervals: for each name its points, with "x", "y", "low", "high", "label".

    Those named in `dashed` are drawn so: a theory, a published curve. Names that are alike up to the first
    comma, "he, measured" and "he, expected", have one colour. `even` keeps x from logarithmic spacing.
    """

    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Mapping[str, Any]]]
    title: str = ""
    dashed: frozenset[str] = frozenset()
    even: bool = False


def write_chart(path: Path, *, x_label: str, y_label: str, series: dict[str, list[dict[str, Any]]]) -> None:
    """One chart as a PNG. Raises InputError where no point has a value."""
    write_charts(path, [Chart(x_label=x_label, y_label=y_label, series=series)])


def write_charts(path: Path, charts: Sequence[Chart]) -> None:
    """Charts as one PNG, from top to bottom. Raises InputError where one has no point with a value."""
    drawn = [_drawn(chart) for chart in charts]
    page = Image.new("RGB", (WIDTH * SCALE, sum(one.height for one in drawn)), "white")
    top = 0
    for one in drawn:
        page.paste(one, (0, top))
        top += one.height
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, format="PNG")


def _drawn(chart: Chart) -> Image.Image:
    lines = [
        {"name": name, "style": "other", "points": [dict(point) for point in points]}
        for name, points in chart.series.items()
    ]
    block = {"x_label": chart.x_label, "y_label": chart.y_label, "series": lines, "even": chart.even}
    drawing = layout(block, WIDTH, HEIGHT)
    if drawing is None:
        raise InputError(f"There is nothing to draw of {', '.join(chart.series)}: no point has a value.")
    title = TITLE if chart.title else 0
    height = title + HEIGHT + 24 + LEGEND * len(lines)
    page = Image.new("RGB", (WIDTH * SCALE, height * SCALE), "white")
    draw = ImageDraw.Draw(page, "RGBA")
    font = ImageFont.load_default(TEXT * SCALE)

    def scaled(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * SCALE, (y + title) * SCALE) for x, y in points]

    def text(x: float, y: float, words: str, anchor: str = "mm") -> None:
        draw.text(scaled([(x, y)])[0], words, fill=INK, font=font, anchor=anchor)

    frame = drawing["frame"]
    if chart.title:
        text(frame["left"], -title / 2, chart.title, "lm")
    for y, words in drawing["y_ticks"]:
        draw.line(scaled([(frame["left"], y), (frame["right"], y)]), fill=PALE, width=SCALE)
        text(frame["left"] - 6, y, words.replace("\u00a0", " "), "rm")
    for x, words in drawing["x_ticks"]:
        text(x, frame["bottom"] + 10, words)
    text((frame["left"] + frame["right"]) / 2, HEIGHT + 8, f"{drawing['x_label']}; upwards: {chart.y_label}")
    families = list(dict.fromkeys(line["name"].split(", ")[0] for line in drawing["series"]))
    for i, line in enumerate(drawing["series"]):
        colour = COLOURS[families.index(line["name"].split(", ")[0]) % len(COLOURS)]
        if line["band"]:
            draw.polygon(scaled(_pairs(line["band"])), fill=f"{colour}22")
        dashed = line["name"] in chart.dashed
        y = HEIGHT + 30 + LEGEND * i
        key = [(float(frame["left"]), float(y)), (frame["left"] + 24.0, float(y))]
        for path in (_pairs(line["line"]), key):
            for piece in _dashes(path) if dashed else [path]:
                if len(piece) > 1:
                    draw.line(scaled(piece), fill=colour, width=2 * SCALE, joint="curve")
        for x, y_of in scaled(_pairs(line["line"])):
            draw.ellipse((x - 2 * SCALE, y_of - 2 * SCALE, x + 2 * SCALE, y_of + 2 * SCALE), fill=colour)
        text(frame["left"] + 32, y, line["name"], "lm")
    return page


def _dashes(points: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The pieces of a path that a dashed line shows."""
    pieces = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        for i in range(int(length // DASH) + 1):
            if i % 2 == 0 and length > 0:
                a, b = i * DASH / length, min(1.0, (i + 1) * DASH / length)
                pieces.append([(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in (a, b)])
    return pieces


def _pairs(words: str) -> list[tuple[float, float]]:
    """ "1,2 3,4" as [(1, 2), (3, 4)]."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in words.split())]
