"""A study's trials, run: keyed by the hash of what they are, skipped when done, failures kept apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ostrich.runtime.events import Progress, silent
from ostrich.runtime.executors import Executor
from ostrich.runtime.facts import versions
from ostrich.runtime.files import write_json
from ostrich.studies import worker
from ostrich.studies.schema import Done, Spec, Study, Trial
from ostrich.studies.stored import Stored, fingerprints


@dataclass(kw_only=True)
class Trials:
    """What is done, and what failed: {trial, error}; in the order of the plan."""

    done: list[Done] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


def run_trials(
    study: Study,
    spec: Spec,
    folder: Path,
    executor: Executor,
    progress: Progress = silent,
    stored: Mapping[str, Stored] | None = None,
) -> Trials:
    """Run every trial that is not done, each in a folder below `folder`.

    A trial that failed does not stop the others; asked again, it is tried again. One whose fingerprint is
    among the `stored` ones is done, and its rows are written to its folder. Raises InputError where `stored`
    has trials and this study has no fingerprints.
    """
    plan = study.trials(spec)
    places = [folder / key(study, spec, trial) for trial in plan]
    asked = {place: task(study, spec, trial) for trial, place in zip(plan, places)}
    if stored:
        for place, mark in zip(places, fingerprints(study, spec, plan)):
            if mark in stored and worker.rows(place, asked[place]) is None:
                write_json(place / worker.TRIAL, asked[place])
                worker.keep(place, asked[place], stored[mark].rows, stored[mark].seconds)
    waiting = [place for place in asked if worker.rows(place, asked[place]) is None]

    def orders() -> Iterator[worker.Order]:
        for place in waiting:
            (place / worker.ERROR).unlink(missing_ok=True)
            write_json(place / worker.TRIAL, asked[place])
            yield worker.Order(place, (place / worker.TRIAL).read_text(encoding="utf-8"))

    over = len(asked) - len(waiting)
    progress(over, len(asked))
    work = worker.work if executor.shares_files else worker.work_elsewhere
    with closing(executor.map(work, orders(), lost=worker.lost, log=folder / worker.LOG)) as computed:
        for order, files in computed:
            worker.take(order, files)
            over += 1
            progress(over, len(asked))
    return _sorted(plan, places)


def task(study: Study, spec: Spec, trial: Trial) -> worker.Task:
    """All that a trial's rows depend on, as JSON. The number of seeds is not part of it."""
    words = asdict(spec)
    words.pop("seeds")
    if words["device"] == "cpu":
        words.pop("device")
    found = {"study": study.name, "versions": versions(), "spec": words, "trial": trial}
    return json.loads(json.dumps(found))


def key(study: Study, spec: Spec, trial: Trial) -> str:
    """The name of a trial's folder: a hash of its task."""
    text = json.dumps(task(study, spec, trial), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _sorted(plan: Sequence[Trial], places: Sequence[Path]) -> Trials:
    found = Trials()
    for trial, place in zip(plan, places):
        rows = worker.rows(place)
        if rows is not None:
            found.done.append(Done(trial=trial, rows=rows, folder=place))
        else:
            found.failed.append({"trial": trial, "error": worker.reason(place), "folder": place.name})
    return found
