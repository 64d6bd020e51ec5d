"""`ostrich.check`: the calls of a PyTorch user, the same as the command, and bad input answered."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import nets
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import ostrich
from ostrich.cli.main import run
from ostrich.crashtest.comparison import since
from ostrich.errors import InputError, RunExists, UnknownName
from ostrich.verbs.check import CheckResult

DIGITS = ["zoo:digits-cnn", "digits"]
PROBES = "clean,noise,robustness,doctor"
FLOOR = "linf:1/255=0.5"
TIMES = ("command", "versions", "checksum", "seconds")


def timeless(content: Any) -> Any:
    """JSON without what differs between two runs of the same: times, what was typed, and checksums."""
    if isinstance(content, dict):
        return {name: timeless(value) for name, value in content.items() if name not in TIMES}
    return [timeless(value) for value in content] if isinstance(content, list) else content


def folder_of(path: Path) -> dict[str, object]:
    """All files of a check by name; of the page, which prints times, only that it is there."""
    found: dict[str, object] = {}
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        if file.is_dir() or name.startswith("shards/") or ".lock" in name or name == "plan.json":
            continue
        found[name] = file.read_bytes()
        if file.suffix == ".json":
            found[name] = timeless(json.loads(file.read_text()))
        elif name == "index.html":
            found[name] = None
    return found


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "out"
    words = ["check", *DIGITS, "--limit", "8", "--only", PROBES, "--minutes", "60", "--fail-under", FLOOR]
    assert run([*words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def found() -> CheckResult:
    return ostrich.check(*DIGITS, limit=8, only=PROBES.split(","), minutes=60, fail_under=[FLOOR])


def test_it_is_what_the_command_gives(by_command, found, tmp_path):
    saved = found.save(tmp_path / "saved")
    assert folder_of(saved) == folder_of(by_command)
    assert json.loads((saved / "run.json").read_text())["results"] == json.loads(json.dumps(found.figures))
    with pytest.raises(RunExists):
        found.save(saved)
    found.save(saved, force=True)


def test_what_it_says(by_command, found):
    assert repr(found) == f"<check: {found.figures['verdict']} 1 of 1 gates passed.>"
    assert "\n" not in repr(found)
    assert found.passed
    assert [(gate["text"], gate["passed"]) for gate in found.gates] == [(FLOOR, True)]
    assert found.findings == []
    assert found.report.read_text().lstrip().startswith("<!doctype html>")
    assert "clean accuracy" in found._repr_html_()
    assert len(found._repr_html_()) < 2000
    for folder, command in (
        (found.folder, "ostrich.check(model, data, only='clean')"),  # nothing was typed
        (by_command, "ostrich check zoo:digits-cnn digits --only clean --limit 8"),
    ):
        assert json.loads((folder / "probes/clean.json").read_text())["command"] == command


def own() -> tuple[torch.nn.Module, Tensor, Tensor]:
    network, images = nets.small().network, nets.random_images(6)
    assert isinstance(network, torch.nn.Module)
    return network, images, nets.predictions(ostrich.load(network), images)


def test_what_a_pytorch_user_has():
    network, images, labels = own()
    pair = ostrich.check(network, (images, labels), only="clean,noise", minutes=2)
    assert pair.figures["clean_accuracy"] == 1
    assert pair.figures["n"] == 6
    loader = DataLoader(TensorDataset(images, labels), batch_size=4)
    again = ostrich.check(ostrich.load(network), loader, only="clean,noise", minutes=2)
    assert again.figures["probes"] == pair.figures["probes"]
    alone = ostrich.check(network, images, only="clean", minutes=2)
    assert alone.figures["clean_accuracy"] is None


def test_a_function_has_no_gradients_and_is_checked():
    network, images, labels = own()

    def scores(x: Tensor) -> Tensor:
        with torch.no_grad():
            return network(x)

    found = ostrich.check(scores, (images, labels), only="clean,targeted-pair", minutes=2)
    assert list(found.figures["probes"]) == ["clean", "targeted-pair"]
    assert "no gradient" in found.report.read_text()


def test_gates_and_an_earlier_result_as_baseline(tmp_path):
    network, images, labels = own()
    first = ostrich.check(network, (images, labels), only="clean", minutes=2)
    assert first.passed
    assert first.gates == []
    same = ostrich.check(network, (images, labels), only="clean", minutes=2, baseline=first)
    assert same.passed
    run_json = first.save(tmp_path / "first") / "run.json"
    worse = ostrich.check(network, (images, (labels + 1) % 5), only="clean", minutes=2, baseline=run_json)
    assert not worse.passed
    assert worse.gates[0]["sentence"].startswith("Worse than before: clean accuracy")
    unmeasured = ostrich.check(network, (images, labels), only="clean", minutes=2, fail_under=FLOOR)
    assert unmeasured.gates[0]["passed"] is None
    assert not unmeasured.passed


def test_images_for_which_there_was_no_time_are_not_said_to_be_seen(tmp_path, monkeypatch):
    network, images, labels = own()
    asked = {"only": "clean", "minutes": 2}
    whole = ostrich.check(network, (images, labels), **asked, out=tmp_path / "whole")
    monkeypatch.setattr("ostrich.crashtest.plan.Plan.affordable", lambda *given: 2)
    cut = ostrich.check(network, (images, labels), **asked, baseline=whole, out=tmp_path / "cut")
    data = [json.loads((tmp_path / name / "run.json").read_text())["data"] for name in ("whole", "cut")]
    assert [(one["n"], one.get("of")) for one in data] == [(6, None), (2, 6)]
    assert data[0]["sha256"] != data[1]["sha256"]
    assert cut.gates[0]["sentence"].endswith("The images are not the same ones.")
    assert cut.figures["since"]["same_images"] is False
    again = ostrich.check(network, (images, labels), **asked, baseline=cut)
    assert again.figures["since"]["same_images"] is True
    # A run of before says all that were given.
    earlier = {"results": cut.figures, "data": data[0]}
    assert since("earlier", earlier, {"results": whole.figures, "data": data[0]})["same_images"] is False


@pytest.mark.parametrize("limit", [3, 6])
def test_a_choice_of_images_is_told_from_another_one(limit):
    network, images, _ = own()
    first, second = (ostrich.attack("fgsm", network, images, limit=limit, seed=seed) for seed in (0, 1))
    told = [one.question.samples.sha256 for one in (first, second)]
    assert (told[0] == told[1]) == (limit == 6)  # all of them


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"only": "cleen"}, UnknownName, "Did you mean clean"),
        ({"only": ["clean", "photograph"]}, UnknownName, "Unknown probe 'photograph'"),
        ({"minutes": 0}, InputError, "minutes is above 0; got 0"),
        ({"minutes": float("inf")}, InputError, "minutes is a finite number; got inf"),
        ({"minutes": "1"}, InputError, "minutes is a finite number; got '1'"),
        ({"images": 4.0}, InputError, "images is a whole number, at least 1; got 4.0"),
        ({"limit": 0}, InputError, "limit is a whole number, at least 1; got 0"),
        ({"seed": None}, InputError, "seed is a whole number; got None"),
        ({"precision": "double"}, InputError, "fast or exact; got 'double'"),
        ({"fail_under": "0.2"}, InputError, "NORM:EPS=ACCURACY"),
        ({"baseline": "none.json"}, InputError, "no run"),
        ({"data": "none.jpg"}, InputError, "no image file"),
        ({"data": 3}, InputError, "Images are a tensor"),
        ({"data": torch.zeros(2, 8, 8)}, InputError, "N, C, H, W"),
        ({"data": (nets.random_images(2), torch.tensor([0]))}, InputError, "one for each of 2 images"),
    ],
)
def test_what_cannot_be_used_is_said(options, error, said, tmp_path):
    network, images, _ = own()
    given = {"data": images, "out": tmp_path / "out", **options}
    with pytest.raises(error, match=said):
        ostrich.check(network, **given)
    assert not (tmp_path / "out").exists()


def test_what_is_not_saved_goes_with_the_result():
    network, images, labels = own()
    found = ostrich.check(network, (images, labels), only="clean", minutes=2)
    folder = found.folder
    assert folder.exists()
    del found
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize("error", [ArithmeticError("two and two"), MemoryError()], ids=["ours", "memory"])
def test_a_fault_of_ours_in_one_probe_costs_no_other(tmp_path, monkeypatch, error):
    network, images, labels = own()
    asked = {"only": "clean,calibration,noise", "minutes": 2, "fail_under": "corruption:3=0.1"}
    words = {**asked, "junit": tmp_path / "junit.xml", "out": tmp_path / "out"}

    def wrong(context: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("ostrich.crashtest.probes.noise.probe", wrong)
        with pytest.raises(type(error)) as raised:
            ostrich.check(network, (images, labels), **words)
    assert raised.value is error
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert not run["finished"]
    if isinstance(error, MemoryError):  # of the machine: there is none for the other probes either
        assert not (tmp_path / "out/index.html").exists()
        return
    assert set(run["results"]["probes"]) == {"clean", "calibration", "noise"}
    assert "A fault of ours, ArithmeticError: two and two" in (tmp_path / "out/index.html").read_text()
    assert "corruption" in (tmp_path / "junit.xml").read_text()
    clean = (tmp_path / "out/probes/clean.json").read_bytes()
    found = ostrich.check(network, (images, labels), **words)  # the same again, when it is mended
    assert "fault of ours" not in found.report.read_text()
    assert (tmp_path / "out/probes/clean.json").read_bytes() == clean
    assert found.figures["probes"]["noise"]


def test_a_check_whose_report_could_not_be_written_goes_on(tmp_path, monkeypatch):
    network, images, labels = own()

    def full_disk(folder: Path) -> Path:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("ostrich.verbs.check.write_report", full_disk)
        with pytest.raises(OSError, match="no space"):
            ostrich.check(network, (images, labels), only="clean", minutes=2, out=tmp_path / "out")
    probe = (tmp_path / "out/probes/clean.json").read_bytes()
    found = ostrich.check(network, (images, labels), only="clean", minutes=2, out=tmp_path / "out")
    assert found.report.exists()
    assert (tmp_path / "out/probes/clean.json").read_bytes() == probe
