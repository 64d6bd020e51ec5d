"""`ostrich compare RUN RUN`: the figures of two runs side by side."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ostrich.cli import options as o

NAME = "compare"
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="a run directory or its run.json")]


def command(first: RunArgument, second: RunArgument, as_json: o.Json = False) -> None:
    """Put two runs side by side; differences beyond the first one's interval are marked."""
    from rich.table import Table

    from ostrich.cli.session import console
    from ostrich.errors import InputError
    from ostrich.runtime.runs import read_run

    runs = [read_run(first), read_run(second)]
    rows = differences(*(run.get("results") or {} for run in runs))
    if not rows:
        raise InputError(f"{first!r} and {second!r} have no figure in common; are both finished?")
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("figure", first, second, "difference", ""):
        table.add_column(column, justify="left" if column in ("figure", "") else "right")
    for row in rows:
        mark = {True: "beyond the interval", False: "", None: ""}[row["beyond"]]
        table.add_row(
            row["figure"], f"{row['first']:.4g}", f"{row['second']:.4g}", f"{row['difference']:+.4g}", mark
        )
    console.print(table)


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures that both results have: [{figure, first, second, difference, beyond}, ...].

    `beyond` says whether the second lies outside the first's 95 % interval, None where it has none.
    """
    from ostrich.crashtest.gates import comparable

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


def _flat(results: dict[str, Any]) -> dict[str, float]:
    """The plain numbers of a result, nested ones by their path."""
    found: dict[str, float] = {}
    for name, value in results.items():
        if name == "distance" and isinstance(value, dict):
            found |= {f"{name} {k}": v for k, v in value.items() if isinstance(v, int | float)}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name.replace("_", " ")] = value
    return found
