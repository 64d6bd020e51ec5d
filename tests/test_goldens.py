"""Commands give what they gave when their golden file was made. The rule: `goldens.py`."""

from __future__ import annotations

import copy

import golden_commands
import goldens
import pytest
from golden_differences import differences

from ostrich import attacks, attribution

MEANT = "If this is meant, make them anew (make goldens ARGS={name}) and say why in the commit."
EXACTLY = goldens.here() == goldens.made_on()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"golden-{name}")) for name in goldens.COMMANDS],
)
def test_it_gives_what_it_gave(name):
    for package in goldens.COMMANDS[name].needs:
        pytest.importorskip(package)
    found = goldens.made(goldens.COMMANDS[name])
    lines = differences(name, goldens.kept(name), found, exactly=EXACTLY)
    if lines:
        expected = golden_commands.EXPECTED_TO_CHANGE.get(name)
        lines += [f"Expected to change: {expected}."] if expected else []
        pytest.fail(
            "\n".join([f"ostrich {found['command']}", *lines, MEANT.format(name=name)]), pytrace=False
        )


def test_bit_for_bit():
    """Skipped, and said, where only the results are compared."""
    if not EXACTLY:
        pytest.skip(
            f"within a tolerance, without digests: made on {goldens.made_on()}, here {goldens.here()}"
        )


def test_every_technique_has_its_file():
    names = attacks.ATTACKS | attacks.IMAGE_AGNOSTIC | attacks.CAMOUFLAGE
    assert set(golden_commands.ATTACKS) == set(names)
    assert set(golden_commands.EXPLAINERS) == {f"explain-{name}" for name in attribution.EXPLAINERS}
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
