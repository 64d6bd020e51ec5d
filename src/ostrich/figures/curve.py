"""A curve inside of the report: its drawing as inline SVG by matplotlib, and its values as a table's rows.

A block is `{"kind": "curve", "x_label", "y_label", "series": [{"name", "style", "points": [{"x", "y", "low",
"high", "label"}]}]}`; the label of a point is its x as a person writes it ("8/255").

Of matplotlib's SVG only what lies where is kept: paths, points and texts, in groups whose class says what
they are. Colours, dashes and fonts are the page's style sheet's, so that they follow light and dark; nothing
is referred to, so that many drawings can stand in one page.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any
from xml.etree import ElementTree

from ostrich.figures.chart import (
    Chart,
    draw,
    is_fraction,
    is_logarithmic,
    labels_of,
    matplotlib_style,
    measured,
    thin_ticks,
)

STYLES = ("attack", "noise", "other")
TURNS = 4  # dashes by which lines of one style differ
UNITS = 72  # of an SVG by matplotlib, an inch
RADIUS = 4  # units of a point
TEXT = 12.5  # units; the style sheet's size of text


@dataclass(frozen=True)
class Curve:
    """A block of the report as its template shows it."""

    block: Mapping[str, Any]

    @cached_property
    def chart(self) -> Chart:
        """What is drawn. Series are known by their place: two may have one name."""
        points = {str(i): measured(one["points"]) for i, one in enumerate(self.block["series"])}
        return Chart(
            x_label=self.block["x_label"],
            y_label=self.block["y_label"],
            series=points,
            between=self.block.get("between"),
        )

    @property
    def drawable(self) -> bool:
        """Whether any point was measured."""
        return any(self.chart.series.values())

    @property
    def x_label(self) -> str:
        """What x is, and how it is spaced."""
        return self.chart.x_label + (" (logarithmic spacing)" if is_logarithmic(self.chart) else "")

    @property
    def series(self) -> list[tuple[str, str]]:
        """Name and class of each series; lines of one style differ by their turn, which is a dash."""
        seen: Counter[str] = Counter()
        found = []
        for one in self.block["series"]:
            if one["style"] not in STYLES:
                raise AssertionError(f"curve style {one['style']!r} is none of {', '.join(STYLES)}")
            found.append((one["name"], f"series {one['style']} turn-{seen[one['style']] % TURNS}"))
            seen[one["style"]] += 1
        return found

    @property
    def columns(self) -> list[tuple[str, str]]:
        """What the legend and the table tell: the series, and what lies between the first two."""
        between = self.chart.between
        return [*self.series, *([(between, "series between")] if between else [])]

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """For each x its label and the value of each series with its interval, in words."""
        fraction = is_fraction(self.chart)
        lines = [{p["x"]: p for p in points} for points in self.chart.series.values()]
        found = []
        for x, label in labels_of(self.chart).items():
            cells = [_cell(points.get(x), fraction) for points in lines]
            if self.chart.between:
                both = x in lines[0] and x in lines[1]
                cells.append(_text(lines[1][x]["y"] - lines[0][x]["y"], fraction) if both else "–")
            found.append((label, cells))
        return found

    def drawing(self, width: int, height: int) -> tuple[list[float], str]:
        """The x of every row, and the content of an SVG of that size in units, as markup."""
        with matplotlib_style():
            from matplotlib.figure import Figure

            figure = Figure(figsize=(width / UNITS, height / UNITS), dpi=UNITS, layout="constrained")
            axes = figure.add_subplot()
            draw(axes, self.chart)
            axes.set_xlabel("")  # it stands under the drawing, where a long one can wrap
            axes.tick_params(labelsize=TEXT, length=0)
            for line in axes.get_ygridlines():
                line.set_gid("grid")
            axes.spines["bottom"].set_gid("base")
            thin_ticks(figure)
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None})
            stops = [(x, 0.5) for x in labels_of(self.chart)]
            places = [round(float(x), 1) for x in axes.transData.transform(stops)[:, 0]]
        classes = {"grid": "grid", "base": "grid base", "between": "series between"}
        for i, (_, name) in enumerate(self.series):
            classes |= {f"line-{i}": name, f"band-{i}": f"{name} band"}
        kept = ElementTree.Element("g")
        _keep(ElementTree.fromstring(text.getvalue()), kept, classes)
        return places, ElementTree.tostring(kept, encoding="unicode")


def _keep(element: ElementTree.Element, into: ElementTree.Element, classes: Mapping[str, str]) -> None:
    """Copy what lies where, without ids, colours and references; a marker becomes a circle."""
    for child in element:
        kind = child.tag.rpartition("}")[2]
        if kind in ("defs", "metadata"):
            continue
        target = into
        if kind == "g" and (name := classes.get(child.get("id", ""))):
            target = ElementTree.SubElement(into, "g", {"class": name})
        elif kind == "path" and into.get("class"):
            ElementTree.SubElement(into, "path", {"d": " ".join(child.get("d", "").split())})
        elif kind == "use":
            place = {"cx": child.get("x", ""), "cy": child.get("y", ""), "r": str(RADIUS)}
            ElementTree.SubElement(into, "circle", place)
        elif kind == "text":
            place = {key: value for key, value in child.attrib.items() if key in ("x", "y", "transform")}
            anchor = next(
                (a for a in ("middle", "end") if f"text-anchor: {a}" in child.get("style", "")), "start"
            )
            ElementTree.SubElement(into, "text", {**place, "text-anchor": anchor}).text = child.text
        _keep(child, target, classes)


def _cell(point: Mapping[str, Any] | None, fraction: bool) -> str:
    """The value at x with its interval, in words."""
    if point is None:
        return "–"
    text = _text(point["y"], fraction)
    if point.get("low") is not None and point.get("high") is not None:
        text += f" ({_text(point['low'], fraction)} to {_text(point['high'], fraction)})"
    return text


def _text(value: float, fraction: bool) -> str:
    return percent(value) if fraction else f"{value:.4g}"


def percent(value: float | None) -> str:
    """A fraction as a percentage; what is not quite all or nothing never reads as all or nothing."""
    if value is None or not isfinite(value):
        return "–"
    if 0 < value < 0.0005:
        return "<0.1\u00a0%"
    if 0.9995 <= value < 1:
        return ">99.9\u00a0%"
    return f"{100 * value:.1f}".removesuffix(".0") + "\u00a0%"
