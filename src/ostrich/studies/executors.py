"""Where trials run: three methods, `submit`, `poll` and `result`.

A task is a folder with `trial.json`; when it is over the folder holds `result.json` or `error.txt`. So an
executor moves no data and keeps no state that matters: what it is asked again after a kill is read from
the folder. `InProcess` runs a task when it is submitted; `Subprocesses` runs a few side by side, each with
its own threads; `cluster.RayTasks` (extra `cluster`) does the same on many machines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ostrich.errors import InputError
from ostrich.runtime.deadline import Deadline
from ostrich.studies import worker

POLL_SECONDS = 0.05
GRACE_SECONDS = 20.0  # for a step to end and its checkpoint to be written
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """What a task came to: its rows, or the error that ended it."""

    rows: list[dict[str, Any]] | None
    error: str = ""


class Executor(Protocol):
    """What runs tasks."""

    def submit(self, folder: Path) -> None:
        """Take a task on; it runs now or when there is room."""

    def poll(self) -> list[Path]:
        """The tasks that have ended since the last call; waits a moment where none has."""

    def result(self, folder: Path) -> Outcome:
        """What an ended task came to."""


class InProcess:
    """Each task runs when it is submitted."""

    def __init__(self) -> None:
        self._ended: list[Path] = []

    def submit(self, folder: Path) -> None:
        worker.work(folder)
        self._ended.append(folder)

    def poll(self) -> list[Path]:
        ended, self._ended = self._ended, []
        return ended

    def result(self, folder: Path) -> Outcome:
        return read(folder)


class Subprocesses:
    """Local processes, `workers` at a time, each with so many threads; one process takes trial after trial.

    They end when this process does, however it ends; interrupted, it lets them write down where they stand.
    Where one dies its trial has failed, and another process takes its place.
    """

    def __init__(self, workers: int, threads: int = 1) -> None:
        if workers < 1 or threads < 1:
            raise InputError(f"Workers and threads are at least 1; got {workers} and {threads}.")
        self._slots, self._threads = workers, threads
        self._waiting: list[Path] = []
        self._idle: list[subprocess.Popen[str]] = []
        self._busy: dict[Path, subprocess.Popen[str]] = {}

    def submit(self, folder: Path) -> None:
        self._waiting.append(folder)
        self._start()

    def poll(self) -> list[Path]:
        ended = []
        for folder, process in list(self._busy.items()):
            dead = process.poll() is not None  # asked before the folder, so that a last result is seen
            over = (folder / worker.RESULT).exists() or (folder / worker.ERROR).exists()
            if dead and not over:
                worker.fail(folder, f"The process ended with code {process.returncode}; see {worker.LOG}.")
            if dead or over:
                ended.append(folder)
                del self._busy[folder]
                (_close if dead else self._idle.append)(process)
        self._start()
        if not ended:
            time.sleep(POLL_SECONDS)
        return ended

    def result(self, folder: Path) -> Outcome:
        return read(folder)

    def interrupt(self) -> None:
        """Let each write down where it stands, within some seconds."""
        for process in self._busy.values():
            process.send_signal(signal.SIGINT)
        deadline = Deadline(GRACE_SECONDS)
        for process in self._busy.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(deadline.left)

    def stop(self) -> None:
        """End what is still running."""
        for process in (*self._busy.values(), *self._idle):
            process.kill()
            process.wait()
            _close(process)
        self._busy.clear()
        self._idle.clear()
        self._waiting.clear()

    def _start(self) -> None:
        while self._waiting and len(self._busy) < self._slots:
            folder = self._waiting.pop(0)
            process = self._idle.pop() if self._idle else self._launch(folder.parent)
            assert process.stdin is not None
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()
            self._busy[folder] = process

    def _launch(self, place: Path) -> subprocess.Popen[str]:
        threads = dict.fromkeys(THREAD_VARIABLES, str(self._threads))
        path = os.pathsep.join(part for part in sys.path if part)
        with (place / worker.LOG).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ostrich.studies.worker"],
                stdin=subprocess.PIPE,  # it closes when this process ends, and the worker with it
                stdout=log,
                stderr=log,
                text=True,
                env={**os.environ, **threads, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for this process, which passes it on once
            )


def _close(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


@contextmanager
def subprocesses(workers: int, threads: int = 1) -> Iterator[Subprocesses]:
    """The same, stopped at the end, also after an exception."""
    executor = Subprocesses(workers, threads)
    try:
        yield executor
    except KeyboardInterrupt:
        executor.interrupt()
        raise
    finally:
        executor.stop()


def read(folder: Path) -> Outcome:
    """What a task's folder says of its end."""
    if (rows := worker.rows(folder)) is not None:
        return Outcome(rows)
    error = folder / worker.ERROR
    return Outcome(None, error.read_text(encoding="utf-8") if error.exists() else "It has not ended.")
