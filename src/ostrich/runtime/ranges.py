"""What a setting may be, declared where it stands, and checked wherever the settings are made.

    steps: Annotated[int, at_least(1)] = 40
    stop: Literal["first", "budget"] = "first"

`check_fields(settings)` of a dataclass refuses what its own annotations exclude: a number outside its
range or that is not a number, a word that is not among the literal ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ostrich.errors import InputError, UnknownName

PYTHONS: tuple[type, ...] = (bool, int, float)


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`, without the ends that are `open`."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            return False
        number = float(value)
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        high = f"below {self.high:g}" if self.open_high else f"at most {self.high:g}"
        return " and ".join(
            text for text, bound in ((low, self.low), (high, self.high)) if math.isfinite(bound)
        )


def at_least(low: float, below: float = math.inf, at_most: float = math.inf) -> Range:
    """From `low` on; with `below` or `at_most`, up to there."""
    return Range(low, min(below, at_most), open_high=below < at_most)


def above(low: float, below: float = math.inf, at_most: float = math.inf) -> Range:
    """Larger than `low`; with `below` or `at_most`, up to there."""
    return Range(low, min(below, at_most), open_low=True, open_high=below < at_most)


@dataclass(frozen=True)
class Allowed:
    """What the annotation of one field allows."""

    range: Range | None = None
    words: tuple[Any, ...] = ()
    whole: bool = False
    optional: bool = False

    def refuse(self, owner: str, name: str, value: object) -> None:
        """Raise InputError, or UnknownName, for a value that is not allowed."""
        if value is None and self.optional:
            return
        if self.words and value not in self.words:
            raise UnknownName(f"{name} of {owner}", str(value), [str(word) for word in self.words])
        if self.whole and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise InputError(f"{name} of {owner} is a whole number; got {value!r}.")
        if self.range is not None and value not in self.range:
            raise InputError(f"{name} of {owner} is {self.range}; got {value!r}.")


def check_fields(settings: Any, owner: str) -> None:
    """Refuse a dataclass whose values its own annotations exclude; `owner` is named in the sentence.

    Numbers of other kinds, such as numpy's, become Python's. Raises InputError, UnknownName.
    """
    values = vars(settings)
    kind: Any = type(settings)
    for name, allowed in declared(kind).items():
        value = values[name]
        allowed.refuse(owner, name, value)
        if isinstance(value, Real) and type(value) not in PYTHONS:
            object.__setattr__(settings, name, int(value) if isinstance(value, Integral) else float(value))


@cache
def declared(kind: Any) -> Mapping[str, Allowed]:
    """What the annotations of a dataclass's fields allow, of those that say anything."""
    hints = get_type_hints(kind, include_extras=True)
    read = {field.name: _read(hints[field.name]) for field in fields(kind)}
    return {name: allowed for name, allowed in read.items() if allowed != Allowed(optional=allowed.optional)}


def _read(hint: Any) -> Allowed:
    """What one annotation allows."""
    found = None
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        found = next((extra for extra in extras if isinstance(extra, Range)), None)
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    words = tuple(word for option in options if get_origin(option) is Literal for word in get_args(option))
    whole = int in options and float not in options
    return Allowed(found, words, whole, type(None) in options)
