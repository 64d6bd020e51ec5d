"""What a computation says while it runs, to whoever listens: how far it is, and sentences.

    with progress("pgd on 64 images", 64) as advance:
        advance(done, total)
    say("its answers are random: each is asked for 20 times")

Nobody listens unless `listening` says who: the command line draws bars and prints sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Progress = Callable[[int, int], None]  # done, total; the total may change on the way


def silent(done: int, total: int) -> None:
    """Say nothing."""


class Listener:
    """Who listens; this one does not. `command` is what was typed, as run.json keeps it."""

    command: str | None = None

    def progress(self, title: str, total: int) -> AbstractContextManager[Progress]:
        """A bar of that title, over so many pieces."""
        return nullcontext(silent)

    def say(self, sentence: str) -> None:
        """A sentence beside the results."""


_listener: ContextVar[Listener] = ContextVar("listener", default=Listener())  # noqa: B039 - it has no state


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within it, `listener` is told."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def progress(title: str, total: int) -> AbstractContextManager[Progress]:
    """What to call with (done, total), as a context."""
    return _listener.get().progress(title, total)


def say(*sentences: str) -> None:
    """Sentences for the reader, beside the results."""
    for sentence in sentences:
        _listener.get().say(sentence)


def command() -> str | None:
    """The command as typed, None where there is none."""
    return _listener.get().command
