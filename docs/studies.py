"""The pages under docs/studies, from finished runs: `python docs/studies.py RUN [RUN=NAME ...]`.

A page is the run's report again, judged from its stored trials; nothing is computed anew. NAME is the page's
name where it is not the study's (a second run of the same study, on other data).
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from ostrich.figures.chart import write_charts
from ostrich.runtime.executors import Here
from ostrich.runtime.files import write_text
from ostrich.runtime.runs import read_run
from ostrich.studies import find, report
from ostrich.studies.trials import run_trials
from ostrich.studies.worker import restored

PAGES = Path(__file__).parent / "studies"


class Nothing(Here):
    """An executor for runs that are complete."""

    def map(self, compute: Any, items: Iterable[Any], **_: Any) -> Generator[Any, None, None]:
        for order in items:
            raise SystemExit(f"{order.folder} is not done: run the study again, with this version.")
        yield from ()


def main(arguments: list[str]) -> None:
    """Write the pages of these runs."""
    for argument in arguments:
        folder, _, name = argument.partition("=")
        run = read_run(folder)
        study, asked = find(run["results"]["study"]), run["asked"]
        spec = restored(study, asked["spec"])
        trials = run_trials(study, spec, Path(folder) / "trials", Nothing())
        findings = report.judged(study, spec, trials)
        assert findings is not None
        name = name or study.name
        write_charts(PAGES / f"{name}.png", findings.charts)
        facts = report.facts(run["command"], asked, run["versions"], run["results"]["seconds"])
        write_text(
            PAGES / f"{name}.md", report.page(study, asked["scale"], trials, findings, facts, f"{name}.png")
        )


def index() -> None:
    """README.md: every page with its question, verdict and reason."""
    lines = ["# Studies", "", "Published experiments, rerun at scale `cpu` (minutes on two cores); made by"]
    lines += ["`docs/studies.py` from run directories of `ostrich study NAME`. Where the data is"]
    lines += ["`cifar10:cifar10-jpeg`, a JPEG copy of CIFAR-10, the figures are not those of CIFAR-10.", ""]
    lines += ["| study | question | verdict |", "| --- | --- | --- |"]
    for path in sorted(PAGES.glob("*.md")):
        if path.name != "README.md":
            head, _, verdict, *_ = path.read_text(encoding="utf-8").splitlines()
            question = head.partition(": ")[2].replace("|", "\\|")
            lines.append(f"| [{path.stem}]({path.name}) | {question} | {verdict.split('**')[1]} |")
    write_text(PAGES / "README.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
    index()
