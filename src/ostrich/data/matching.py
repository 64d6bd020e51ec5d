"""The labels of data in a classifier's own numbering of classes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ostrich.errors import InputError


def match_classes(
    theirs: Sequence[str] | None, ours: Sequence[str] | None, num_classes: int | None
) -> list[int]:
    """For each class of the data, its index in the classifier.

    By name where every class name is one of the classifier's; else by index where every name is
    `INDEX_name`; else in order where their numbers agree. Raises InputError otherwise.
    """
    if theirs is None:
        return []
    known = places(ours)
    found = [known[plain(name)] for name in theirs]
    if ours is not None and all(len(classes) == 1 for classes in found):
        return [classes[0] for classes in found]
    count = num_classes if num_classes is not None else (len(ours) if ours is not None else None)
    numbered = [re.match(r"(\d+)_", name) for name in theirs]
    if all(numbered):
        indices = [int(number[1]) for number in numbered if number]
        if count is not None and max(indices) >= count:
            raise InputError(
                f"The folders name class {max(indices)}, but the classifier has the classes 0 to {count - 1}."
            )
        return indices
    if count is None or count == len(theirs):
        return list(range(len(theirs)))
    raise InputError(
        f"The data has {len(theirs)} classes ({', '.join(list(theirs)[:5])}, ...), the classifier {count}: "
        "name the folders as its classes, or INDEX_name, or give its class names with --classes FILE."
    )


def places(names: Sequence[str] | None) -> dict[str, list[int]]:
    """By name, in lower case and without underscores (`plain`), the classes that have it."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names or ()):
        found[plain(name)].append(index)
    return found


def plain(name: str) -> str:
    """A name as it is compared."""
    return name.strip().lower().replace("_", " ")
