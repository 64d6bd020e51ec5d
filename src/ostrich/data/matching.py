"""The labels of data in a classifier's own numbering of classes, and by which rule they were matched.

The first rule that holds for every class of the data:

    --class-map FILE   what a table (folder,class) says; the other rules are for the rest
    name               case, blanks, `-` and `_` do not matter; "tench, Tinca tinca" are two names of one
    WordNet id         n01440764 and the like, for a network of ImageNet's thousand classes
    INDEX_name         the number; the name behind it, where every one names a class
    number             below the number of classes; 1 to K, where all K are there, counts from one
    sorted order       where no name matches at all and the counts agree; or the order that the data has: that
                       of numbers is as text where folders are called so, by value where labels are

Where some classes match and some do not, nothing is guessed: an InputError lists them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ostrich.errors import InputError
from ostrich.runtime.names import plain

IDS = Path(__file__).with_name(
    "imagenet_ids.txt"
)  # of ILSVRC 2012's public list, in the order of its classes
_MAP = "--class-map"
LISTED = 12  # classes that a sentence names at most
WAYS_OUT = (
    "Name the folders as the classifier's classes, or INDEX_name, or say which class each is with "
    "--class-map FILE (CSV: folder,class); --classes FILE gives the classifier's names."
)


@dataclass(frozen=True, kw_only=True)
class Matching:
    """For each class of the data its index in the classifier; `sentence` says how that was found.

    `same` where the data's names are the classifier's, in the same order: nothing was matched.
    """

    classes: tuple[int, ...]
    sentence: str
    same: bool = False


def match_classes(
    theirs: Sequence[str],
    ours: Sequence[str] | None,
    num_classes: int | None,
    class_map: Mapping[str, str] | None = None,
) -> Matching:
    """Which class of the classifier each class of the data is. Raises InputError where it cannot be told."""
    count = num_classes if num_classes is not None else (None if ours is None else len(ours))
    told = _told(theirs, ours, count, class_map or {})
    rest = [name for name in theirs if name not in told]
    if not rest:
        return Matching(classes=tuple(told[name] for name in theirs), sentence=f"as {_MAP} says")
    found = _matched(rest, ours, count)
    if not told:
        return found
    places = dict(zip(rest, found.classes))
    return Matching(
        classes=tuple(told[name] if name in told else places[name] for name in theirs),
        sentence=f"{len(told)} as {_MAP} says, {len(rest)} {found.sentence}",
    )


def _told(
    theirs: Sequence[str], ours: Sequence[str] | None, count: int | None, given: Mapping[str, str]
) -> dict[str, int]:
    """The classes that a map settles. Raises InputError for one that the classifier has not."""
    if not given:
        return {}
    named = {plain(folder): word for folder, word in given.items()}
    found: dict[str, int] = {}
    names = Names(ours or ())
    for name in theirs:
        word = named.get(plain(name))
        if word is None:
            continue
        places = names.places(word)
        if len(places) != 1 and word.isdigit() and (count is None or int(word) < count):
            places = [int(word)]
        if len(places) != 1:
            known = f"0 to {count - 1}" if count else "numbers from 0"
            raise InputError(
                f"{_MAP} says that {name!r} is {word!r}, which is {'no' if not places else 'more than one'} "
                f"class of the classifier: a name of its own, or {known}."
            )
        found[name] = places[0]
    if not found:
        raise InputError(
            f"{_MAP} names none of the data's classes ({listed(theirs)}); it has {listed(list(given))}."
        )
    return found


def _matched(theirs: Sequence[str], ours: Sequence[str] | None, count: int | None) -> Matching:
    """By the first rule that holds for all of them."""
    if ours is not None and list(theirs) == list(ours):
        return Matching(classes=tuple(range(len(theirs))), sentence="by name", same=True)
    names = Names(ours or ())
    found = [names.places(name) for name in theirs]
    if ours is not None and all(len(places) == 1 for places in found):
        return Matching(classes=tuple(places[0] for places in found), sentence="by name")
    for rule in (_by_wordnet_id, _by_index_and_name, _by_number):
        if (by_rule := rule(theirs, ours, count)) is not None:
            return by_rule
    unmatched = [name for name, places in zip(theirs, found) if len(places) != 1]
    if ours is not None and any(found):
        doubtful = [name for name, places in zip(theirs, found) if len(places) > 1]
        several = f" More than one class is named {listed(doubtful)}." if doubtful else ""
        raise InputError(
            f"{len(theirs) - len(unmatched)} of {len(theirs)} classes of the data match the classifier's by "
            f"name, these do not: {listed(unmatched)}.{several} The classifier has {listed(ours)}. {WAYS_OUT}"
        )
    if count is not None and count != len(theirs):
        raise InputError(
            f"The data has {len(theirs)} classes ({listed(theirs)}), the classifier {count}"
            f"{f' ({listed(ours)})' if ours else ''}, and no name matches. {WAYS_OUT}"
        )
    order, how = _in_order(theirs)
    why = "no name matches" if ours is not None else "the network has no class names"
    shown = (
        ""
        if ours is None or list(ours) == [str(i) for i in range(len(ours))]
        else f": {listed([f'{a} is {b}' for a, b in zip(order, ours)], 4)}"
    )
    return Matching(
        classes=tuple(order.index(name) for name in theirs),
        sentence=f"{how}, since {why}{shown}",
    )


def _in_order(theirs: Sequence[str]) -> tuple[list[str], str]:
    """Their order, and in words which it is.

    Folders come sorted as text, so that 10 is before 5, as those who train on folders number them too. Labels
    that are numbers come by value (`tables.numbered`). Data that has an order of its own keeps it.
    """
    given, as_text = list(theirs), sorted(theirs)
    if not all(name.strip().isdecimal() for name in theirs):
        return given, "in sorted order" if given == as_text else "in the data's own order"
    by_value = sorted(theirs, key=int)
    if by_value == as_text:
        return by_value, "in sorted order"
    if given == as_text:
        return as_text, "in sorted order as text"
    return by_value, "in sorted order by value"


def _by_wordnet_id(theirs: Sequence[str], ours: Sequence[str] | None, count: int | None) -> Matching | None:
    found = [re.match(r"(n\d{8})(?:[-_ ,.].*)?$", name.strip()) for name in theirs]
    ids = wordnet_ids()
    if count != len(ids) or not all(found):
        return None
    unknown = [match[1] for match in found if match and match[1] not in ids]
    if unknown:
        raise InputError(
            f"{listed(unknown)}: no WordNet ids of ImageNet's thousand classes, as the others are. {WAYS_OUT}"
        )
    return Matching(classes=tuple(ids[match[1]] for match in found if match), sentence="by WordNet id")


def _by_index_and_name(
    theirs: Sequence[str], ours: Sequence[str] | None, count: int | None
) -> Matching | None:
    found = [re.match(r"(\d+)_(.*)", name) for name in theirs]
    if not all(found):
        return None
    numbers = [int(match[1]) for match in found if match]
    names = Names(ours or ())
    named = [names.places(match[2]) for match in found if match]
    if ours is not None and all(len(places) == 1 for places in named):
        classes = tuple(places[0] for places in named)
        if list(classes) != numbers:
            return Matching(classes=classes, sentence="by the names behind their numbers, which differ")
    return _numbered(numbers, count, theirs, "by the number before their name")


def _by_number(theirs: Sequence[str], ours: Sequence[str] | None, count: int | None) -> Matching | None:
    if not all(name.strip().isdecimal() for name in theirs):
        return None
    numbers = [int(name) for name in theirs]
    if count == len(theirs) and max(numbers) > count:
        return None  # in sorted order
    return _numbered(numbers, count, theirs, "by number")


def _numbered(numbers: Sequence[int], count: int | None, theirs: Sequence[str], how: str) -> Matching:
    """Numbers as indices; from one where all of 1 to K are there. Raises InputError for what is no class."""
    if count is not None and sorted(numbers) == list(range(1, count + 1)):
        return Matching(
            classes=tuple(n - 1 for n in numbers), sentence=f"{how}, counted from one (1 to {count})"
        )
    if count is not None and max(numbers) >= count:
        beyond = [name for name, number in zip(theirs, numbers) if number >= count]
        raise InputError(
            f"The data has the classes {listed(beyond)}, but the classifier only 0 to {count - 1}. {WAYS_OUT}"
        )
    return Matching(classes=tuple(numbers), sentence=f"{how}, counted from zero")


class Names:
    """The classes of a classifier, found by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._forms: tuple[dict[str, list[int]], ...] = tuple(defaultdict(list) for _ in range(3))
        for index, name in enumerate(names):
            for known, keys in zip(self._forms, _forms(name)):
                for key in keys:
                    known[key].append(index)

    def places(self, name: str) -> list[int]:
        """The classes of that name: as it is written, else as it is compared, else one of its synonyms."""
        for known, keys in zip(self._forms, _forms(name)):
            found = sorted({index for key in keys for index in known.get(key, ())})
            if found:
                return found
        return []


def _forms(name: str) -> tuple[set[str], set[str], set[str]]:
    """A name as it is, as it is compared, and its synonyms, which commas part."""
    synonyms = {plain(part) for part in name.split(",")} - {""}
    return {name}, {plain(name)}, synonyms


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """Names in a sentence, the first of many."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(list(names)[:most]) + more


@cache
def wordnet_ids() -> dict[str, int]:
    """The WordNet ids of ImageNet's thousand classes, and their indices."""
    return {word: index for index, word in enumerate(IDS.read_text(encoding="ascii").split())}
