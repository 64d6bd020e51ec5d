"""A trial in its folder: what an executor computes.

`trial.json` says what to do, `result.json` holds the rows when it is done, `error.txt` the traceback
where it failed. Long trainings keep `checkpoint.pt` and go on from it.
"""

from __future__ import annotations

import json
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ostrich.runtime.files import read_json, write_bytes, write_text
from ostrich.runtime.resumable import ABOUT, Computation, Piece, peek
from ostrich.runtime.stopwatch import stopwatch
from ostrich.studies import find
from ostrich.studies.schema import Spec, Study

Task = dict[str, Any]  # a trial and all that its rows depend on, as JSON
Files = Mapping[str, bytes]
PIECE = Piece("result")
TRIAL, RESULT, ERROR, LOG = "trial.json", "result.json", "error.txt", "log.txt"


@dataclass(frozen=True)
class Order:
    """The trial of a folder, and the text of its `trial.json`."""

    folder: Path
    text: str


def work(order: Order) -> Files:
    """Run the trial in its folder: there are no files to bring there."""
    run(order.folder)
    return {}


def work_elsewhere(order: Order) -> Files:
    """Run the trial on a machine that has no such folder: the files that it leaves, without checkpoints."""
    from ostrich.studies.fitting import CHECKPOINT

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / TRIAL).write_text(order.text, encoding="utf-8")
        run(folder)
        left = [path for path in folder.iterdir() if path.is_file() and not path.name.endswith(CHECKPOINT)]
        return {path.name: path.read_bytes() for path in left if path.name != TRIAL}


def take(order: Order, files: Files) -> None:
    """Write what `work_elsewhere` left; the result last: when it is there, all is."""
    for name in sorted(files, key=lambda name: name == RESULT):
        write_bytes(order.folder / name, files[name])


def run(folder: Path) -> None:
    """Run the trial of a folder. Its error is written, not raised; an interrupt is raised."""
    asked = read_json(folder / TRIAL)
    study = find(asked["study"])
    with stopwatch() as spent:
        try:
            found = study.run(restored(study, asked["spec"]), asked["trial"], folder)
        except Exception as error:
            write_text(folder / ERROR, "".join(traceback.format_exception(error)))
            return
    keep(folder, asked, found, spent.seconds)


def keep(folder: Path, asked: Task, found: list[dict[str, Any]], seconds: float) -> None:
    """Write a finished trial's rows, which took so long."""
    _kept(folder, asked).save(PIECE, {"rows": found}, seconds)
    (folder / ERROR).unlink(missing_ok=True)


def seconds(folder: Path) -> float:
    """How long a finished trial took."""
    about = read_json(folder / RESULT)[ABOUT]
    return float(about["seconds"])


def lost(order: Order, reason: str) -> Files:
    """What is left of a trial whose worker died: why."""
    return {ERROR: reason.encode()}


def reason(folder: Path) -> str:
    """Why the trial of a folder failed: the last line of its error."""
    error = folder / ERROR
    lines = error.read_text(encoding="utf-8").strip().splitlines() if error.exists() else []
    return lines[-1] if lines else "no reason is known"


def rows(folder: Path, asked: Task | None = None) -> list[dict[str, Any]] | None:
    """The rows of a trial that is done, else None. Raises OtherComputation where another one was `asked`."""
    if asked is None:
        found = peek(folder / RESULT)
    else:
        found = _kept(folder, asked).load(PIECE)
    return None if found is None else found["rows"]


def _kept(folder: Path, asked: Task) -> Computation:
    """What decides a trial's rows is all of what is asked."""
    facts = {name: json.dumps(value, sort_keys=True) for name, value in asked.items()}
    return Computation(folder, facts, "json")


def restored(study: Study, words: dict[str, Any]) -> Spec:
    """A study's settings from their JSON."""
    kind = type(next(iter(study.specs.values())))
    known = {f.name for f in fields(kind)}
    return kind(**{name: _tuples(value) for name, value in words.items() if name in known})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value
