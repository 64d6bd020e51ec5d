"""Many runs on one page: how their figures went, a line for each run and a curve for each kind of figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ostrich.crashtest.answer import Measurement, Results
from ostrich.crashtest.blocks import Curve, Point, Series
from ostrich.crashtest.comparable import images_of
from ostrich.crashtest.report.page import answers_of, lines_of, read_check
from ostrich.crashtest.report.templating import write_page
from ostrich.crashtest.summary import CLEAN

KINDS = (  # of figures, by how their names begin: what their curve is called
    ("robust accuracy at linf", "robust accuracy (linf)"),
    ("robust accuracy at l2", "robust accuracy (l2)"),
    ("certified accuracy at linf", "certified accuracy (linf)"),
    ("certified accuracy at l2", "certified accuracy (l2)"),
    ("accuracy under corruption", "accuracy under corruption"),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run as the overview shows it; `report` is the path of its page, relative to the overview."""

    name: str
    report: str
    run: dict[str, Any]
    results: Results
    figures: dict[str, Measurement]


def write_overview(target: Path, folders: Sequence[Path]) -> Path:
    """Write one page about the checks in `folders`, in that order, and return its path.

    Raises InputError where one of them holds no finished check.
    """
    lines = [_line(target, folder) for folder in folders]
    content = {"lines": lines, "curves": _curves(lines), "same_images": _same_images(lines)}
    return write_page(target, "overview.html.j2", content)


def _line(target: Path, folder: Path) -> Line:
    run, results = read_check(folder)
    found = {line["name"]: line for line in lines_of(results, answers_of(folder, results))}
    report = PurePosixPath(Path(os.path.relpath(folder / "index.html", target.parent)))
    return Line(name=folder.name, report=str(report), run=run, results=results, figures=found)


def _same_images(lines: Sequence[Line]) -> bool:
    return len({images_of(line.run) for line in lines}) == 1


def _curves(lines: Sequence[Line]) -> list[Curve]:
    """A curve for each kind of figure that two runs have, and the clean accuracy beside it."""
    found = []
    for beginning, label in KINDS:
        names = sorted({n for line in lines for n in line.figures if n.startswith(beginning)}, key=_budget)
        series = [_series(lines, name, name.removeprefix(beginning).strip(), "attack") for name in names]
        series = [one for one in series if len(one.points) > 1]
        if series:
            clean = _series(lines, CLEAN, "clean", "other")
            found.append(
                Curve(x_label="run", y_label=label, series=[*([clean] if clean.points else []), *series])
            )
    return found


def _budget(name: str) -> float:
    """The number at the end of a figure's name, by which it is ordered: 1/255, 0.5, severity 3."""
    part, _, whole = name.split()[-1].partition("/")
    return float(part) / float(whole or 1)


def _series(lines: Sequence[Line], name: str, title: str, style: Any) -> Series:
    points = []
    for place, line in enumerate(lines, 1):
        one = line.figures.get(name)
        if one is not None and one["value"] is not None:
            points.append(Point(x=place, y=one["value"], low=one["low"], high=one["high"], label=str(place)))
    return Series(name=title, style=style, points=points)
