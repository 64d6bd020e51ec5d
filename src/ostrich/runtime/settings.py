"""Settings by name to the fields of a dataclass, read by their type hints: text, NAME=VALUE, or values.

    int, float      8, 1e-3; a float also as a fraction, 8/255
    bool            true, yes, 1; false, no, 0
    str, Literal    as it is; one of the literal's words
    X | None        as X, or none
    tuple, list     values with commas between, 20,56; tuple[int, int] has two

What is no text is a value already, and only its type is checked; a whole number is a float too. A field of
another type, or with metadata {"setting": False}, is no setting. Ranges are the dataclass' own to check.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import Field, fields, replace
from fractions import Fraction
from inspect import get_annotations
from numbers import Integral, Real
from types import NoneType, SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ostrich.errors import InputError, UnknownName

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
LARGEST = 2**63 - 1  # of tensors and of ranges
NUMBERS: dict[Any, type[Any]] = {int: Integral, float: Real}
S = TypeVar("S", bound="DataclassInstance")
PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE as (NAME, VALUE). Raises InputError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"{text!r}: NAME=VALUE is expected.")
    return name.strip(), value.strip()


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Each NAME=VALUE, by name. Raises InputError for another form, and for a name with two values."""
    found: dict[str, str] = {}
    for name, value in map(pair, texts):
        if found.setdefault(name, value) != value:
            raise InputError(f"{name} is given twice, {found[name]} and {value}; one is allowed.")
    return found


def readable(kind: type[Any]) -> dict[str, Any]:
    """The fields of a dataclass that can be read from text, and their types."""
    hints = {f.name: _hint(kind, f) for f in fields(kind) if f.metadata.get("setting", True)}
    return {name: hint for name, hint in hints.items() if _is_readable(hint)}


def read(
    kind: type[Any],
    given: Mapping[str, Any],
    owner: str,
    *,
    hidden: Collection[str] = (),
    also: Collection[str] = (),
) -> dict[str, Any]:
    """The values of `given`, text or values by the names of fields of `kind`.

    `owner` is whose settings they are, as the message says; fields named in `hidden` are none, and names
    in `also` are known to the caller alone. Raises UnknownName with the nearest name, InputError for text
    that cannot be read.
    """
    hints = {name: hint for name, hint in readable(kind).items() if name not in hidden}
    for name in given:
        if name not in hints:
            raise UnknownName(f"setting of {owner}", name, [*hints, *also])
    return {name: read_value(name, text, hints[name]) for name, text in given.items()}


def changed(settings: S, changes: Mapping[str, Any], owner: str, *, hidden: Collection[str] = ()) -> S:
    """A dataclass with other values in some fields; text is read as `read` does.

    Raises UnknownName, and InputError for a value that the field cannot have.
    """
    hints = readable(type(settings))
    known = [f.name for f in fields(settings) if f.name not in hidden]
    values = {}
    for name, value in changes.items():
        if name not in known or (isinstance(value, str) and name not in hints):
            raise UnknownName(f"setting of {owner}", name, [one for one in known if one in hints])
        values[name] = read_value(name, value, hints[name]) if name in hints else value
    try:
        return replace(settings, **values)
    except TypeError as error:
        given = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise InputError(f"{owner[0].upper()}{owner[1:]} cannot have {given}: {error}.") from None


def spelled(settings: S, base: S, *, hidden: Collection[str] = ()) -> list[str]:
    """NAME=VALUE of each field that is not as in `base`, as `read` reads it, else in Python's form."""
    known = readable(type(settings))
    found = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in hidden}
    differs = {name: value for name, value in found.items() if value != getattr(base, name)}
    return [f"{name}={_text(v) if name in known else repr(v)}" for name, v in differs.items()]


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(_text, value))
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def read_value(name: str, text: Any, hint: Any) -> Any:
    """Text, or a value, as one of that type; `name` is what the message calls it. Raises InputError."""
    kinds = _members(hint)
    if not isinstance(text, str):
        return _checked(name, text, kinds)
    if NoneType in kinds and text.lower() in ("none", ""):
        return None
    (kind,) = (one for one in kinds if one is not NoneType)
    if get_origin(kind) is Literal:
        return _choice(name, text, get_args(kind))
    if get_origin(kind) in (tuple, list):
        return _several(name, text, kind)
    try:
        return _plain(text, kind)
    except (ValueError, KeyError, ZeroDivisionError):
        raise InputError(f"{name}={text}: {PLAIN[kind]} is expected.") from None


def _checked(name: str, value: Any, kinds: Sequence[Any]) -> Any:
    """A value of one of these types. Raises InputError."""
    if value is None and NoneType in kinds:
        return None
    (kind,) = (one for one in kinds if one is not NoneType)
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal and value in inside:
        return value
    if origin in (tuple, list) and isinstance(value, tuple | list):
        fixed = origin is tuple and Ellipsis not in inside
        if not fixed or len(value) == len(inside):
            parts = inside if fixed else inside[:1] * len(value)
            return origin(read_value(name, one, part) for one, part in zip(value, parts))
    if kind in NUMBERS and isinstance(value, NUMBERS[kind]) and not isinstance(value, bool):
        return kind(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    expected = PLAIN.get(kind, f"one of {', '.join(map(str, inside))}" if origin is Literal else str(kind))
    raise InputError(f"{name}={value!r}: {expected} is expected.")


def _plain(text: str, kind: type[Any]) -> Any:
    if kind is bool:
        return TRUTHS[text.lower()]
    if kind is float:
        number = float(Fraction(text)) if "/" in text else float(text)
        if not math.isfinite(number):
            raise ValueError(text)
        return number
    value = kind(text)
    if kind is int and not -LARGEST <= value <= LARGEST:
        raise ValueError(text)
    return value


def _choice(name: str, text: str, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if str(choice) == text:
            return choice
    raise UnknownName(name, text, map(str, choices))


def _several(name: str, text: str, hint: Any) -> Any:
    origin, inside = get_origin(hint), get_args(hint)
    parts = [part.strip() for part in text.split(",")]
    fixed = origin is tuple and Ellipsis not in inside
    if fixed and len(parts) != len(inside):
        raise InputError(f"{name}={text}: {len(inside)} values with commas between are expected.")
    if not all(parts):
        raise InputError(f"{name}={text}: values with commas between are expected.")
    kinds = inside if fixed else inside[:1] * len(parts)
    return origin(read_value(name, part, kind) for part, kind in zip(parts, kinds))


def _is_readable(hint: Any) -> bool:
    kinds = [kind for kind in _members(hint) if kind is not NoneType]
    if len(kinds) != 1:
        return False
    if get_origin(kinds[0]) in (tuple, list):
        return all(_is_single(part) for part in get_args(kinds[0]) if part is not Ellipsis)
    return _is_single(kinds[0])


def _is_single(kind: Any) -> bool:
    return kind in PLAIN or get_origin(kind) is Literal


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _hint(kind: type[Any], field: Field[Any]) -> Any:
    """The type of a field; None where it names what is imported for the type checker alone."""
    home = next(base for base in kind.__mro__ if field.name in get_annotations(base))
    names = vars(sys.modules[home.__module__])
    try:
        return get_type_hints(SimpleNamespace(__annotations__={field.name: field.type}), names)[field.name]
    except NameError:
        return None
