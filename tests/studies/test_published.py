"""The table of published numbers: what its file may hold, and what changed on purpose since it has one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dist
import pytest

from ostrich.errors import UnknownName
from ostrich.published import FILE, Published, all_published, parsed, published

BEFORE = Path(__file__).with_name("published-before.json")  # of commit 838276a: value, unit, source, read
CORRECTED = {
    "inception-bn-x5/steps-to-72.2",  # the unit says that it is the whole bundle's
    "he2015-14-layers-xavier/top1-error",  # table 2 too, not section 2.2 alone
    "he2015-14-layers-he/top1-error",
    "cifar10-resnet110/test-error",  # the best of five
    "dgn-am/start",  # of the shell script, not of act_max.py's defaults
    "dgn-am/steps",
    "dgn-am/rate",
    "dgn-am/decay",
    "dgn-am/deviations",
}
PAPERS = ("Szegedy", "Nguyen", "Moosavi-Dezfooli", "Su", "Kurakin", "Athalye", "Brown", "Veit", "Radford")
GOOD = '[[numbers]]\nsource = "a paper"\nunit = "%"\nread = true\nvalues.some = 1.5\n'


def test_what_was_there_is_there_still_but_for_what_is_corrected():
    before = {name: Published(value=v, unit=u, source=s, read=r) for name, (v, u, s, r) in _before()}
    assert {name for name, one in before.items() if published(name) != one} == CORRECTED
    assert all(published(name).value == one.value for name, one in before.items())


def _before() -> list[tuple[str, list]]:
    return list(json.loads(BEFORE.read_text(encoding="utf-8")).items())


@pytest.mark.parametrize("paper", PAPERS)
def test_the_papers_of_the_attacks_have_their_numbers(paper):
    assert [one for one in all_published().values() if one.source.startswith(f"{paper} ")]


def test_the_residual_network_of_110_layers_is_told_in_the_mean_too():
    best, mean = (published(f"cifar10-resnet110/{what}test-error") for what in ("", "mean-"))
    assert (best.value, mean.value) == (6.43, 6.61)
    assert "best of five" in best.unit


def test_an_unknown_number_is_answered_with_a_near_one():
    with pytest.raises(UnknownName, match="resnet20/test-error"):
        published("cifar10-resnet20/test-eror")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + GOOD, "some is there twice"),
        (GOOD.replace("1.5", "true"), "some is True"),
        (GOOD.replace("1.5", '"1.5"'), "some is '1.5'"),
        (GOOD.replace("1.5", "nan"), "some is nan"),
        (GOOD.replace('"a paper"', '""'), "source of published numbers is a str"),
        (GOOD.replace("read = true", 'read = "yes"'), "read of published numbers is a bool"),
        (GOOD.replace("read = true\n", ""), "a table of published numbers has source, unit, read, values"),
        (GOOD + "page = 3\n", "got source, unit, read, values, page"),
        (GOOD.replace("values.some = 1.5", "values = {}"), "values of published numbers is a dict"),
        ("[other]\n", "it has other"),
    ],
)
def test_a_file_that_is_wrong_is_refused(text, message):
    assert parsed(GOOD) == {"some": Published(value=1.5, unit="%", source="a paper", read=True)}
    with pytest.raises(ValueError, match=f"(?i){message}"):
        parsed(text)


def test_the_file_is_shipped_and_read_only_when_a_number_is_asked_for():
    assert f"src/ostrich/{FILE.name}" in dist.tracked()
    code = (
        "import sys, ostrich, ostrich.cli.main\n"
        "table = sys.modules.get('ostrich.published')\n"
        "sys.exit(0 if table is None else table.all_published.cache_info().currsize)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
