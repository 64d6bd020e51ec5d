"""Ctrl-C between two steps instead of within one.

Within `guarded()` the first SIGINT is remembered. The computation asks `pending()` where it can be left: it
writes down where it stands and raises KeyboardInterrupt. A second SIGINT, and one outside, is raised at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Guard:
    depth = 0
    pending = False


def pending() -> bool:
    """Whether the computation is to be left as soon as it can be."""
    return _Guard.pending


def leave_if_pending() -> None:
    """Raise KeyboardInterrupt if it is due: a place where nothing is lost by it."""
    if _Guard.pending:
        raise KeyboardInterrupt


@contextmanager
def guarded() -> Iterator[None]:
    """Within it the first SIGINT waits for `pending()` to be asked; what is left of it is raised at the end.

    Guards may lie within one another. Outside of the main thread, and where something else handles the
    signal already, nothing is changed.
    """
    mine = threading.current_thread() is threading.main_thread()
    if _Guard.depth or not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        _Guard.depth += bool(_Guard.depth)
        try:
            yield
        finally:
            _Guard.depth -= bool(_Guard.depth)
        return
    _Guard.depth, _Guard.pending = 1, False
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
        leave_if_pending()
    finally:
        _Guard.depth, _Guard.pending = 0, False
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _remember(number: int, frame: FrameType | None) -> None:
    if _Guard.pending:
        raise KeyboardInterrupt
    _Guard.pending = True
