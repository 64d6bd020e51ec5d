"""Where work is computed: one interface for this process, others of this machine, and a cluster.

    Here()                     this process, one item after the other
    local.Processes(workers)   processes of this machine, so many at a time
    ranks.Ranks()              this process and the others that torchrun started
    ray.RayTasks(workers)      tasks on a Ray cluster (extra `cluster`)

    with computing_on(Ranks()):
        current().map(compute, items)

An item's answer does not depend on who computes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ostrich.errors import UnknownName
from ostrich.runtime.deadline import time_left

T = TypeVar("T")
R = TypeVar("R")
Lost = Callable[[T, str], R]  # what stands for the answer to an item whose worker died, and how it did
NAMES = ("inprocess", "local", "ray")


class Unseen(Exception):
    """What an item names is not seen by whoever computes it: it is asked again with its content."""


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

    def by_all(self, work: Callable[..., R], *own: Any) -> R:
        """The answer of `work(*own)`, computed in this process.

        Under torchrun every other process runs `work()` at the same time, all of them one process group
        (`distributed`). Outside of this process `work` is an instance of a class of a module that can be
        pickled. Where it cannot, this process runs it alone.
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

    def by_all(self, work: Callable[..., R], *own: Any) -> R:
        return work(*own)


_current: ContextVar[Executor] = ContextVar("executor", default=Here())  # noqa: B039 - it has no state


@contextmanager
def computing_on(chosen: Executor) -> Iterator[None]:
    """Within it, what can be shared is computed there."""
    token = _current.set(chosen)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Executor:
    """Where to compute: here where there is a deadline, for how far one comes is not to be shared."""
    return _current.get() if time_left() == math.inf else Here()


def shares() -> bool:
    """Whether others than this process compute."""
    return not isinstance(_current.get(), Here)


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
