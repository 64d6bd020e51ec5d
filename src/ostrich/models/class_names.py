"""Names of classes: found by a name or a number, and read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    if name.isdigit() and int(name) < count:
        return int(name)
    raise UnknownName("class", name, class_names or (), f"Numbers 0 to {count - 1} do too.")


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
