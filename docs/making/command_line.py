"""The command line's page, from typer's own tree of commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

EXITS = """| exit code | means |
| --- | --- |
| 0 | done; every gate passed |
| 1 | a gate failed, or could not be judged |
| 2 | wrong usage or bad input, with a sentence that says what to do |
| 3 | a fault of ours; the traceback lies in the run directory |
| 130 | interrupted; the same command goes on from there |
"""


def pages(docs: Path) -> Iterator[tuple[str, str]]:
    """One page with all commands."""
    from ostrich.cli.main import app

    lines = ["# The command line", "", EXITS, ""]
    for path, command in commands(typer.main.get_command(app), ("ostrich",)):
        lines += described(path, command)
    yield "command-line.md", "\n".join(lines)


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below this one, with the words that lead to it."""
    for name, inner in (getattr(command, "commands", None) or {}).items():
        if getattr(inner, "commands", None):
            yield from commands(inner, (*path, name))
        elif not getattr(inner, "hidden", False):
            yield (*path, name), inner


def described(path: tuple[str, ...], command: Any) -> Iterator[str]:
    """A command: what it does, its arguments and its options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    yield f"## {' '.join(path)}"
    yield ""
    yield cell(command.help or "")
    yield ""
    shown = " ".join(_argument(one) for one in arguments)
    yield f"Usage: `{' '.join(path)} {shown} [OPTIONS]`".replace("  ", " ")
    yield ""
    rows = [(_argument(one), one.help, "") for one in arguments]
    rows += [(_option(one), one.help, default(one)) for one in options]
    if rows:
        yield "| | what it is | default |"
        yield "| --- | --- | --- |"
        for name, text, usual in rows:
            yield f"| `{name.replace('|', chr(92) + '|')}` | {cell(text or '')} | {usual} |"
        yield ""


def _argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    return f"{name if one.required else f'[{name}]'}{'...' if one.nargs == -1 else ''}"


def _option(one: Any) -> str:
    names = ", ".join([*one.opts, *one.secondary_opts])
    return f"{names} {one.metavar}" if one.metavar else names


def default(one: Any) -> str:
    """As it is typed; nothing where it says nothing."""
    value = one.default
    return "" if value is None or value is False or callable(value) or value == () else f"`{value}`"


def cell(text: str) -> str:
    """A sentence in a table."""
    text = " ".join(text.split())
    for sign in "|*<":
        text = text.replace(sign, f"\\{sign}")
    return text
