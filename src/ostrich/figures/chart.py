"""Lines with their intervals, drawn by matplotlib: as a picture here, inside of the report in `curve.py`.

matplotlib is imported where something is drawn. It is asked for its own defaults, whatever a user's
matplotlibrc says, so that the same points give the same picture on one machine.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostrich.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = Mapping[str, Any]  # "x", "y"; may have "low", "high", and "label": x as a person writes it ("8/255")

PIXELS, SIDE = 160, 10.0  # an inch; inches of a side at most
LONE, STACKED, CELL = (
    (8.0, 4.4),
    (8.0, 3.8),
    (5.0, 3.4),
)  # inches of one chart; of each of two; of each of more
COLOURS = ("#b3261e", "#1f5fa8", "#2e7d32", "#8e5ba6", "#c77700", "#5f6368", "#00838f", "#6d4c41")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, PALE = "#333333", "#dddddd"
LEGEND = 24  # letters in a line of the legend
ROOM = 0.12  # of the height of a share's chart, in which a band's name can be written
LONG, SLOPE = 9, 35  # tick labels of more letters slope by so many degrees
LOOK = {
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "grid.color": PALE,
    "legend.borderaxespad": 0,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "legend.loc": "upper left",
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "svg.fonttype": "none",  # text stays text
    "text.color": INK,
    "text.parse_math": False,  # a stranger's "$" is a dollar
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.major.size": 0,
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines with their intervals: for each name its points, with "x", "y", "low", "high", "label".

    Those named in `dashed` are drawn so: a theory, a published curve. Names that are alike up to the first
    comma, "he, measured" and "he, expected", have one colour, and where they are dashed alike too, marks of
    their own. `even` keeps x from logarithmic spacing.
    `fraction`: y is a share and is drawn on the full scale, 0 to 100 %, so that no axis flatters; None means
    that it is one where all values lie in [0, 1]. `between` names what lies between the first two lines: it
    is drawn as a band, and no interval is.
    """

    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Point]]
    title: str = ""
    dashed: frozenset[str] = frozenset()
    even: bool = False
    fraction: bool | None = None
    between: str | None = None


def write_chart(path: Path, *, x_label: str, y_label: str, series: Mapping[str, Sequence[Point]]) -> None:
    """One chart as a PNG. Raises InputError where no point has a value."""
    write_charts(path, [Chart(x_label=x_label, y_label=y_label, series=series)])


def write_charts(path: Path, charts: Sequence[Chart]) -> None:
    """Charts as one PNG of at most 1,600 pixels a side: one or two below one another, more side by side.

    Raises InputError where one has no point with a value.
    """
    columns = 1 if len(charts) < 3 else 2
    rows = -(-len(charts) // columns)
    width, height = LONE if len(charts) == 1 else STACKED if columns == 1 else CELL
    shown = [_measured(chart) for chart in charts]
    with matplotlib_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width * columns, min(height * rows, SIDE)), dpi=PIXELS, layout="constrained")
        for i, chart in enumerate(shown):
            axes = figure.add_subplot(rows, columns, i + 1)
            draw(axes, chart)
            axes.set_title(chart.title)
            axes.set_ylabel(chart.y_label)
            if len(chart.series) > 1:
                axes.legend(bbox_to_anchor=(1.02, 1))  # beside the lines
        thin_ticks(figure)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", metadata={"Software": None})


@contextmanager
def matplotlib_style() -> Iterator[None]:
    """Within it matplotlib draws as this project wants it; after it as before."""
    from matplotlib import style

    with style.context(["default", LOOK]):
        yield


def draw(axes: Axes, chart: Chart) -> None:
    """Draw the lines, the bands and the x axis of a chart.

    In an SVG the line of series i is the group "line-i", its band "band-i"; "between" lies between two.
    """
    if chart.between is not None:
        _fill_between(axes, chart)
    families = list(dict.fromkeys(_family(name) for name in chart.series))
    alike: Counter[tuple[str, bool]] = Counter()  # lines so far of one colour and dash
    for i, (name, points) in enumerate(chart.series.items()):
        family = _family(name)
        kind = (family, name in chart.dashed)
        colour = COLOURS[families.index(family) % len(COLOURS)]
        dashes, inside = ("dashed", "white") if name in chart.dashed else ("solid", colour)
        look: dict[str, Any] = {
            "color": colour,
            "linestyle": dashes,
            "marker": MARKS[alike[kind] % len(MARKS)],
            "markerfacecolor": inside,
        }
        alike[kind] += 1
        banded = [p for p in points if _finite(p.get("low")) and _finite(p.get("high"))]
        if len(banded) > 1 and chart.between is None:
            outline = [(p["x"], p["low"]) for p in banded] + [(p["x"], p["high"]) for p in reversed(banded)]
            axes.fill(*zip(*outline), color=colour, alpha=0.13, linewidth=0, gid=f"band-{i}")
        xs, ys = [p["x"] for p in points], [p["y"] for p in points]
        axes.plot(xs, ys, **look, label=textwrap.fill(name, LEGEND), gid=f"line-{i}")
    if is_fraction(chart):
        from matplotlib.ticker import PercentFormatter

        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u00a0%"))
    for line in axes.lines:
        line.set_clip_on(False)  # half of a point at the edge would be lost
    axes.margins(x=0.02)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_zorder(1)  # below points on it
    _draw_x_axis(axes, chart)


def _fill_between(axes: Axes, chart: Chart) -> None:
    """The band between the first two lines, and its name where it is widest, if there is room."""
    lower, upper, *_ = chart.series.values()
    outline = [(p["x"], p["y"]) for p in (*lower, *reversed(upper))]
    axes.fill(*zip(*outline), color=INK, alpha=0.12, linewidth=0, gid="between", label=chart.between)
    tops = {p["x"]: p["y"] for p in upper}
    gaps = {p["x"]: (p["y"], tops[p["x"]]) for p in lower if p["x"] in tops}
    if not gaps:
        return
    x, (low, high) = max(gaps.items(), key=lambda one: one[1][1] - one[1][0])
    if high - low > ROOM and chart.between:
        axes.text(x, (low + high) / 2, chart.between, ha="center", va="center")


def is_fraction(chart: Chart) -> bool:
    """Whether y is drawn as a share, 0 to 100 %."""
    if chart.fraction is not None:
        return chart.fraction
    values = [p.get(key) for points in chart.series.values() for p in points for key in ("y", "low", "high")]
    return all(0 <= value <= 1 for value in values if value is not None)


def is_logarithmic(chart: Chart) -> bool:
    """Whether x is spaced logarithmically: where values that double would crowd at the left end."""
    xs = list(labels_of(chart))
    positive = [x for x in xs if x > 0]
    if chart.even or len(positive) < 3 or xs[0] < 0 or positive[-1] / positive[0] < 6:
        return False
    gaps = [b - a for a, b in pairwise(xs)]
    return min(gaps) < 0.05 * (xs[-1] - xs[0]) and max(gaps) > 3 * min(gaps)


def labels_of(chart: Chart) -> dict[float, str]:
    """Every x that occurs, ascending, with its text."""
    texts: dict[float, str] = {}
    for point in sorted((p for points in chart.series.values() for p in points), key=lambda p: p["x"]):
        texts[point["x"]] = str(point.get("label") or texts.get(point["x"]) or f"{point['x']:.4g}")
    return texts


def measured(points: Sequence[Point]) -> list[Point]:
    """The points that have a value, from left to right."""
    return sorted((p for p in points if _finite(p["y"])), key=lambda p: p["x"])


def _measured(chart: Chart) -> Chart:
    series = {name: measured(points) for name, points in chart.series.items()}
    if not any(series.values()):
        raise InputError(f"There is nothing to draw of {', '.join(series)}: no point has a value.")
    return replace(chart, series=series)


def _draw_x_axis(axes: Axes, chart: Chart) -> None:
    """Numbers at round places; where x has other names (8/255, a layer) or is logarithmic, at the points."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    labels, logarithmic = labels_of(chart), is_logarithmic(chart)
    axes.set_xlabel(chart.x_label + (" (logarithmic spacing)" if logarithmic else ""))
    if not logarithmic and all(text == f"{x:.4g}" for x, text in labels.items()):
        whole = all(float(x).is_integer() for x in labels)
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=whole))
        return
    if logarithmic and 0 in labels:
        axes.set_xscale("symlog", linthresh=min(x for x in labels if x > 0), linscale=0.3)
        axes.set_xlim(left=0)
    elif logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(labels), list(labels.values()))
    if max(map(len, labels.values())) > LONG:
        for text in axes.get_xticklabels():
            text.set(rotation=SLOPE, ha="right", rotation_mode="anchor")


def thin_ticks(figure: Figure) -> None:
    """Leave out named ticks whose labels would run into one another; the last and the first stay."""
    from matplotlib.ticker import FixedLocator

    figure.draw_without_rendering()  # now it is known where everything lies
    for axes in figure.axes:
        if not isinstance(axes.xaxis.get_major_locator(), FixedLocator):
            continue
        texts = axes.get_xticklabels()
        kept: list[tuple[float, float, float, str]] = []
        for place, text in sorted(zip(axes.get_xticks(), texts), key=lambda one: one[1] is not texts[-1]):
            box, size = text.get_window_extent(), float(text.get_fontsize()) / 72 * figure.dpi  # pixels
            left = box.x1 - 1.8 * size if text.get_rotation() else box.x0 - size  # a sloping one ends below
            if all(left > end or box.x1 < start for start, end, *_ in kept):
                kept.append((left, box.x1, place, text.get_text()))
        kept.sort()
        axes.set_xticks([place for *_, place, _ in kept], [words for *_, words in kept])


def _family(name: str) -> str:
    """What lines of one colour have in common."""
    return name.split(", ")[0]


def _finite(value: float | None) -> bool:
    return value is not None and isfinite(value)
