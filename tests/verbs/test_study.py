"""`ostrich.study` beside its command, on a network of one's own, and what it refuses."""

from __future__ import annotations

import pytest
from run_folders import contents

import ostrich
from ostrich.cli.main import run
from ostrich.models.options import ModelOptions
from ostrich.runtime.executors import Here

SMALL = {"depth": 3, "gains": (1.0,)}
WORDS = ["--set", "depth=3", "--set", "gains=1"]


def test_the_verb_leaves_what_the_command_leaves(tmp_path):
    command = ["study", "gradients", "--scale", "smoke", "--seeds", "3", *WORDS]
    assert run([*command, "--out", str(tmp_path / "command")]) == 0
    held = ostrich.study("gradients", seeds=3, **SMALL)
    held.save(tmp_path / "saved")
    local = ostrich.study(
        "gradients", "smoke", seeds=3, executor="local", workers=1, out=tmp_path / "local", **SMALL
    )
    expected = contents(tmp_path / "command")
    assert {"report.md", "figure.png", "results.csv", "run.json"} <= set(expected)
    assert contents(tmp_path / "saved") == expected
    printed = contents(tmp_path / "local")
    assert printed.pop("trials/log.txt") == b""  # of the worker processes
    assert printed == expected
    assert local.figures["verdict"] == held.verdict
    assert held.verdict in held.report.read_text().lower()
    assert held.findings is not None
    assert held.because == held.findings.because
    assert repr(held) == f"<study-gradients: scale=smoke, verdict={held.verdict}, seeds=3, trials=9>"
    assert "<img" in held._repr_html_()


def test_a_study_about_a_network_of_ones_own():
    network = ModelOptions(model="zoo:toybox-resnet20")
    found = ostrich.study("removal", model=network, data="toybox", images=10, executor=Here())
    assert found.figures["figures"]["parts"] > 0


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("depht", {}, "Did you mean depth"),
        ("depth", {"scale": "huge"}, "scales smoke, cpu, hours, gpu, paper"),
        ("depth", {"seeds": 2}, "at least 3 seeds"),
        ("depth", {"stepz": 2}, "Did you mean steps"),
        ("depth", {"data": "toybix"}, "toybix"),
        ("depth", {"data": ["a.png", "b.png"]}, "trains on DATA as text"),
        ("depth", {"model": "zoo:toybox-resnet20"}, "takes no MODEL"),
        ("depth", {"device": "gpu"}, "auto, cpu or cuda"),
        ("depth", {"executor": "cloud"}, "Unknown executor 'cloud'. Known: auto, inprocess, local, ray"),
        ("depth", {"executor": "local", "workers": 0}, "at least 1"),
        ("removal", {}, "model= and data="),
        (
            "removal",
            {"model": lambda images: images, "data": "toybox"},
            "MODEL and DATA as text; got function",
        ),
    ],
)
def test_what_it_cannot_use_is_refused(name, given, message):
    with pytest.raises(ostrich.InputError, match=message):
        ostrich.study(name, **given)
