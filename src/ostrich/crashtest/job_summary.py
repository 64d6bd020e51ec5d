"""A check as a page of Markdown, for the place where a CI system shows what a job found."""

from __future__ import annotations

from collections.abc import Sequence

from ostrich.crashtest.answer import Measurement, Results
from ostrich.crashtest.report.templating import points
from ostrich.figures.curve import percent

SIGNS = {True: "passed", False: "**failed**", None: "**not judged**"}
SPECIAL = "\\`*_{}[]<>|#~!$@"  # what Markdown, or a renderer of it, would take for more than a character


def job_summary(results: Results, lines: Sequence[Measurement]) -> str:
    """The verdict, the gates, what changed since the baseline, all figures, and what to do next."""
    parts = [f"## Crash test of {_plain(results['model']['name'])}", _plain(results["verdict"])]
    if results["gates"]:
        rows = [
            [_plain(gate["text"]), SIGNS[gate["passed"]], _plain(gate["sentence"])]
            for gate in results["gates"]
        ]
        parts.append(_table(["gate", "", ""], rows))
    since = results.get("since")
    if since and (moved := [row for row in since["rows"] if row["beyond"]]):
        rows = [
            [_plain(row["figure"]), percent(row["first"]), percent(row["second"]), points(row["difference"])]
            for row in moved
        ]
        parts += ["Beyond the baseline's interval:", _table(["figure", "then", "now", "change"], rows)]
    rows = [
        [
            _plain(line["name"]),
            percent(line["value"]),
            "" if line["low"] is None else f"{percent(line['low'])} to {percent(line['high'])}",
            "" if line["n"] is None else str(line["n"]),
            line["verdict"],
        ]
        for line in lines
    ]
    parts.append(_table(["figure", "value", "95 % interval", "n", "verdict"], rows))
    if results["next_commands"]:
        parts.append("Next:")
        parts += [f"{_plain(one['text'])}\n\n{_code(one['command'])}" for one in results["next_commands"]]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """A text, of which nothing is taken for markup: it may be a stranger's."""
    return "".join(f"\\{c}" if c in SPECIAL else " " if c in "\r\n" else c for c in text)


def _code(command: str) -> str:
    """A command as a block of code, whatever backticks it has."""
    return "\n".join(f"    {line}" for line in command.splitlines())
