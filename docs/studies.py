"""The pages under docs/studies and their index: `python docs/studies.py [RUN[=NAME] ...]`.

Of each finished run of `ostrich study` the page is written: its report again, judged from its stored trials;
nothing is computed anew. NAME is the page's name where it is not the study's (a second run of the same study,
on other data). A page names the commit that wrote its rule, which has to be there first.

Then what is no result is brought up to date in every page: the claim, its source, the published numbers. A
page that was judged by a rule which has changed since says so at its head, with the rule as it is now.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import rules

from ostrich.figures.chart import write_charts
from ostrich.runtime.executors import Here
from ostrich.runtime.files import write_text
from ostrich.runtime.runs import read_run
from ostrich.studies import find, report
from ostrich.studies.schema import Study
from ostrich.studies.trials import run_trials
from ostrich.studies.worker import restored

PAGES = Path(__file__).parent / "studies"
INDEX = "README.md"
EARLIER = "*Judged by an earlier rule*"  # how the note of such a page begins


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
        commit = rules.wrote(rules.source(study.name))
        wrote = f"in commit {commit.commit} of {commit.day}" if commit else ""
        text = report.page(study, asked["scale"], trials, findings, facts, f"{name}.png", wrote)
        write_text(PAGES / f"{name}.md", text)


def pages() -> list[Path]:
    """All pages, without the index."""
    return sorted(path for path in PAGES.glob("*.md") if path.name != INDEX)


def study_of(text: str) -> Study:
    """The study of a page: its title begins with the name."""
    return find(text.removeprefix("# ").partition(":")[0])


def refreshed(text: str) -> str:
    """A page with today's claim, source and published numbers; its results and its rule are left alone."""
    study = study_of(text)
    title, *rest = [part for part in text.strip().split("\n\n") if not part.startswith(EARLIER)]
    figure = [part for part in rest if part.startswith("![")]
    rest = [part for part in rest if part not in figure]
    replaced = {"*Claim.*": study.claim, "*Source.*": study.source}
    for start, words in replaced.items():
        rest = [f"{start} {words}" if part.startswith(start) else part for part in rest]
    if "**Published**" in rest:
        at = rest.index("**Published**")
        rest[at : at + 2] = "\n".join(report.published_table(study)).strip().split("\n\n")
    rule = next(part for part in rest if part.startswith("*Rule, "))
    head = [title, *figure] if rule.endswith(study.rule) else [title, _earlier(text, study), *figure]
    return "\n\n".join([*head, *rest]) + "\n"


def _earlier(text: str, study: Study) -> str:
    """The note at the head of a page whose rule is not the study's any more."""
    note = next((part for part in text.split("\n\n") if part.startswith(EARLIER)), None)
    if note is not None:
        known = note.partition(";")[0]
    else:
        commit = rules.before(rules.source(study.name))
        known = EARLIER + (f", that of commit {commit.commit} of {commit.day}" if commit else "")
        known += ", which stands below"
    return f"{known}; since then the rule is: {study.rule}"


def index() -> None:
    """README.md: every page with its question, verdict and reason."""
    lines = ["# Studies", "", "Published experiments, rerun at scale `cpu` (minutes on two cores); made by"]
    lines += ["`docs/studies.py` from run directories of `ostrich study NAME`. Where the data is"]
    lines += ["`cifar10:cifar10-jpeg`, a JPEG copy of CIFAR-10, the figures are not those of CIFAR-10.", ""]
    lines += ["| study | question | verdict |", "| --- | --- | --- |"]
    for path in pages():
        text = path.read_text(encoding="utf-8")
        question = study_of(text).question.replace("|", "\\|")
        lines.append(f"| [{path.stem}]({path.name}) | {question} | {verdict_of(text)} |")
    write_text(PAGES / INDEX, "\n".join(lines) + "\n")


def verdict_of(text: str) -> str:
    """The verdict of a page, and whether it is by an earlier rule."""
    verdict = next(line for line in text.splitlines() if line.startswith("**")).split("**")[1]
    return f"{verdict}, by an earlier rule" if EARLIER in text else verdict


if __name__ == "__main__":
    main(sys.argv[1:])
    for page in pages():
        write_text(page, refreshed(page.read_text(encoding="utf-8")))
    index()
