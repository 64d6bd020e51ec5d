"""Where work is computed: one interface for this process, processes of this machine, and a Ray cluster.

    Here()                     this process, one item after the other
    local.Processes(workers)   processes of this machine, so many at a time
    ray.RayTasks(workers)      tasks on a Ray cluster (extra `cluster`)

An item's answer does not depend on who computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from ostrich.errors import UnknownName

T = TypeVar("T")
R = TypeVar("R")
Lost = Callable[[T, str], R]  # what stands for the answer to an item whose worker died, and how it did
NAMES = ("inprocess", "local", "ray")


class Executor(Protocol):
    """What computes items. `shares_files` says whether it sees the files of this process."""

    shares_files: bool

    def map(
        self,
        compute: Callable[[T], R],
        items: Iterable[T],
        *,
        lost: Lost[T, R] | None = None,
        log: Path | None = None,
    ) -> Generator[tuple[T, R], None, None]:
        """Compute the items, in any order, and hand each back with its answer when it is done.

        The next item is taken only when there is room for it. Outside of this process `compute` is a function
        of a module, and items and answers can be pickled. `log` is a file for what worker processes print.
        An item whose worker died is answered by `lost`. Raises WorkerDied where there is no `lost`; an
        interrupt lets the workers write down where they stand.
        """


class Here:
    """This process, one item after the other."""

    shares_files = True

    def map(
        self,
        compute: Callable[[T], R],
        items: Iterable[T],
        *,
        lost: Lost[T, R] | None = None,
        log: Path | None = None,
    ) -> Generator[tuple[T, R], None, None]:
        for item in items:
            yield item, compute(item)


def executor(name: str, workers: int | None = None) -> Executor:
    """The executor of that name, with so many workers (None: one for each core).

    Raises UnknownName, InputError for less than one worker, MissingExtra where Ray is not installed.
    """
    if name == "inprocess":
        return Here()
    if name == "local":
        from ostrich.runtime.executors.local import Processes

        return Processes(workers)
    if name == "ray":
        from ostrich.runtime.executors.ray import RayTasks

        return RayTasks(workers)
    raise UnknownName("executor", name, ("auto", *NAMES))
