"""Processes of this machine, so many at a time, each with its own threads; one computes item after item.

They end when this process does, however it ends. Where one dies its item is lost, and another process takes
its place. The standard library's ProcessPoolExecutor does neither: one dead process breaks the whole pool.
Nor do they run a user's script again, as what multiprocessing spawns does where it has no `__main__` guard.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import LifoQueue
from typing import Any, TypeVar

from ostrich.errors import InputError, WorkerDied
from ostrich.runtime.deadline import Deadline
from ostrich.runtime.executors import Lost

GRACE_SECONDS = 20.0  # for a step to end and its checkpoint to be written
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORKER = "ostrich.runtime.executors.worker"
T = TypeVar("T")
R = TypeVar("R")


class Processes:
    """So many worker processes of so many threads each; without `workers` one for each core."""

    shares_files = True

    def __init__(self, workers: int | None = None, threads: int = 1) -> None:
        self._workers, self._threads = cores() if workers is None else workers, threads
        if self._workers < 1 or threads < 1:
            raise InputError(f"Workers and threads are at least 1; got {workers} and {threads}.")

    def by_all(self, work: Callable[..., R], *own: Any) -> R:
        """See `Executor.by_all`."""
        return work(*own)

    def map(
        self,
        compute: Callable[[T], R],
        items: Iterable[T],
        *,
        lost: Lost[T, R] | None = None,
        log: Path | None = None,
    ) -> Generator[tuple[T, R], None, None]:
        """See `Executor.map`."""
        pool, remaining = _Pool(self._workers, self._threads, log), iter(items)
        running: dict[Future[Any], T] = {}

        def fill() -> None:
            for item in islice(remaining, self._workers - len(running)):
                running[pool.submit(compute, item)] = item

        try:
            fill()
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(future)
                    fill()  # before the answer is dealt with: no worker waits for that
                    yield item, _answer(future, item, lost)
        except (KeyboardInterrupt, GeneratorExit):
            pool.interrupt()
            raise
        finally:
            pool.stop()


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _answer(future: Future[R], item: T, lost: Lost[T, R] | None) -> R:
    try:
        return future.result()
    except WorkerDied as error:
        if lost is None:
            raise
        return lost(item, str(error))


class _Pool:
    """The processes. Each is spoken to by one thread, which sends an item and waits for its answer."""

    def __init__(self, workers: int, threads: int, log: Path | None) -> None:
        self._speakers = ThreadPoolExecutor(workers)
        self._threads, self._log = threads, log
        self._idle: LifoQueue[subprocess.Popen[bytes]] = LifoQueue()
        self._all: list[subprocess.Popen[bytes]] = []

    def submit(self, compute: Callable[[T], R], item: T) -> Future[R]:
        process = self._launch() if self._idle.empty() else self._idle.get()
        return self._speakers.submit(self._asked, process, pickle.dumps((compute, item)))

    def interrupt(self) -> None:
        """Let each write down where it stands, within some seconds."""
        for process in self._all:
            process.send_signal(signal.SIGINT)
        deadline = Deadline(GRACE_SECONDS)
        for process in self._all:
            with suppress(subprocess.TimeoutExpired):
                process.wait(deadline.left)

    def stop(self) -> None:
        """End what is still running."""
        for process in self._all:
            process.kill()
            process.wait()
        self._speakers.shutdown()
        for process in self._all:
            _close(process)

    def _asked(self, process: subprocess.Popen[bytes], question: bytes) -> Any:
        """A process's answer. Raises WorkerDied, and what was raised there."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(question, process.stdin)
            process.stdin.flush()
            fine, answer = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            code = process.wait()
            raise WorkerDied(f"The process ended with code {code}{self._hint}.") from None
        self._idle.put(process)
        if not fine:
            from ostrich.runtime.executors.sending import raised

            raise raised(answer)
        return answer

    @property
    def _hint(self) -> str:
        return "" if self._log is None else f"; see {self._log.name}"

    def _launch(self) -> subprocess.Popen[bytes]:
        threads = dict.fromkeys(THREAD_VARIABLES, str(self._threads))
        path = os.pathsep.join(part for part in sys.path if part)
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
        with Path(os.devnull if self._log is None else self._log).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", WORKER],
                stdin=subprocess.PIPE,  # it closes when this process ends, and the worker with it
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **threads, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for this process, which passes it on once
            )
        self._all.append(process)
        return process


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with suppress(BrokenPipeError):
            stream.close()
