"""What a study leaves: `report.md`, `figure.png`, `results.csv`, and the results of its run.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ostrich.figures.chart import write_charts
from ostrich.published import published
from ostrich.runtime.files import write_text
from ostrich.studies.schema import Done, Findings, Spec, Study, Table
from ostrich.studies.trials import Trials

BEFORE = "written before the run"  # of the rule
UNFINISHED = "**Unfinished**"  # how a page begins that has no verdict yet
COMPARED = "Published, and here"  # title of the table of a page from which the index is made


def results(
    study: Study, scale: str, spec: Spec, trials: Trials, findings: Findings | None
) -> dict[str, Any]:
    """The `results` of run.json; the verdict is null where it could not be judged."""
    return {
        "study": study.name,
        "scale": scale,
        "verdict": findings.verdict if findings else None,
        "because": findings.because if findings else "Not judged: trials are missing.",
        "seeds": spec.seeds,
        "trials": len(trials.done),
        "failed": trials.failed,
        "figures": dict(findings.figures) if findings else {},
    }


def judged(study: Study, spec: Spec, trials: Trials) -> Findings | None:
    """The findings; None where trials failed and what is left does not suffice."""
    try:
        return study.judge(spec, trials.done)
    except Exception:
        if not trials.failed:
            raise
        return None


def write(
    folder: Path, study: Study, scale: str, trials: Trials, findings: Findings | None, facts: dict[str, Any]
) -> None:
    """Write the three files. `facts` are lines on how it was run: command, seeds, threads, seconds."""
    write_text(folder / "results.csv", _csv(trials.done))
    if findings is not None and findings.charts:
        write_charts(folder / "figure.png", findings.charts)
    shown = [(str(path.relative_to(folder)), words) for path, words in pictures(study, trials).items()]
    write_text(folder / "report.md", page(study, scale, trials, findings, facts, "figure.png", shown))


def pictures(study: Study, trials: Trials) -> dict[Path, str]:
    """The study's pictures, each of the first trial that has it, and what it shows."""
    found = {}
    for name, words in study.pictures.items():
        paths = (one.folder / name for one in trials.done)
        path = next((path for path in paths if path.exists()), None)
        if path is not None:
            found[path] = words
    return found


def page(
    study: Study,
    scale: str,
    trials: Trials,
    findings: Findings | None,
    facts: dict[str, Any],
    figure: str,
    pictures: Sequence[tuple[str, str]] = (),
    written: str = BEFORE,
    unfinished: str = "",
) -> str:
    """The report in Markdown, the figure first; `figure` is where its picture lies, `pictures` where those of
    its trials do, and what they show.

    `written` says when the rule was, by which commit where that is known; `unfinished` how far the study
    came, where trials are left: then there is no verdict, and the findings are those of what is there.
    """
    parts = [f"# {study.name}: {study.question}", ""]
    if findings is not None and findings.charts:
        parts += [f"![{study.question}](" + figure + ")", ""]
    if unfinished:
        so_far = f" So far: {findings.because}" if findings else ""
        parts += [f"{UNFINISHED} at scale `{scale}`. {unfinished}{so_far}", ""]
    elif findings is None:
        parts += ["**Not judged**: trials failed, and without them the rule cannot be applied.", ""]
    else:
        parts += [f"**{findings.verdict.capitalize()}** at scale `{scale}`. {findings.because}", ""]
    if findings is not None and findings.compared:
        parts += _table(
            Table(title=COMPARED, columns=("figure", "published", "here"), rows=findings.compared)
        )
    parts += [line for path, words in pictures for line in (f"![{words}]({path})", "", words, "")]
    if scale == "smoke":
        parts += ["Smoke only shows that everything runs; its verdict means nothing.", ""]
    parts += [f"*Claim.* {study.claim}", "", f"*Source.* {study.source}", ""]
    parts += [f"*What is different here.* {study.differs}", ""]
    parts += [f"*Rule, {written}.* {study.rule}", ""]
    if findings is not None:
        for table in findings.tables:
            parts += _table(table)
        parts += [line for note in findings.notes for line in (note, "")]
    elif trials.done:
        parts += _table(_ends(trials.done))
    if study.published:
        parts += published_table(study)
    if trials.failed and not unfinished:
        rows = [(json.dumps(one["trial"]), one["error"], one["folder"]) for one in trials.failed]
        parts += _table(Table(title="Failed trials", columns=("trial", "error", "folder"), rows=rows))
    parts += ["**How it was run**", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    return "\n".join(parts)


def facts(
    command: str,
    asked: Mapping[str, Any],
    versions: Mapping[str, str],
    seconds: float,
    weights: str | None = None,
) -> dict[str, Any]:
    """How it was run, as lines of a report; `seconds` of all trials, `weights` how a network's were made."""
    settings = {name: value for name, value in asked["spec"].items() if name != "model"}
    return {
        "command": f"`{command}`",
        **({} if weights is None else {"weights": weights}),
        "settings": ", ".join(f"{name}={value}" for name, value in settings.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "CPU hours": f"{seconds / 3600:.2f}, of all trials together, by the clock on a shared machine",
    }


def published_table(study: Study) -> list[str]:
    """The lines of the table of published numbers."""
    found = [(name, published(name)) for name in study.published]
    rows = [
        (name, f"{one.value:g}", one.unit, one.source, "yes" if one.read else "no") for name, one in found
    ]
    columns = ("number", "value", "unit", "source", "read at the source")
    return _table(Table(title="Published", columns=columns, rows=rows))


def _ends(done: Sequence[Done]) -> Table:
    """The last row of each trial that is done, of a study that cannot be judged yet."""
    ends = [{**one.trial, **(one.rows[-1] if one.rows else {})} for one in done]
    columns = tuple(dict.fromkeys(name for row in ends for name, value in row.items() if value is not None))
    words = tuple(name.replace("_", " ") for name in columns)
    return Table(
        title="Trials so far, the last row of each",
        columns=words,
        rows=[[row.get(name) for name in columns] for row in ends],
    )


def _table(table: Table) -> list[str]:
    head = " | ".join(_cell(column) for column in table.columns)
    lines = [f"**{table.title}**", "", f"| {head} |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in table.rows]
    return [*lines, ""]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _csv(done: Sequence[Done]) -> str:
    """Every row of every trial, with its trial's fields."""
    rows = [{**one.trial, **row} for one in done for row in one.rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
