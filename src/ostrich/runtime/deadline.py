"""How much time is left, and work that ends with it.

    with until(Deadline(30)):
        ...  # every answer of a network asks `check_time`, which raises TimeUp once the 30 seconds are over

So whoever asks for an answer by a deadline need not know how long its parts take: what was whole by then is
the answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class TimeUp(BaseException):
    """The time for what is computed is over. Like an interrupt, it passes those who handle faults."""


class Deadline:
    """The moment so many seconds from now; None: there is none."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, not below 0; infinite where there is no deadline."""
        return max(0.0, self._end - time.monotonic())

    @property
    def reached(self) -> bool:
        """Whether the time is up."""
        return self.left == 0

    def end(self) -> None:
        """Let the time be up now: another thread's work ends at its next answer."""
        self._end = -math.inf

    def part(self, share: float) -> Deadline:
        """The moment at which a share of the time that is left is over."""
        found = Deadline()
        found._end = time.monotonic() + share * self.left
        return found


_nearest: ContextVar[Deadline] = ContextVar("deadline", default=Deadline())  # noqa: B039 - it never changes


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """Within it `check_time` keeps this deadline, and those around it."""
    around = _nearest.get()
    token = _nearest.set(min(deadline, around, key=lambda one: one._end))
    try:
        yield
    finally:
        _nearest.reset(token)


@contextmanager
def in_its_own_time() -> Iterator[None]:
    """Within it there is no deadline: what is short and has to be whole."""
    token = _nearest.set(Deadline())
    try:
        yield
    finally:
        _nearest.reset(token)


def time_left() -> float:
    """Seconds to the nearest deadline around; infinite where there is none."""
    return _nearest.get().left


def check_time() -> None:
    """Raise TimeUp where a deadline around is over."""
    if _nearest.get().reached:
        raise TimeUp
