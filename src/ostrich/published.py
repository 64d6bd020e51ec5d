"""Published numbers, in one table, with their sources. Studies and tests compare with these.

They stand in `published.toml`, which is read when the first of them is asked for. `read` says whether the
number was read at the source itself, or taken from elsewhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ostrich.errors import UnknownName

FILE = Path(__file__).with_suffix(".toml")
FIELDS = {"source": str, "unit": str, "read": bool, "values": dict}  # of a table of the file


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number: `value` in `unit`, and where it stands."""

    value: float
    unit: str
    source: str
    read: bool


def published(name: str) -> Published:
    """The number of that name. Raises UnknownName."""
    numbers = all_published()
    if name not in numbers:
        raise UnknownName("published number", name, numbers)
    return numbers[name]


@cache
def all_published() -> Mapping[str, Published]:
    """Every number by its name."""
    return MappingProxyType(parsed(FILE.read_text(encoding="utf-8")))


def parsed(text: str) -> dict[str, Published]:
    """The numbers of such a file.

    Raises ValueError for what is missing, unknown, there twice, or no number.
    """
    content = tomllib.loads(text)
    if set(content) != {"numbers"}:
        raise ValueError(f"A file of published numbers has tables [[numbers]]; it has {', '.join(content)}.")
    found: dict[str, Published] = {}
    for table in content["numbers"]:
        _check(table)
        for name, value in table["values"].items():
            if name in found:
                raise ValueError(f"The published number {name} is there twice.")
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
                raise ValueError(f"The published number {name} is {value!r}.")
            about = {field: table[field] for field in ("unit", "source", "read")}
            found[name] = Published(value=value, **about)
    return found


def _check(table: Mapping[str, Any]) -> None:
    if set(table) != set(FIELDS):
        raise ValueError(f"A table of published numbers has {', '.join(FIELDS)}; got {', '.join(table)}.")
    for field, kind in FIELDS.items():
        if not isinstance(table[field], kind) or table[field] in ("", {}):
            raise ValueError(f"{field} of published numbers is a {kind.__name__}; got {table[field]!r}.")
