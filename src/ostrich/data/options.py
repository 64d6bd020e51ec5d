"""How DATA is read: the options that belong to it, in one place.

The command line turns each field into an option of every command that takes DATA, as it does with the
`ModelOptions` of MODEL; in Python they are keywords of `ostrich.data.open_data`. They are among the words of
the data set that they open, and so stand in run.json and in the commands that reports print.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ostrich.errors import InputError
from ostrich.runtime.options import option, option_words


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is said about DATA beside its name."""

    skip_bad: bool = option("leave unreadable images out, and say so", default=False)
    range: str | None = option(
        "the value that is white in images of floats or of 10, 12, 16 bits: 255, 4095, or float=1,int=4095",
        "NUMBER",
    )
    class_map: Path | None = option("which class each folder is: CSV with the columns folder,class", "FILE")

    def words(self) -> list[str]:
        """The same as command-line words."""
        return option_words(self)

    def behind(self, data: str) -> str:
        """DATA with these options behind it in one text, as it is trained on: `folder:photos --skip-bad`."""
        return " ".join([data, *map(shlex.quote, self.words())])

    def with_words(self, words: Sequence[str]) -> tuple[list[str], DataOptions]:
        """Words of a data set without the options at their end, and these beside the options here.

        So the words of a data set open it again. Raises InputError for an option that DATA has not.
        """
        start = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
        found: dict[str, Any] = {}
        rest = iter(words[start:])
        kinds = {one.name: one.type for one in fields(self)}
        for word in rest:
            name = word.removeprefix("--").replace("-", "_")
            value = True if kinds.get(name) == "bool" else next(rest, None)
            if name not in kinds or value is None:
                known = ", ".join(f"--{one.replace('_', '-')}" for one in kinds)
                raise InputError(f"{word!r} is no option of DATA, or has no value; known: {known}.")
            found[name] = Path(str(value)) if name == "class_map" else value
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return list(words[:start]), DataOptions(
            **found | {name: value for name, value in given.items() if value not in (None, False)}
        )


def as_words(data: str) -> list[str]:
    """DATA in one text, perhaps with options behind it, as words."""
    word, separator, rest = data.partition(" --")
    return [word, *shlex.split(f"--{rest}")] if separator else [data]


def read_class_map(path: str | Path) -> dict[str, str]:
    """The table folder,class of a CSV file; a class is a name or a number. Raises InputError."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--class-map {str(path)!r} cannot be read ({error}).") from None
    if rows and [cell.lower() for cell in rows[0]] == ["folder", "class"]:
        rows = rows[1:]
    found: dict[str, str] = {}
    for row in rows:
        if len(row) != 2 or not all(row):
            raise InputError(f"--class-map {str(path)!r}: a row is folder,class; got {','.join(row)!r}.")
        if found.setdefault(row[0], row[1]) != row[1]:
            raise InputError(f"--class-map {str(path)!r}: {row[0]!r} is both {found[row[0]]} and {row[1]}.")
    if not found:
        raise InputError(f"--class-map {str(path)!r} holds no rows folder,class.")
    return found
