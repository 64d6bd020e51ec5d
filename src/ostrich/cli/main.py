"""The command `ostrich`.

Exit codes: 0 done, 1 a gate failed or could not be judged, 2 wrong usage or bad input, 3 a fault
of ours (the traceback lies in the run directory), 130 interrupted.
"""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback
from pathlib import Path

import typer
from typer.exceptions import TyperException

from ostrich.cli import (
    attack,
    check,
    compare,
    demo,
    doctor,
    explain,
    generate,
    listing,
    study,
    train,
    visualize,
)
from ostrich.errors import OstrichError

INTERRUPTED = 130
app = typer.Typer(
    name="ostrich",
    help="The laboratory for convolutional vision networks: train one, break it, look inside it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (demo, check, doctor, attack, explain, visualize, train, study, compare):
    app.command(module.NAME)(module.command)
app.add_typer(generate.app, name=generate.NAME)
app.add_typer(listing.app, name="list")


@app.callback(invoke_without_command=True)
def _top(version: bool = typer.Option(False, "--version", help="print the version and leave")) -> None:
    if version:
        from ostrich.runtime.facts import versions

        typer.echo(versions().get("ostrich", "0"))
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code; no traceback reaches the user."""
    try:
        code = app(arguments, standalone_mode=False)
        if code == INTERRUPTED:  # Typer catches the interrupt, and says nothing
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except OstrichError as error:
        typer.echo(f"ostrich: {error}", err=True)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("ostrich: interrupted; the same command goes on from here.", err=True)
        return INTERRUPTED
    except typer.Exit as left:
        return left.exit_code
    except TyperException as error:
        typer.echo(f"ostrich: {error.format_message()} `ostrich --help` tells more.", err=True)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _fault(error)
        typer.echo(
            "ostrich: the disk is full. What was written before is whole: free some space and give the same "
            "command again.",
            err=True,
        )
        return 2
    except Exception as error:
        return _fault(error)


def _fault(error: Exception) -> int:
    """A fault of ours: the traceback into the run directory, one line on the screen."""
    folder = getattr(error, "run_folder", None) or Path(tempfile.mkdtemp(prefix="ostrich-"))
    path = Path(folder) / "traceback.txt"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    first = (str(error).splitlines() or [""])[0][:200]
    typer.echo(f"ostrich: a fault of ours, {type(error).__name__}: {first} The traceback: {path}", err=True)
    return 3
