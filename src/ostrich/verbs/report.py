"""`ostrich.report`: the pages of crash tests, made anew, and one page about many of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ostrich.crashtest.report import write_overview, write_report
from ostrich.errors import InputError
from ostrich.runtime import events
from ostrich.runtime.runs import check_file, read_run
from ostrich.verbs.check import CheckResult
from ostrich.verbs.outcome import folder_of

OVERVIEW = "overview.html"

OneRun = str | Path | CheckResult


def report(runs: OneRun | Sequence[OneRun], *, out: str | Path | None = None) -> Path:
    """Write the pages of crash tests anew, and one about all of them where there are many.

    `runs` are folders, their run.json, or what `ostrich.check` returned, the oldest first; those of other
    commands, and checks that are not finished, are left out and said. The page about many shows how each
    figure went, with its interval, and links to the others; it is `out`, or overview.html in the folder that
    they share. Nothing is computed anew; runs of earlier versions are read.

    Returns the page: that of the one run, or that about all. Raises InputError where there is no such run, or
    none of a crash test.
    """
    asked = [runs] if isinstance(runs, OneRun) else list(runs)
    folders = [folder for folder in map(_folder, asked) if _is_check(folder)]
    if not folders:
        raise InputError("None of these is the run of a finished `ostrich check`.")
    target = Path(out) if out is not None else _shared(folders) / OVERVIEW
    check_file(target)
    pages = [write_report(folder) for folder in folders]
    if len(folders) == 1 and out is None:
        return pages[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    return write_overview(target, folders)


def _folder(run: OneRun) -> Path:
    path = folder_of(run)
    return path.parent if path.is_file() else path


def _is_check(folder: Path) -> bool:
    """Whether it holds a finished check; that it does not is said. Raises InputError where it is no run."""
    results = read_run(folder)["results"]
    found = isinstance(results, dict) and "verdict" in results and "probes" in results
    if not found:
        events.say(f"left out: {str(folder)!r} holds no finished `ostrich check`")
    return found


def _shared(folders: Sequence[Path]) -> Path:
    """The folder in which all of them lie."""
    return Path(os.path.commonpath([folder.absolute().parent for folder in folders]))
