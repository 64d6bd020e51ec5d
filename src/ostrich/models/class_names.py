"""Names of classes: found by a name or a number, and read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ostrich.errors import InputError, UnknownName
from ostrich.runtime.names import plain


def class_index(name: str, class_names: Sequence[str] | None, count: int) -> int:
    """The one of `count` classes that has this name or number. Raises InputError, UnknownName."""
    if class_names is not None:
        found = [i for i, known in enumerate(class_names) if known == name] or [
            i for i, known in enumerate(class_names) if plain(known) == plain(name)
        ]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise InputError(f"Several classes are named {name!r}: {found}. Give the number instead.")
    if name.isdecimal() and int(name) < count:
        return int(name)
    raise UnknownName("class", name, class_names or (), f"Numbers 0 to {count - 1} do too.")


def given_class_names(classes: Any) -> tuple[str, ...]:
    """Names of all classes in order, or by their numbers from 0 (Hugging Face's id2label), or a file of them.

    Raises InputError for what is none of these.
    """
    if isinstance(classes, str | Path):
        return read_class_names(classes)
    try:
        if isinstance(classes, Mapping):
            by_number = {int(number): name for number, name in classes.items()}
            classes = [by_number[number] for number in range(len(by_number))]
        names = list(classes)
    except (TypeError, ValueError, KeyError):
        names = []
    if not names or not all(isinstance(name, str | int | np.integer) for name in names):
        raise InputError(
            "Class names are texts in the order of the outputs, a mapping of 0, 1, ... to them, or a file "
            f"with one a line; got {classes!r}."
        )
    return tuple(str(name) for name in names)


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Class names, one a line, in the order of the network's outputs."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The class names {str(path)!r} cannot be read ({error}).") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise InputError(f"{str(path)!r} holds no class names; one a line is expected.")
    return names
