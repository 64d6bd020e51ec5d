"""Trials in their folders: `python -m ostrich.studies.worker`, which reads folders from standard input.

`trial.json` says what to do, `result.json` holds the rows when it is done, `error.txt` the traceback
where it failed. Long trainings keep `checkpoint.pt` and go on from it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from dataclasses import fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ostrich.runtime.files import read_json, write_text
from ostrich.runtime.resumable import Computation, Piece, peek
from ostrich.runtime.stopwatch import stopwatch
from ostrich.studies import find
from ostrich.studies.schema import Spec, Study

Task = dict[str, Any]  # a trial and all that its rows depend on, as JSON
PIECE = Piece("result")
TRIAL, RESULT, ERROR, LOG = "trial.json", "result.json", "error.txt", "log.txt"


def work(folder: Path) -> None:
    """Run the trial of a folder. Its error is written, not raised; an interrupt is raised."""
    asked = read_json(folder / TRIAL)
    study = find(asked["study"])
    with stopwatch() as spent:
        try:
            found = study.run(restored(study, asked["spec"]), asked["trial"], folder)
        except Exception as error:
            fail(folder, "".join(traceback.format_exception(error)))
            return
    _kept(folder, asked).save(PIECE, {"rows": found}, spent.seconds)
    (folder / ERROR).unlink(missing_ok=True)


def fail(folder: Path, error: str) -> None:
    """Write down why a trial failed."""
    write_text(folder / ERROR, error)


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


def _listen(folders: SimpleQueue[Path]) -> None:
    """Folders from standard input; where it closes there is nobody to work for any more."""
    for line in sys.stdin:
        folders.put(Path(line.rstrip("\n")))
    os._exit(0)


if __name__ == "__main__":
    asked: SimpleQueue[Path] = SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    try:
        while True:
            work(asked.get())
    except KeyboardInterrupt:  # it stands in its checkpoint
        os._exit(130)
