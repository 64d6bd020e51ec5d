"""Directives that show published numbers and verdicts, so that no page repeats a number by hand.

```{published} NAME NAME ...       rows of src/ostrich/published.toml, each with its source
```{verdicts} STUDY STUDY ...      src/ostrich/studies/verdicts.json: published, here, verdict
```{verdicts} STUDY:ROW ...        of each page of a study that row alone, without the verdict of all
```{measured} NAME NAME ...        docs/lecture/measured.json: our own figures, each with its command
```{published} none                a sentence that says that none can stand beside it
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from ostrich.errors import UnknownName
from ostrich.published import all_published
from ostrich.studies import VERDICTS

MEASURED = Path(__file__).parents[1] / "lecture" / "measured.json"
NONE = "No published number can stand beside this."


class Published(Directive):
    """A table of published numbers, by their names; `*` stands for anything."""

    required_arguments = 1
    optional_arguments = 99

    def run(self) -> list[nodes.Node]:
        if self.arguments == ["none"]:
            return _parsed(self, [NONE])
        lines = [
            "| number | published | unit | source | read at the source |",
            "| --- | ---: | --- | --- | --- |",
        ]
        for pattern in self.arguments:
            found = [name for name in all_published() if fnmatchcase(name, pattern)]
            if not found:
                raise self.error(str(UnknownName("published number", pattern, all_published())))
            lines += [_row(name) for name in found]
        return _parsed(self, lines)


def _row(name: str) -> str:
    one = all_published()[name]
    cells = (f"`{name}`", f"{one.value:g}", one.unit, one.source, "yes" if one.read else "no")
    return f"| {' | '.join(cells)} |"


class Verdicts(Directive):
    """A table for each page of these studies: figure, published, here; and the verdict above it."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        told = json.loads(VERDICTS.read_text(encoding="utf-8"))
        rows: dict[str, list[str]] = {}
        for study, _, row in (word.partition(":") for word in self.arguments):
            pages = [one for one in told if study in (one["study"], one["page"])]
            if not pages:
                raise self.error(str(UnknownName("study", study, {one["study"] for one in told})))
            if row:
                known = {cells[0].partition(":")[0] for one in pages for cells in one["compared"]}
                if row not in known:
                    raise self.error(str(UnknownName(f"row of {study}", row, known)))
                rows.setdefault(study, []).append(row)
                continue
            for one in pages:
                lines += _verdict(one)
        for study, wanted in rows.items():
            lines += rows_of(told, study, wanted)
        return _parsed(self, lines)


def rows_of(told: list[dict[str, Any]], study: str, wanted: list[str]) -> list[str]:
    """The lines of these rows on every page of a study, in one table."""
    found = [
        (f"[{one['page']}](/studies/{one['page']}.md)", *row)
        for one in told
        if study in (one["study"], one["page"])
        for row in one["compared"]
        if row[0].partition(":")[0] in wanted
    ]
    table = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in found]
    return ["| page | figure | published | here |", "| --- | --- | --- | --- |", *table, ""]


def _verdict(one: dict[str, Any]) -> list[str]:
    earlier = ", by an earlier rule" if one["earlier_rule"] else ""
    head = f"**{one['verdict'].capitalize()}{earlier}**: study [{one['page']}](/studies/{one['page']}.md), "
    head += f"data `{one['data']}`, n = {one['n']}, scale `{one['scale']}`."
    rows = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in one["compared"]]
    table = ["", "| figure | published | here |", "| --- | --- | --- |", *rows] if rows else []
    return [head, *table, ""]


class Measured(Directive):
    """Our own figures, with the command that gave them."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        kept = json.loads(MEASURED.read_text(encoding="utf-8"))
        lines = ["| here | figures |", "| --- | --- |"]
        for name in self.arguments:
            if name not in kept:
                raise self.error(str(UnknownName("measured figure", name, kept)))
            figures = ", ".join(f"{what} {_short(value)}" for what, value in kept[name]["figures"].items())
            lines.append(f"| `{kept[name]['command']}` | {figures} |")
        return _parsed(self, lines)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _parsed(directive: Directive, lines: list[str]) -> list[nodes.Node]:
    holder = nodes.container()
    directive.state.nested_parse(StringList(lines, "numbers"), directive.content_offset, holder)
    return holder.children


def setup(app: Any) -> dict[str, bool]:
    """The directives; a page is read again when a number changes."""
    app.add_directive("published", Published)
    app.add_directive("verdicts", Verdicts)
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
