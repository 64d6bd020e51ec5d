"""How far a run is: `progress.json` in its directory, until it is finished.

What a command says of its progress (`events`) is written there about every second, so that whoever asks reads
it (`ostrich status`). It tells of the work and is no part of it: nothing is computed from it, and where it
cannot be written the work goes on.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ostrich.errors import InputError
from ostrich.runtime import distributed, lock, together
from ostrich.runtime.events import Progress, kept_by
from ostrich.runtime.executors import shares
from ostrich.runtime.files import read_json, whole
from ostrich.runtime.schema import PartFile, ProgressFile, validated
from ostrich.runtime.stopwatch import stopwatch

NAME = "progress.json"
EVERY = 1.0  # seconds between two writings


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Within it, what is said of the progress is written to a run directory."""
    with kept_by(_Kept(folder).part):
        yield


def forget(folder: Path) -> None:
    """The run is finished: there is nothing left to tell."""
    (folder / NAME).unlink(missing_ok=True)


def read(folder: Path) -> ProgressFile | None:
    """What was written last; None where there is nothing, or nothing that can be read."""
    try:
        found: ProgressFile = validated(ProgressFile, read_json(folder / NAME), NAME)
    except (OSError, ValueError, InputError):
        return None
    return found if found["processes"] else None


def per_second(part: PartFile) -> float | None:
    """How many are done in a second, without what was found; None where none has been done yet."""
    done, seconds = part["done"] - part["found"], part["updated"] - part["began"]
    return done / seconds if done > 0 and seconds > 0 else None


def is_working(folder: Path, known: ProgressFile | None) -> bool | None:
    """Whether a command is at work in a run directory; None where another machine's is, or was."""
    process = lock.owner(folder)
    if process is None:
        return False
    if known is not None and not known["processes"][0].startswith(f"{socket.gethostname()} "):
        return None
    return _runs(process)


def _runs(process: int) -> bool | None:
    """Whether a process of this machine runs; None where asking would end it."""
    if sys.platform == "win32":
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


class _Kept:
    """The parts that are begun and not over, each within the one before, and their file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._due = folder, 0.0
        self._parts: list[PartFile] = []
        self._processes = [f"{socket.gethostname()} {os.getpid()}"]

    @contextmanager
    def part(self, title: str, total: int, unit: str) -> Iterator[Progress]:
        """What to call with (done, total)."""
        now = time.time()
        part = PartFile(title=title, unit=unit, done=0, total=total, found=0, began=now, updated=now)
        with stopwatch() as watch:  # it is told of what is found on disk
            found = 0.0

            def advance(done: int, total: int) -> None:
                nonlocal found
                if done < part["done"]:  # the next of several rounds
                    part.update({"done": 0, "found": 0, "began": time.time()})
                if watch.found > found:
                    part["found"] += done - part["done"]
                    found = watch.found
                part.update({"done": done, "total": total, "updated": time.time()})
                self._write()

            self._parts.append(part)
            self._write(due=True)
            try:
                yield advance
            finally:
                self._write(due=True)
                self._parts.remove(part)

    def _write(self, *, due: bool = False) -> None:
        if not due and time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY
        if len(self._processes) <= max(together.helpers(), distributed.world() - 1):
            others = distributed.processes()[1:] or together.others()
            self._processes = [*self._processes[:1], *others]
        content = ProgressFile(
            processes=self._processes,
            cluster=shares() and not together.helpers(),
            parts=self._parts,
            updated=time.time(),
        )
        if (self._folder / "run.json").exists():  # without one it would be a folder of something else
            with suppress(OSError), whole(self._folder / NAME) as partial:
                partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
