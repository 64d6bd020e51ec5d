"""The names of units.

    class:ostrich             the logit of a class, by name or number
    probability:ostrich       its softmax output
    layer3.2.conv1:17         a channel of a layer: its mean over the map
    layer3.2.conv1:17@4,5     one neuron of it, at row 4, column 5
    layer3.2.conv1:17@centre  the one in the middle: row H // 2, column W // 2 of the map, from 0
    blocks.3:17               a feature of tokens: its mean over those that stand for a place
    blocks.3:17@4,5           that feature of the token at row 4, column 5 of the grid of patches
    fc:123                    one output of a layer without a map
    class:a - 0.5*class:b     a sum of units: between terms stands + or -, with spaces around

What they are of a network: `units.py`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from ostrich.errors import InputError
from ostrich.models.answers import NO_ANSWER

if TYPE_CHECKING:
    from ostrich.models import Classifier

FORMS = "class:NAME, probability:NAME, LAYER:CHANNEL, LAYER:CHANNEL@ROW,COLUMN or LAYER:CHANNEL@centre"
CENTRE = "centre"
SIGN = r"\s+([+-])\s+(?=(?:(?!\s[+-]\s).)*(?::|diversity\())"  # before a term
NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A parsed unit. `layer` is "class", "probability" or a module's name; `index` a class or channel.

    `position` is (row, column), or CENTRE until the size of the map is known.
    """

    text: str
    layer: str
    index: str
    position: tuple[int, int] | str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def is_output(self) -> bool:
        """Whether it is one of the network's scores."""
        return self.layer in ("class", "probability")

    @property
    def terms(self) -> tuple[tuple[Unit, float], ...]:
        """The units that it is a sum of, with their weights: itself alone."""
        return ((self, 1.0),)


@dataclass(frozen=True, kw_only=True)
class Sum:
    """A weighted sum of units, such as the difference of two classes."""

    text: str
    terms: tuple[tuple[Unit, float], ...]

    def __str__(self) -> str:
        return self.text

    @property
    def is_output(self) -> bool:
        """Whether it is made of the network's scores alone."""
        return all(unit.is_output for unit, _ in self.terms)


AnyUnit = Unit | Sum


def parse(text: str) -> Unit:
    """Read a unit's name. Raises InputError with the forms there are."""
    layer, colon, rest = text.strip().partition(":")
    if not colon or not layer or not rest:
        raise InputError(f"{text!r} is no unit; a unit is {FORMS}.")
    if layer in ("class", "probability"):
        return Unit(text=text.strip(), layer=layer, index=rest)
    found = re.fullmatch(r"(\d+)(?:@(\d+),(\d+)|@(centre))?", rest)
    if not found:
        raise InputError(
            f"{text!r} is no unit: after the layer stands CHANNEL, CHANNEL@ROW,COLUMN or CHANNEL@centre."
        )
    position = (int(found[2]), int(found[3])) if found[2] else found[4]
    return Unit(text=text.strip(), layer=layer, index=found[1], position=position)


def split_terms(text: str) -> list[tuple[float, str]]:
    """The terms of a sum with their weights, signs included: each has NUMBER* before it or not.

    Signs between terms stand between spaces, since names of classes may hold them; and what follows one
    without a ":" and is no `diversity(LAYER)` belongs to the name before.
    """
    first, *rest = re.split(SIGN, text.strip(), flags=re.DOTALL)
    sign, first = ("-", first[1:]) if first.startswith("-") else ("+", first)
    found = []
    for operator, term in zip((sign, *rest[::2]), (first, *rest[1::2]), strict=True):
        weighed = re.fullmatch(rf"(?:({NUMBER})\s*\*\s*)?(.*)", term.strip(), re.DOTALL)
        assert weighed is not None
        weight = float(weighed[1] or 1)
        found.append((weight if operator == "+" else -weight, weighed[2]))
    return found


def parse_sum(text: str) -> AnyUnit:
    """Read a unit's name, or a sum of units. Raises InputError with the forms there are."""
    terms = split_terms(text)
    try:
        units = [parse(name) for _, name in terms]
    except InputError:
        return parse(text)  # a class whose name has a sign in it, or no unit at all
    if len(terms) == 1 and terms[0][0] == 1:
        return units[0]
    weights: dict[Unit, float] = defaultdict(float)
    for (weight, _), unit in zip(terms, units, strict=True):
        weights[unit] += weight
    if not all(map(isfinite, weights.values())) or not any(weights.values()):
        raise InputError(f"The terms of {text!r} cancel, or are not finite: nothing is left.")
    return Sum(text=text.strip(), terms=tuple((unit, w) for unit, w in weights.items() if w))


def place(unit: Unit, size: tuple[int, ...]) -> tuple[int, int]:
    """The row and column of a neuron on a map of that size (H, W).

    The centre of 3x7 is 1,3; of an even side, where two are in the middle, it is the later one.
    """
    assert unit.position is not None
    if isinstance(unit.position, str):
        return size[0] // 2, size[1] // 2
    return unit.position


def class_unit(classifier: Classifier, index: int) -> str:
    """The unit of a class's logit, by its name where that is the name of no other class.

    Of NO_ANSWER it is "class:no answer", a unit that no network has.
    """
    name = classifier.class_name(index)
    if index == NO_ANSWER:
        return f"class:{name}"
    try:
        return f"class:{name if classifier.class_index(name) == index else index}"
    except InputError:
        return f"class:{index}"


def as_file_name(unit: str) -> str:
    """A unit as part of a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in ".,@") else "-" for c in unit)[:60]
