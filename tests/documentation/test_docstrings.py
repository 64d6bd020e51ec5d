"""What `help()` says: of a public name what it is given, in what shape, and what it refuses.

Of a technique its paper.
"""

import dataclasses
import inspect
import re

import documented
import pytest

from ostrich.attacks import ATTACKS
from ostrich.attribution import EXPLAINERS
from ostrich.errors import InputError

TECHNIQUES = {**ATTACKS, **EXPLAINERS}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_technique_names_its_paper_and_explains_its_settings(name):
    technique = TECHNIQUES[name]
    told = "\n".join(inspect.getdoc(cls) or "" for cls in technique.__mro__ if cls is not object)
    assert re.search(r"[A-Z]\w+.* (19|20)\d\d, \"", inspect.getdoc(technique)), "no paper"
    for setting in dataclasses.fields(technique):
        if setting.name != "threat" and setting.repr:
            assert re.search(rf"^\s*{setting.name} {{2,}}\S", told, re.M), setting.name


def test_public_names_lack_nothing_in_their_docstrings():
    assert list(documented.lacking()) == []


def test_what_a_docstring_lacks_is_found():
    from torch import Tensor

    def bare(images: Tensor, eps: float, *, seed: int = 0) -> Tensor:
        """Two words."""
        if eps < 0:
            raise InputError("below zero")
        return images

    def whole(images: Tensor, eps: float, *, seed: int = 0) -> Tensor:
        """Images (N, C, H, W) within `eps` of `images`. Raises InputError for an eps below 0."""
        if eps < 0:
            raise InputError("below zero")
        return images

    @dataclasses.dataclass
    class Kind:
        """What has a field, `known`."""

        known: int
        unknown: int

    assert list(documented.of_one("bare", bare, set())) == [
        "bare: a sentence",
        "bare: parameter eps",
        "bare: shape of its tensors",
        "bare: error InputError",
    ]
    assert list(documented.of_one("whole", whole, set())) == []
    assert list(documented.of_class("Kind", Kind)) == ["Kind: parameter unknown"]


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        ("(N, C, H, W)", True),
        ("(n * samples, C)", True),
        ("(Su, Vargas 2019)", False),
        ("(see below)", False),
    ],
)
def test_a_shape_is_told_from_a_name_in_brackets(words, shape):
    assert bool(documented.SHAPE.search(words)) == shape
