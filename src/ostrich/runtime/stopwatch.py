"""The seconds of a computation, those before an interruption included.

What is kept on disk says how long it took. A watch adds these seconds when it is found there instead of
being computed: so work that was cut off, and is found again in part, is told with the time of all its parts.
What was computed after the last writing and lost with it is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_running: ContextVar[tuple[Stopwatch, ...]] = ContextVar("running", default=())


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started, self.found = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Since the start, and what was found on disk since."""
        return time.monotonic() - self._started + self.found


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """A watch that is told of what is found on disk within the block."""
    watch = Stopwatch()
    token = _running.set((*_running.get(), watch))
    try:
        yield watch
    finally:
        _running.reset(token)


def found(seconds: float) -> None:
    """Tell every running watch of work that took so long, before, and need not be done again."""
    for watch in _running.get():
        watch.found += seconds
