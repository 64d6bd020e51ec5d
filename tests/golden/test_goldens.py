"""Training, generators, studies, checks: they give what they gave. The rule: `goldens.py`."""

from __future__ import annotations

import copy

import golden_commands
import goldens
import pytest
from golden_differences import differences

from ostrich import attacks, attribution


@pytest.mark.parametrize("name", golden_commands.RUNS)
def test_it_gives_what_it_gave(name):
    goldens.check(name)


def test_bit_for_bit():
    """Skipped, and said, where only the results are compared."""
    made_on, here = goldens.made_on(), goldens.here()
    if here != made_on:
        pytest.skip(f"within a tolerance, without digests: made on {made_on}, here {here}")


def test_every_technique_has_its_file():
    names = attacks.ATTACKS | attacks.IMAGE_AGNOSTIC | attacks.CAMOUFLAGE
    assert set(golden_commands.ATTACKS) == set(names)
    explainers = {name for name, method in attribution.EXPLAINERS.items() if not method.attention}
    assert set(golden_commands.EXPLAINERS) == {f"explain-{name}" for name in explainers}
    files = {file.stem for file in goldens.FOLDER.glob("*.json")}
    assert files == set(goldens.COMMANDS) | {"made-on"}
    assert golden_commands.EXPECTED_TO_CHANGE.keys() <= goldens.COMMANDS.keys()


def test_a_last_bit_is_seen_here_and_a_large_change_everywhere():
    old = goldens.kept("fgsm")
    bit, image, word = (copy.deepcopy(old) for _ in range(3))
    bit["results"]["distance"]["mean"] *= 1 + 2**-40
    bit["pictures"]["images/new.png"] = "0"
    assert len(differences("fgsm", old, bit, exactly=True)) == 2
    assert differences("fgsm", old, bit, exactly=False) == []
    image["results"]["success_rate"] -= 1 / image["results"]["n"]
    assert differences("fgsm", old, image, exactly=False) == []
    image["results"]["distance"]["mean"] *= 1.1
    (line,) = differences("fgsm", old, image, exactly=False)
    assert line.startswith("fgsm: results.distance.mean was 0.0156")
    word["results"]["distance"]["norm"] = "l2"
    del word["results"]["n"]
    assert len(differences("fgsm", old, word, exactly=False)) == 2
