"""What the terminal shows of a computation: progress bars, and sentences."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ostrich.runtime.events import Listener, Progress, silent


class Terminal(Listener):
    """Progress bars on a terminal, sentences on standard error."""

    def __init__(self) -> None:
        self.command = typed()

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Progress]:
        """A progress bar on a terminal, nothing elsewhere."""
        if not sys.stderr.isatty():
            yield silent
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def say(self, sentence: str) -> None:
        """What was found out about a network, beside the results."""
        from rich.console import Console

        Console(stderr=True, highlight=False).print(sentence, soft_wrap=True, markup=False)


def typed() -> str:
    """The command as typed."""
    return shlex.join(["ostrich", *sys.argv[1:]])
