"""What the terminal shows of a computation: progress bars, sentences, and how much of them was asked for."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from ostrich.errors import InputError
from ostrich.runtime.events import Level, Listener, Progress, is_quiet, silent

if TYPE_CHECKING:
    from rich.console import Console

LEVELS = {"--quiet": Level.QUIET, "--verbose": Level.DETAILS}
WIDE = 10_000  # characters, more than any table has


class Terminal(Listener):
    """Progress bars on a terminal, sentences on standard error, and with details the seconds of each part."""

    def __init__(self, level: Level = Level.NORMAL, begun: float | None = None) -> None:
        self.command, self.level = typed(), level
        self.begun = time.monotonic() if begun is None else begun

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Progress]:
        """A progress bar on a terminal, nothing elsewhere."""
        begun = time.perf_counter()
        if self.level == Level.QUIET or not sys.stderr.isatty():
            yield silent
        else:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task(title, total=total)
                yield lambda done, total: bar.update(task, completed=done, total=total)
        if self.level == Level.DETAILS:
            self.say(f"{title}: {time.perf_counter() - begun:.1f} s")

    def say(self, sentence: str) -> None:
        """What was found out about a network, beside the results."""
        typer.echo(sentence, err=True)


def plain_console(width: int | None = None) -> Console:
    """Standard output, where `class:umbrella:` is no picture, and of `runs/[b] c` nothing is bold."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False, width=width)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str]) -> None:
    """A table with these columns, those in `right` set to the right.

    Nothing of a name is cut: a terminal folds what is too wide for it, elsewhere a line is as long as it is.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    plain_console(None if sys.stdout.isatty() else WIDE).print(table)


class Page:
    """Standard output for people; empty where the command is asked to be quiet."""

    def print(self, *lines: Any, **how: Any) -> None:
        """As rich prints it: text with a style, tables."""
        if not is_quiet():
            plain_console().print(*lines, **how)

    def rows(self, *table: Any, **how: Any) -> None:
        """A table, as `print_rows` prints it."""
        if not is_quiet():
            print_rows(*table, **how)

    def line(self, text: str, **style: Any) -> None:
        """A line without tables, styled as typer.style does on a terminal."""
        if not is_quiet():
            typer.echo(typer.style(text, **style))


console = Page()


def level_of(arguments: Sequence[str]) -> tuple[Level, list[str]]:
    """How much is to be said, and the command without --quiet and --verbose, which stand anywhere in it.

    Raises InputError where both are given.
    """
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    given = {word for word in arguments[:end] if word in LEVELS}
    if len(given) > 1:
        raise InputError("--quiet and --verbose ask for opposite things; give one of them.")
    rest = [word for word in arguments[:end] if word not in LEVELS] + list(arguments[end:])
    return (LEVELS[given.pop()] if given else Level.NORMAL), rest


def typed() -> str:
    """The command as typed."""
    return shlex.join(["ostrich", *sys.argv[1:]])
