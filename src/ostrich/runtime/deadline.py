"""How much time is left."""

from __future__ import annotations

import math
import time


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
