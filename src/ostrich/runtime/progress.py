"""How a long computation says how far it is: it calls a `Progress` with what is done, of how much."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # done, total; the total may change on the way


def silent(done: int, total: int) -> None:
    """Say nothing."""
