"""Options that belong together, as a frozen dataclass: one place for the command line and Python."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field, fields
from typing import Any


def option(what: str, metavar: str | None = None, default: Any = None) -> Any:
    """A field that is an option of the command line, with its help."""
    return field(default=default, metadata={"help": what, "metavar": metavar})


def option_words(options: Any, without: Collection[str] = ()) -> list[str]:
    """The options that were given, as command-line words, to be printed in other commands."""
    words = []
    for one in fields(options):
        value = getattr(options, one.name)
        if one.name in without or value == one.default:
            continue
        name = f"--{one.name.replace('_', '-')}"
        if value is True:
            words.append(name)
            continue
        for part in value if isinstance(value, list) else [value]:
            words += [name, str(part)]
    return words
