"""What a computation says while it runs, to whoever listens: how far it is, and sentences.

    with progress("pgd on 64 images", 64) as advance:
        advance(done, total)
    say("its answers are random: each is asked for 20 times")
    detail("64 images a batch")

Nobody listens unless `listening` says who: the command line draws bars and prints sentences, details with
`--verbose`. A run directory keeps how far its command is, too (`kept_by`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import IntEnum

Progress = Callable[[int, int], None]  # done, total; the total may change on the way


class Level(IntEnum):
    """How much a listener wants to hear."""

    QUIET = 0  # nothing but errors
    NORMAL = 1
    DETAILS = 2  # what was loaded, batch sizes, seconds of each part


def silent(done: int, total: int) -> None:
    """Say nothing."""


class Listener:
    """Who listens; this one does not.

    `command` is what was typed, as run.json keeps it, and `begun` when, by `time.monotonic`.
    """

    command: str | None = None
    begun: float | None = None
    level = Level.NORMAL

    def progress(self, title: str, total: int) -> AbstractContextManager[Progress]:
        """A bar of that title, over so many pieces."""
        return nullcontext(silent)

    def say(self, sentence: str) -> None:
        """A sentence beside the results."""


Keeper = Callable[[str, int, str], AbstractContextManager[Progress]]  # of title, total and unit
_listener: ContextVar[Listener] = ContextVar("listener", default=Listener())  # noqa: B039 - it has no state
_keeper: ContextVar[Keeper | None] = ContextVar("keeper", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within it, `listener` is told."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def kept_by(keeper: Keeper) -> Iterator[None]:
    """Within it, `keeper` is told how far everything is, too."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


@contextmanager
def progress(title: str, total: int, unit: str = "images") -> Iterator[Progress]:
    """What to call with (done, total), as a context; `unit` is what is counted."""
    with _listener.get().progress(title, total) as shown, counted(title, total, unit) as kept:

        def advance(done: int, total: int) -> None:
            shown(done, total)
            kept(done, total)

        yield advance


def counted(title: str, total: int, unit: str) -> AbstractContextManager[Progress]:
    """The same without a bar, for what stands around or within what has one."""
    keeper = _keeper.get()
    return nullcontext(silent) if keeper is None else keeper(title, total, unit)


def say(*sentences: str, level: Level = Level.NORMAL) -> None:
    """Sentences for the reader, beside the results, where the listener wants to hear so much."""
    listener = _listener.get()
    if level <= listener.level:
        for sentence in sentences:
            listener.say(sentence)


def detail(*sentences: str) -> None:
    """Sentences for a reader who asked for details."""
    say(*sentences, level=Level.DETAILS)


def command() -> str | None:
    """The command as typed, None where there is none."""
    return _listener.get().command


def running() -> float:
    """Seconds since the command was typed; 0 where there is none."""
    begun = _listener.get().begun
    return 0.0 if begun is None else time.monotonic() - begun


def is_quiet() -> bool:
    """Whether a command is asked to print nothing but errors."""
    return _listener.get().level == Level.QUIET
