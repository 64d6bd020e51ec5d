"""Units as the commands write them: of a class, and as part of a file's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ostrich.models import Classifier


def class_unit(classifier: Classifier, index: int) -> str:
    """The unit of a class's logit, by its name where that is the name of no other class."""
    from ostrich.errors import InputError

    name = classifier.class_name(index)
    try:
        return f"class:{name if classifier.class_index(name) == index else index}"
    except InputError:
        return f"class:{index}"


def plain(unit: str) -> str:
    """A unit as part of a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in ".,@") else "-" for c in unit)[:60]
