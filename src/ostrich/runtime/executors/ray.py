"""Tasks on a Ray cluster (extra `cluster`). Ray decides where and when.

Its machines need share no folder with this one. A worker that dies is replaced, and its item started again up
to twice. A local cluster is started unless RAY_ADDRESS names one. What items have in common is sent once, and
so many items are told at a time as keep all workers busy, and show Ray whether more would be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from ostrich.errors import InputError, MissingExtra, WorkerDied
from ostrich.runtime.executors import Lost
from ostrich.runtime.executors.local import THREAD_VARIABLES
from ostrich.runtime.executors.sending import answered, opened, packed, unpacked
from ostrich.runtime.memory import kernels_kept

RETRIES = 2
AHEAD, FEWEST = 2, 16  # items told for each processor of the cluster; at least
T = TypeVar("T")
R = TypeVar("R")


class RayTasks:
    """Each item a Ray task of so many threads. Raises MissingExtra.

    `workers` is how many a local cluster has, by default one for each core.
    """

    shares_files = False

    def __init__(self, workers: int | None = None, threads: int = 1) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtra("Ray is not installed: pip install 'ostrich-vision[cluster]'.") from None
        if (workers is not None and workers < 1) or threads < 1:
            raise InputError(f"Workers and threads are at least 1; got {workers} and {threads}.")
        self._ray, self._workers, self._threads = ray, workers, threads

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Within it the cluster is held on to; one that is held already is not let go of."""
        if self._ray.is_initialized():
            yield
            return
        size = None if self._workers is None else self._workers * self._threads
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": size}
        self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)
        try:
            yield
        finally:
            self._ray.shutdown()

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
        ray, threads, remaining = self._ray, self._threads, iter(items)
        environment = {"env_vars": dict.fromkeys(THREAD_VARIABLES, str(threads)) | kernels_kept()}
        with self.connected():
            task = ray.remote(num_cpus=threads, max_retries=RETRIES, runtime_env=environment)(_task)
            common, job = ray.put(packed(compute)), uuid4().hex
            running: dict[Any, T] = {}

            def fill() -> None:
                most = max(FEWEST, AHEAD * int(ray.cluster_resources().get("CPU", 1)) // threads)
                for item in islice(remaining, max(0, most - len(running))):
                    running[task.remote(job, common, packed(item))] = item

            try:
                fill()
                while running:
                    for reference in ray.wait(list(running))[0]:
                        item = running.pop(reference)
                        answer = self._answer(reference, item, lost)
                        fill()
                        yield item, answer
            finally:
                for reference in running:
                    ray.cancel(reference, force=True)

    def _answer(self, reference: Any, item: T, lost: Lost[T, R] | None) -> Any:
        ray = self._ray
        try:
            found = ray.get(reference)
        except ray.exceptions.RayTaskError:  # an error of ours, not of a worker
            raise
        except ray.exceptions.RayError as error:  # the worker died more often than it may
            sentence = f"{type(error).__name__}: {error}"
            if lost is None:
                raise WorkerDied(sentence) from None
            return lost(item, sentence)
        return opened(found)


_opened: dict[str, Callable[[Any], Any]] = {}  # in a worker: what the items of the last job have in common


def _task(job: str, common: bytes, item: bytes) -> bytes:
    """In a worker: the answer to an item, to be opened."""

    def compute(item: Any) -> Any:
        if job not in _opened:
            _opened.clear()
            _opened[job] = unpacked(common)
        return _opened[job](item)

    return answered(compute, item)
