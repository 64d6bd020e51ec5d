"""Trials on a Ray cluster (extra `cluster`): the executor's three methods over Ray tasks.

A trial travels as its JSON and comes back as its files, so the machines share no folder; a checkpoint stays
where it was. A worker that dies is replaced, and its trial started again up to twice. Ray decides where and
when; a local cluster is started unless RAY_ADDRESS names one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ostrich.errors import MissingExtra
from ostrich.runtime.files import write_bytes
from ostrich.studies import executors, worker
from ostrich.studies.fitting import CHECKPOINT

RETRIES = 2
WAIT_SECONDS = 0.2


class RayTasks:
    """Each trial a Ray task of so many threads."""

    def __init__(self, threads: int = 1) -> None:
        import ray

        self._ray = ray
        environment = {"env_vars": dict.fromkeys(executors.THREAD_VARIABLES, str(threads))}
        options = {"num_cpus": threads, "max_retries": RETRIES, "runtime_env": environment}
        self._work = ray.remote(**options)(_work)
        self._running: dict[Any, Path] = {}

    def submit(self, folder: Path) -> None:
        text = (folder / worker.TRIAL).read_text(encoding="utf-8")
        self._running[self._work.remote(text)] = folder

    def poll(self) -> list[Path]:
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=WAIT_SECONDS)
        ended = []
        for reference in ready:
            folder = self._running.pop(reference)
            try:
                files: dict[str, bytes] = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:  # the worker died more often than it may
                worker.fail(folder, f"{type(error).__name__}: {error}")
            else:
                last = files.pop(worker.RESULT, None)
                for name, content in files.items():
                    write_bytes(folder / name, content)
                if last is not None:  # when it is there, all is
                    write_bytes(folder / worker.RESULT, last)
            ended.append(folder)
        return ended

    def result(self, folder: Path) -> executors.Outcome:
        return executors.read(folder)


@contextmanager
def ray_tasks(workers: int | None = None, threads: int = 1) -> Iterator[RayTasks]:
    """The executor on a cluster, which is let go of at the end. Raises MissingExtra.

    `workers` is how many a local cluster has, by default one for each core.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("Ray is not installed: pip install 'ostrich-vision[cluster]'.") from None
    here = (
        {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": None if workers is None else workers * threads}
    )
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)
    try:
        yield RayTasks(threads)
    finally:
        ray.shutdown()


def _work(text: str) -> dict[str, bytes]:
    """A trial on whatever machine this is: the files that it leaves."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / worker.TRIAL).write_text(text, encoding="utf-8")
        worker.work(folder)
        left = [path for path in folder.iterdir() if path.is_file() and not path.name.endswith(CHECKPOINT)]
        return {path.name: path.read_bytes() for path in left if path.name != worker.TRIAL}
