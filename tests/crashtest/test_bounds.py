"""The probe `bounds`: both sides at each budget, its gate, and what is said where they contradict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ostrich
from ostrich.certification.methods import Linear, Verdict
from ostrich.crashtest.comparable import comparable
from ostrich.crashtest.gates import judge_baseline, read_floor
from ostrich.crashtest.probes import bounds
from ostrich.crashtest.report.pictures import Embedder
from ostrich.crashtest.summary import calibration
from ostrich.errors import UnknownName

SIZE = 8
LEADS = [4, 6, 8, 12, 20, 30]  # levels; broken from more than half of them on
STAND = {1: 6, 2: 5, 4: 3, 8: 2, 16: 0}  # verified: at exactly half the lead nothing is proven


def means(factor: float = 20.0) -> nn.Module:
    """Logits are a factor times the mean of each channel: its bounds are exact."""
    network = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU())
    network[0].weight.data = factor * torch.eye(3)[:, :, None, None]
    return network.eval()


def images() -> tuple[Tensor, Tensor]:
    labels = torch.arange(len(LEADS)) % 3
    found = torch.full((len(LEADS), 3, SIZE, SIZE), 120 / 255)
    for i, lead in enumerate(LEADS):
        found[i, labels[i]] += lead / 255
    return found, labels


def checked(network: nn.Module, out: Path, **asked: object) -> ostrich.CheckResult:
    asked = {"only": ["clean", "bounds"], "images": len(LEADS), **asked}
    return ostrich.check(
        ostrich.Classifier(network, name="means", size=(SIZE, SIZE)), images(), out=out, **asked
    )


def test_both_sides_are_those_of_the_closed_form(tmp_path):
    floors = ["certified:linf:2/255=0.8", "certified:linf:4/255=0.8"]
    found = checked(means(), tmp_path / "run", fail_under=floors, junit=tmp_path / "junit.xml")
    figures = found.figures["probes"]["bounds"]
    for point in figures["linf"]:
        levels = round(255 * point["x"])
        assert round(6 * point["y"]) == STAND[levels]
        assert point["y"] <= point["attacked"] <= point["y"] + 1.01 / 6  # an image may be a draw
    assert figures["both_verified_and_broken"] == []
    assert [gate["passed"] for gate in found.gates] == [True, False]
    assert "is 0.833 (n = 6, by linear bounds)" in found.gates[0]["sentence"]
    assert 'name="certified:linf:4/255=0.8"' in (tmp_path / "junit.xml").read_text()
    page = found.report.read_text()
    assert ">not known</span>" in page
    assert "verified: at least" in page
    lines = {line["name"]: line for line in found.figures["summary"]}
    assert lines["certified accuracy at linf 2/255"]["value"] == 5 / 6
    assert lines["certified accuracy at linf 8/255"]["verdict"] == "not known"
    assert comparable({"results": found.figures})["certified accuracy at linf 8/255"]["value"] == 2 / 6


def test_a_lower_bound_that_sinks_is_worse_than_the_baseline(tmp_path):
    run = json.loads(
        checked(means(), tmp_path / "run").save(tmp_path / "kept").joinpath("run.json").read_text()
    )
    now = json.loads(json.dumps(run))
    assert judge_baseline("run", run, now)["passed"] is True
    for point in now["results"]["probes"]["bounds"]["linf"]:
        point["y"] = 0.0
    gate = judge_baseline("run", run, now)
    assert gate["passed"] is False
    assert "certified accuracy at linf 1/255" in gate["sentence"]


def test_what_is_both_verified_and_broken_is_said_first_and_counts_as_neither(tmp_path, monkeypatch):
    monkeypatch.setattr(Linear, "verify", lambda self, *given: Verdict("verified"))
    found = checked(means(), tmp_path / "run", fail_under="certified:linf:1/255=0")
    assert found.figures["verdict"].startswith(
        "A fault of the bounds, or of floating point: 6 images are both"
    )
    (gate,) = found.gates
    assert gate["passed"] is None
    assert "both verified and broken" in gate["sentence"]
    figures = found.figures["probes"]["bounds"]
    assert {point["y"] for point in figures["linf"]} == {0.0}
    first = figures["both_verified_and_broken"][0]
    assert first["broken"] <= first["verified"]
    kept = np.asarray(Image.open(found.folder / first["adversarial_file"]).convert("RGB"))
    again = torch.from_numpy(kept.copy()).permute(2, 0, 1)[None].float() / 255
    assert int(means()(again).argmax()) != images()[1][first["place"]]
    name = comparable({"results": found.figures})["certified accuracy at linf 1/255"]
    assert name["known"] is False


class Pooled(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.MaxPool2d(2), *means())


def test_a_gate_without_bounds_is_not_judged_and_says_why(tmp_path):
    floor = "certified:linf:2/255=0.1"
    refused = checked(Pooled(), tmp_path / "refused", fail_under=floor)
    assert refused.gates[0]["passed"] is None
    assert "MaxPool2d" in refused.gates[0]["sentence"]
    assert not refused.passed
    left_out = checked(means(), tmp_path / "out", only=["clean"], fail_under=floor)
    assert left_out.gates[0]["passed"] is None
    assert "not asked for" in left_out.gates[0]["sentence"]


def test_what_is_computed_in_double_is_bounded_and_in_half_refused(tmp_path):
    double = checked(means().double(), tmp_path / "double").figures["probes"]["bounds"]
    assert {round(255 * point["x"]): round(6 * point["y"]) for point in double["linf"]} == STAND
    half = checked(means().half(), tmp_path / "half", fail_under="certified:linf:2/255=0.1")
    assert half.gates[0]["passed"] is None
    assert "float16" in half.gates[0]["sentence"]


def test_large_networks_are_bounded_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "RECTIFIERS", 2)
    monkeypatch.setattr("ostrich.verbs.check.PROBES", {"clean": None, "bounds": None})
    skipped = checked(means(), tmp_path / "all", only=None)
    assert "It has 3 rectifiers" in json.loads((skipped.folder / "probes/bounds.json").read_text())["reason"]
    for name, asked in {
        "name": {"only": ["bounds"]},
        "gate": {"only": None, "fail_under": "certified:linf:2/255=0.1"},
    }.items():
        assert checked(means(), tmp_path / name, **asked).figures["probes"]["bounds"]["n"] == len(LEADS)


@pytest.mark.parametrize(
    "text",
    [
        "certified:2/255=0.4",
        "certified:linf=0.4",
        "certified:linf:2/255",
        "linf:l2:1=0.3",
        "corruption:linf:3=1",
    ],
)
def test_a_gate_that_is_none_is_refused_in_words(text):
    with pytest.raises(ostrich.InputError):
        read_floor(text)
    with pytest.raises(UnknownName, match="l1"):
        read_floor("certified:l1:2/255=0.4")


@pytest.mark.parametrize(
    ("interval", "verdict"), [((0.0, 0.04), "small"), ((0.06, 0.1), "large"), ((0.02, 0.1), "undecided")]
)
def test_the_calibration_error_has_a_line_with_a_verdict(interval, verdict):
    line = calibration(sum(interval) / 2, interval, 100, surer=True)
    assert (line["name"], line["verdict"]) == ("calibration error", verdict)
    assert line["reason"] == (None if verdict == "small" else "it is surer than it is right")


def test_evidence_that_the_page_shows_with_loss_is_called_so(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    for name in ("first", "second"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    show = Embedder(tmp_path)
    assert show("first.png", "evidence").lossy  # alone it is more than a page may hold exactly
    small = Image.fromarray(noise[:32, :32])
    small.save(tmp_path / "small.png")
    assert not show("small.png", "evidence").lossy


def test_evidence_is_exact_where_it_is_shown_first(tmp_path):
    smooth = np.linspace(0, 255, 224 * 224 * 3).reshape(224, 224, 3)
    noise = np.random.default_rng(0).integers(0, 8, smooth.shape)
    Image.fromarray((smooth * 0.9 + noise).astype(np.uint8)).save(tmp_path / "one.png")
    show = Embedder(tmp_path)
    first, again = show("one.png", "evidence"), show("one.png", "evidence")
    assert (first.lossy, again.lossy) == (False, True)
    assert len(again.source) < len(first.source) / 2
