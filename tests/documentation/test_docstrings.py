"""What `help()` says of a technique: its paper, and what each of its settings means."""

import dataclasses
import inspect
import re

import pytest

from ostrich.attacks import ATTACKS
from ostrich.attribution import EXPLAINERS

TECHNIQUES = {**ATTACKS, **EXPLAINERS}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_technique_names_its_paper_and_explains_its_settings(name):
    technique = TECHNIQUES[name]
    told = "\n".join(inspect.getdoc(cls) or "" for cls in technique.__mro__ if cls is not object)
    assert re.search(r"[A-Z]\w+.* (19|20)\d\d, \"", inspect.getdoc(technique)), "no paper"
    for setting in dataclasses.fields(technique):
        if setting.name != "threat" and setting.repr:
            assert re.search(rf"^\s*{setting.name} {{2,}}\S", told, re.M), setting.name
