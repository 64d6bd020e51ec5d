"""The command `ostrich`.

Exit codes: 0 done, 1 a gate failed or could not be judged, 2 wrong usage or bad input, 3 a fault
of ours (the traceback lies in the run directory), 130 interrupted. A disk or a memory that is too small is
bad input.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

import typer
from typer.exceptions import TyperException

from ostrich.cli import (
    attack,
    certify,
    check,
    compare,
    demo,
    doctor,
    explain,
    generate,
    listing,
    report,
    serve,
    status,
    study,
    train,
    visualize,
)
from ostrich.cli.terminal import LEVELS, Terminal, level_of
from ostrich.errors import OstrichError
from ostrich.runtime import memory, together
from ostrich.runtime.events import listening
from ostrich.runtime.faults import refused, told

BEGUN = time.monotonic()  # when the command was typed, but for the start of Python
INTERRUPTED = 130
DATA_PARALLEL = (["train"], ["generate", "train"])  # commands that work together by themselves
app = typer.Typer(
    name="ostrich",
    help="The laboratory for convolutional vision networks: train one, break it, look inside it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    demo,
    check,
    doctor,
    certify,
    attack,
    explain,
    visualize,
    train,
    study,
    compare,
    report,
    status,
    serve,
):
    app.command(module.NAME)(module.command)
app.add_typer(generate.app, name=generate.NAME)
app.add_typer(listing.app, name="list")


@app.callback(invoke_without_command=True)
def _top(
    version: bool = typer.Option(False, "--version", help="print the version and leave"),
    quiet: bool = typer.Option(False, "--quiet", help="print errors and --json only"),
    verbose: bool = typer.Option(False, "--verbose", help="say what is loaded and how long each part takes"),
) -> None:
    # --quiet and --verbose are taken out before (`level_of`); here they are told by --help.
    if version:
        from ostrich.runtime.facts import versions

        typer.echo(versions().get("ostrich", "0"))
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    # Read when torch is loaded: threads that wait in a loop take the processor from whoever works.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    memory.keep_freed()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code; no traceback reaches the user."""
    if together.count() > 1 and not _is_data_parallel(sys.argv[1:] if arguments is None else arguments):
        from ostrich.runtime.executors.ranks import shared

        return shared(partial(_run, arguments))
    return _run(arguments)


def _run(arguments: list[str] | None) -> int:
    try:
        level, words = level_of(sys.argv[1:] if arguments is None else arguments)
        with listening(Terminal(level, BEGUN if arguments is None else None)):
            code = app(words, standalone_mode=False)
        if code == INTERRUPTED:  # Typer catches the interrupt, and says nothing
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except OstrichError as error:
        _say(str(error))
        return 2
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # Typer takes the end of any file for that of the keyboard
            return _fault(error.__cause__)
        _say("interrupted; the same command goes on from here.")
        return INTERRUPTED
    except typer.Exit as left:
        return left.exit_code
    except TyperException as error:
        _say(f"{error.format_message()} `ostrich --help` tells more.")
        return 2
    except Exception as error:
        sentence = refused(error)
        if sentence is None:
            return _fault(error)
        _say(sentence)
        return 2


def _is_data_parallel(arguments: list[str]) -> bool:
    words = [word for word in arguments if word not in LEVELS]
    return any(words[: len(verb)] == verb for verb in DATA_PARALLEL)


def _fault(error: Exception) -> int:
    """A fault of ours: the traceback into the run directory, one line on the screen."""
    path = _written(error)
    where = "It could not be written down." if path is None else f"The traceback: {path}"
    _say(f"a fault of ours, {told(error)} {where}")
    return 3


def _written(error: Exception) -> Path | None:
    """The file of its traceback: in the run directory, else in a temporary folder, else nowhere."""
    text = "".join(traceback.format_exception(error))
    for folder in (getattr(error, "run_folder", None), None):
        with suppress(OSError):
            path = Path(folder or tempfile.mkdtemp(prefix="ostrich-")) / "traceback.txt"
            path.write_text(text, encoding="utf-8", errors="replace")
            return path
    return None


def _say(sentence: str) -> None:
    with suppress(OSError):  # standard error may lie on the full disk
        typer.echo(f"ostrich: {sentence}", err=True)
