"""Tasks on a Ray cluster (extra `cluster`). Ray decides where and when.

Its machines share no folder with this one. A worker that dies is replaced, and its item started again up to
twice. A local cluster is started unless RAY_ADDRESS names one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ostrich.errors import InputError, MissingExtra, WorkerDied
from ostrich.runtime.executors import Lost
from ostrich.runtime.executors.local import THREAD_VARIABLES

RETRIES = 2
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

    def map(
        self,
        compute: Callable[[T], R],
        items: Iterable[T],
        *,
        lost: Lost[T, R] | None = None,
        log: Path | None = None,
    ) -> Generator[tuple[T, R], None, None]:
        """See `Executor.map`; the cluster, which takes all items at once, is let go of at the end."""
        ray, threads = self._ray, self._threads
        size = None if self._workers is None else self._workers * threads
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": size}
        environment = {"env_vars": dict.fromkeys(THREAD_VARIABLES, str(threads))}
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)
        try:
            task = ray.remote(num_cpus=threads, max_retries=RETRIES, runtime_env=environment)(_task)
            running: dict[Any, T] = {task.remote(compute, item): item for item in items}
            while running:
                for reference in ray.wait(list(running))[0]:
                    item = running.pop(reference)
                    try:
                        answer = ray.get(reference)
                    except ray.exceptions.RayTaskError:  # an error of `compute`, not of a worker
                        raise
                    except ray.exceptions.RayError as error:  # the worker died more often than it may
                        sentence = f"{type(error).__name__}: {error}"
                        if lost is None:
                            raise WorkerDied(sentence) from None
                        answer = lost(item, sentence)
                    yield item, answer
        finally:
            ray.shutdown()


def _task(compute: Callable[[T], R], item: T) -> R:
    return compute(item)
