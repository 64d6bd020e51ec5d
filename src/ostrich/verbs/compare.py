"""`ostrich.compare`: the figures of two runs side by side."""

from __future__ import annotations

import csv
import html
import io
import json
from pathlib import Path
from typing import Any

from ostrich.crashtest.answer import Changed, Gate
from ostrich.crashtest.comparison import differences
from ostrich.crashtest.gates import judge_baseline, remark_on
from ostrich.errors import InputError
from ostrich.runtime.files import json_line, write_text
from ostrich.runtime.runs import check_writable, read_run
from ostrich.verbs.attack.input_specific import AttackResult
from ostrich.verbs.outcome import Outcome, folder_of

FILE = "comparison.csv"


class Comparison(Outcome):
    """`rows` of figures that two runs have: [{figure, first, second, difference, beyond, ...}, ...].

    `beyond` says whether the second lies outside the first's 95 % interval, None where it has none, or where
    either is not known; the intervals are `first_low` to `first_high`, and `second_low` to `second_high`.
    `gate` says whether the second is worse: {passed, sentence, ...}, None where it cannot be judged. `names`
    are those of the runs; `remark` says where they saw other images, or where one was edited, else it is "".
    The command writes no run directory; `save(folder)` writes the rows as a table.
    """

    def __init__(self, names: tuple[str, str], rows: list[Changed], gate: Gate, remark: str) -> None:
        self.name, self.names, self.rows, self.gate = "compare", names, rows, gate
        self.remark = remark
        beyond = sum(row["beyond"] is True for row in rows)
        self.figures = {"figures": len(rows), "beyond_the_interval": beyond}
        self.folder = None

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write the rows as comparison.csv. Raises InputError where there is one, unless `force`."""
        target = Path(folder)
        check_writable(target)
        if (target / FILE).exists() and not force:
            raise InputError(f"{str(target / FILE)!r} exists; choose another folder, or pass force=True.")
        text = io.StringIO()
        table = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_text(target / FILE, text.getvalue())
        return target

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """Each row as text: figure, first, second, difference, and whether it is beyond the interval."""
        return [
            (
                row["figure"],
                f"{row['first']:.4g}",
                f"{row['second']:.4g}",
                f"{row['difference']:+.4g}",
                _judged(row),
            )
            for row in self.rows
        ]

    def _repr_html_(self) -> str:
        head = ("figure", *self.names, "difference", "")
        lines = [f"<tr>{''.join(f'<th>{html.escape(name)}</th>' for name in head)}</tr>"]
        for row in self.table():
            lines.append(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>")
        remark = f"<p>{self.remark}</p>" if self.remark else ""
        return f"<table>{''.join(lines)}</table>{remark}"


def compare(first: str | Path | Outcome, second: str | Path | Outcome) -> Comparison:
    """Put two runs, `first` and `second`, side by side: folders, their run.json, or what verbs returned.

    Raises InputError where there is no such run, and where the two have no figure in common.
    """
    (ours, before), (theirs, after) = _figures(first), _figures(second)
    rows = differences(before, after)
    if not rows:
        raise InputError(f"{ours!r} and {theirs!r} have no figure in common; are both finished?")
    gate = judge_baseline(ours, before, after)
    return Comparison((ours, theirs), rows, gate, remark_on(before, after))


def _judged(row: Changed) -> str:
    """What a row of the table says of its difference."""
    if row["beyond"] is None:
        return "" if row["first_low"] is None else "not known"
    return "beyond the interval" if row["beyond"] else ""


def _figures(run: str | Path | Outcome) -> tuple[str, dict[str, Any]]:
    """What a run is called, and its content; of an outcome what it holds, whatever lies in its folder now."""
    if not isinstance(run, Outcome):
        return str(run), read_run(folder_of(run))
    known: dict[str, Any] = {"results": json.loads(json_line(run.figures))}  # as run.json has them
    if run.run is not None:
        known |= {"asked": run.run.asked, **run.run.facts}
    elif isinstance(run, AttackResult):
        known |= {"asked": run.question.facts(), "data": run.question.samples.describe()}
    return run.name, known
