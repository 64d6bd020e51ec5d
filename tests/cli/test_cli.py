"""The command line as a person uses it: contract of files and fields, exit codes, bad input, resume."""

from __future__ import annotations

import csv
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ostrich
from ostrich.attacks.engine.evidence import COLUMNS
from ostrich.cli.main import run
from ostrich.images import read_png

NETWORK = """
import torch, ostrich
from ostrich.models.residual import SmallNet

def build():
    torch.manual_seed(0)
    network = SmallNet(8, num_classes=2, width=0.5)
    network.linear.weight.data.mul_(20)
    return network

def wrong():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Identity())

class Boxed(torch.nn.Module):
    def forward(self, x):
        return {"image": x}

def boxed():
    return Boxed()

def scores():
    return lambda images: images.mean((2, 3))

class Crashing(torch.nn.Module):
    def forward(self, x):
        if len(x) > 1:
            raise ZeroDivisionError("inside the network")
        return x.mean((2, 3))

def crashing():
    return Crashing()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a network and twelve images in two classes, and nothing else; the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path


NET = ["net.py:build", "folder:photos", "--size", "16"]


def results(folder: str = "out") -> dict:
    return json.loads(Path(folder, "run.json").read_text())


def table(folder: str = "out") -> list[dict]:
    with Path(folder, "images.csv").open() as file:
        return list(csv.DictReader(file))


def test_attack_writes_what_the_contract_says(place):
    assert run(["attack", "pgd", *NET, "--set", "eps=32/255", "--set", "steps=10", "--out", "out"]) == 0
    content, rows = results(), table()
    for field in ("command", "versions", "seed", "device", "threads", "data", "results"):
        assert field in content
    assert content["data"].keys() >= {"name", "n", "sha256"}
    found = content["results"]
    for field in (
        "n",
        "clean_accuracy",
        "success_rate",
        "robust_accuracy",
        "forwards_per_image",
        "backwards_per_image",
    ):
        assert isinstance(found[field], int | float), field
    assert found["distance"].keys() == {"norm", "median", "mean", "max"}
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == found["n"] == 12
    model = ostrich.load("net.py:build", size=16)
    right = [r for r in rows if r["label"] == r["clean_prediction"]]
    assert found["clean_accuracy"] == len(right) / 12
    for row in rows:
        clean = read_png(f"out/{row['clean_file']}")
        with torch.no_grad():
            assert int(model(clean[None]).argmax()) == int(row["clean_prediction"])
        if row["label"] != row["clean_prediction"]:
            assert row["success"] == "false"
            assert row["distance"] == row["adversarial_file"] == ""
        elif row["success"] == "true":
            adversarial = read_png(f"out/{row['adversarial_file']}")
            with torch.no_grad():
                assert (
                    int(model(adversarial[None]).argmax())
                    == int(row["adversarial_prediction"])
                    != int(row["label"])
                )
            assert float(row["distance"]) == pytest.approx((adversarial - clean).abs().max().item(), abs=1e-5)
    assert not list(place.glob("**/*.partial"))


def test_an_ensemble_says_what_each_member_broke(place):
    words = ["--set", "eps=120/255", "--set", "iterations=3", "--set", "queries=20"]
    assert run(["attack", "autoattack", *NET, *words, "--out", "out"]) == 0
    found = results()["results"]
    assert list(found["broken_by"]) == ["apgd-t3", "apgd", "apgd-t", "fab", "square"]
    right = [row for row in table() if row["label"] == row["clean_prediction"]]
    broken = sum(row["success"] == "true" for row in right)
    assert sum(found["broken_by"].values()) == broken > 0
    with_surrogate = ["--set", "surrogate=net.py:none", *words, "--out", "other"]
    assert run(["attack", "autoattack", *NET, *with_surrogate]) == 2
    assert not Path("other").exists()


def test_a_smallest_change_comes_with_its_curve(place):
    assert run(["attack", "ddn", *NET, "--set", "steps=20", "--out", "out"]) == 0
    found = results()["results"]
    budgets, accuracies = zip(*found["curve"], strict=True)
    assert list(budgets) == sorted(budgets)
    assert list(accuracies) == sorted(accuracies, reverse=True)
    assert accuracies[0] == found["clean_accuracy"]
    assert accuracies[-1] == found["robust_accuracy"]
    median = found["distance"]["median"]
    at_median = [a for eps, a in found["curve"] if eps <= median][-1]
    assert abs(at_median - found["clean_accuracy"] / 2) <= 1 / 12


def test_one_pixel_files_differ_in_one_pixel(place):
    words = ["--set", "population=40", "--set", "generations=6", "--set", "eps=2"]
    assert run(["attack", "one-pixel", *NET, *words, "--out", "out"]) == 0
    broken = [row for row in table() if row["success"] == "true"]
    for row in broken:
        clean, found = (read_png(f"out/{row[what]}") for what in ("clean_file", "adversarial_file"))
        changed = int((clean != found).any(0).sum())
        assert changed == float(row["distance"]) in (1, 2)
    assert results()["results"]["distance"]["norm"] == "l0"


def test_views_are_averaged_over_on_request(place):
    words = ["--set", "steps=4", "--set", "stop=budget", "--set", "eot=3", "--set", "eot.rotation=5"]
    network = ["zoo:toybox-plain14", "toybox", "--limit", "8"]
    assert run(["attack", "pgd", *network, *words, "--out", "out"]) == 0
    found = results()["results"]
    assert found["eot"]["samples"] == 3
    assert found["success_rate"] > 0
    assert 0 < found["eot"]["views_reaching_the_goal"] <= 1
    attacked = sum(row["label"] == row["clean_prediction"] for row in table())
    assert found["backwards_per_image"] == 4 * 3 * attacked / 8


def test_a_change_without_budget_is_reported_in_l2(place):
    words = ["--set", "constants=2", "--set", "iterations=10", "--limit", "4", "--out", "out"]
    assert run(["attack", "lbfgs", *NET, *words]) == 0
    found = results()["results"]
    assert found["distance"]["norm"] == "l2"
    broken = [row for row in table() if row["success"] == "true"]
    assert broken
    for row in broken:
        change = read_png(f"out/{row['adversarial_file']}") - read_png(f"out/{row['clean_file']}")
        assert float(row["distance"]) == pytest.approx(change.norm().item(), rel=1e-4)


@pytest.mark.parametrize("target", ["dog", "1", "random", "least-likely"])
def test_targets(place, target):
    assert run(["attack", "fgsm", *NET, "--classes", "names.txt", "--target", target]) == 2  # no names yet
    Path("names.txt").write_text("cat\ndog\n")
    assert run(["attack", "fgsm", *NET, "--classes", "names.txt", "--target", target, "--out", "out"]) == 0
    targets = {row["target"] for row in table()}
    assert targets <= {"0", "1"}
    if target in ("dog", "1"):
        assert targets == {"1"}
    if target == "random":
        assert all(row["target"] != row["label"] for row in table())


def test_images_without_labels(place):
    assert (
        run(
            [
                "attack",
                "fgsm",
                "net.py:build",
                "photos/cat/0.png",
                "photos/dog/1.png",
                "--size",
                "16",
                "--out",
                "out",
            ]
        )
        == 0
    )
    assert results()["results"]["clean_accuracy"] is None
    assert all(row["label"] == row["clean_prediction"] for row in table())
    words = ["check", "net.py:build", "images:photos/cat", "--size", "16", "--only", "clean", "--out", "c"]
    assert run([*words, "--fail-under", "linf:1/255=0.1"]) == 1
    assert results("c")["results"]["clean_accuracy"] is None
    assert results("c")["results"]["gates"][0]["passed"] is None


@pytest.mark.slow
def test_check_writes_one_page_and_the_figures(place, capsys):
    assert run(["check", *NET, "--out", "out", "--minutes", "5"]) == 0
    said = capsys.readouterr().out
    assert "out/index.html" in said
    assert "ostrich check" in said.splitlines()[-1]
    page = Path("out/index.html").read_text()
    assert "https://" not in page
    found = results()["results"]
    assert {"clean", "targeted-pair", "noise", "robustness", "saliency"} <= set(found["probes"])
    assert {"index", "file", "label", "clean_prediction", "clean_file"} <= set(table()[0])
    curve = [p["y"] for p in found["probes"]["robustness"]["linf"]]
    assert curve == sorted(curve, reverse=True)


@pytest.mark.slow
def test_gates_and_baseline(place, capsys):
    words = ["check", *NET, "--only", "clean,noise,robustness"]
    assert run([*words, "--out", "a", "--fail-under", "linf:3/255=0.0"]) == 0
    assert run([*words, "--out", "b", "--fail-under", "linf:64/255=0.99"]) == 1
    assert run([*words, "--out", "c", "--baseline", "a/run.json"]) == 0
    better = results("a")
    clean = better["results"]["probes"]["clean"]
    clean |= {"accuracy": 1.0, "interval": [0.99, 1.0]}
    Path("better.json").write_text(json.dumps(better))
    assert run([*words, "--out", "d", "--baseline", "better.json"]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert run(["compare", "a", "c/run.json", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert any(r["figure"] == "clean accuracy" and r["difference"] == 0 for r in rows)


@pytest.mark.slow
def test_a_probe_that_cannot_run_stops_no_other(place):
    assert (
        run(
            [
                "check",
                "net.py:scores",
                "folder:photos",
                "--size",
                "16",
                "--out",
                "out",
                "--classes",
                "three.txt",
            ]
        )
        == 2
    )
    words = ["check", "net.py:scores", "images:photos/cat", "--size", "16", "--out", "out"]
    assert run(words) == 0
    told = {p.stem: json.loads(p.read_text()) for p in Path("out/probes").glob("*.json")}
    assert told["clean"]["status"] == told["noise"]["status"] == "done"
    assert told["saliency"]["status"] == "skipped"
    assert told["robustness"]["status"] == "done"  # by attacks that need no gradient
    assert "gradient" in told["targeted-pair"]["reason"]
    assert told["targeted-pair"]["reason"] in Path("out/index.html").read_text().replace("&#39;", "'")


def test_a_finished_run_is_kept_unless_forced(place, capsys):
    words = ["attack", "fgsm", *NET, "--out", "out"]
    assert run(words) == 0
    first = results()
    assert run(words) == 2
    assert "--force" in capsys.readouterr().err
    assert results() == first
    assert run([*words, "--force"]) == 0
    assert run(["attack", "fgsm", *NET]) == run(["attack", "fgsm", *NET]) == 0
    assert len(list(Path("runs").iterdir())) == 2
    Path("mine").mkdir()
    Path("mine/diary.txt").write_text("keep me")
    assert run(["attack", "fgsm", *NET, "--out", "mine", "--force"]) == 2
    assert Path("mine/diary.txt").read_text() == "keep me"


class Evil:
    def __reduce__(self):
        return exec, ("open('ran', 'w').write('x')",)


BAD = {
    "missing image": (["attack", "fgsm", "net.py:build", "none.jpg", "--size", "16"], "no image file"),
    "missing weights": (["attack", "fgsm", *NET, "--weights", "none.pt"], "no weights file"),
    "text as weights": (["check", *NET, "--weights", "text.pt"], "not a weights file"),
    "code as weights": (["check", *NET, "--weights", "evil.pt"], "no code of it is run|not a weights file"),
    "wrong class count": (["check", "arch:resnet8,classes=3", "folder:photos"], "2 classes"),
    "truncated": (["check", "net.py:build", "images:cut", "--size", "16"], "--skip-bad"),
    "empty folder": (["check", "net.py:build", "images:empty", "--size", "16"], "no image files"),
    "empty class folder": (["check", "net.py:build", "folder:empty", "--size", "16"], "no class folders"),
    "map": (["check", "net.py:wrong", "folder:photos", "--size", "16"], "Wrap it"),
    "attack's name": (["attack", "pdg", *NET], "Did you mean pgd"),
    "setting's name": (["attack", "pgd", *NET, "--set", "step=3"], "Did you mean steps"),
    "setting's value": (["attack", "pgd", *NET, "--set", "steps=many"], "whole number"),
    "setting's form": (["attack", "pgd", *NET, "--set", "steps"], "NAME=VALUE"),
    "norm": (["attack", "pgd", *NET, "--set", "norm=l3"], "Unknown norm"),
    "negative budget": (["attack", "pgd", *NET, "--set", "eps=-8/255"], "from 0 up"),
    "division": (["attack", "pgd", *NET, "--set", "eps=8/0"], "number is expected"),
    "views": (["attack", "pgd", *NET, "--set", "eot.rotatoin=3"], "Did you mean rotation"),
    "views of what has no gradient": (["attack", "square", *NET, "--set", "eot=3"], "EOT"),
    "half a pixel": (["attack", "one-pixel", *NET, "--set", "eps=0.5"], "whole"),
    "preset": (["attack", "autoattack", *NET, "--set", "preset=slow"], "standard, fast"),
    "surrogate": (["attack", "autoattack", *NET, "--set", "surrogate=zoo:toybox-plain41"], "Did you mean"),
    "limit": (["check", *NET, "--limit", "0"], "at least 1"),
    "target": (["attack", "pgd", *NET, "--target", "zebra"], "Unknown class"),
    "probe": (["check", *NET, "--only", "cleen"], "Did you mean clean"),
    "gate": (["check", *NET, "--fail-under", "0.2"], "NORM:EPS=ACCURACY"),
    "gate's budget": (["check", *NET, "--fail-under", "linf:-1/255=0.2"], "from 0 up"),
    "baseline": (["check", *NET, "--baseline", "none.json"], "no run"),
    "minutes": (["check", *NET, "--minutes", "0"], "above 0"),
    "precision": (["attack", "pgd", *NET, "--precision", "double"], "fast or exact"),
    "device": (["attack", "pgd", *NET, "--device", "tpu"], "auto, cpu or cuda"),
    "size": (["check", "net.py:build", "folder:photos"], "--size"),
    "mean": (["check", *NET, "--mean", "a,b"], "commas between"),
    "recipe": (["train", "cifar10"], "Did you mean cifar10-r"),
    "recipe's setting": (["train", "cifar10-resnet20", "--set", "epoch=3"], "Did you mean epochs"),
    "compare": (["compare", "here", "there"], "no run"),
    "status": (["status", "here"], "no run"),
    "unknown option": (["check", *NET, "--limt", "3"], "(?i)no such option"),
    "unknown command": (["chek"], "(?i)no such command"),
}


@pytest.mark.parametrize("what", list(BAD))
def test_bad_input_ends_with_one_sentence(place, capsys, what):
    Path("text.pt").write_text("no weights")
    Path("evil.pt").write_bytes(pickle.dumps(Evil()))
    Path("empty").mkdir()
    Path("cut").mkdir()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save("whole.jpg")
    Path("cut/cut.jpg").write_bytes(Path("whole.jpg").read_bytes()[:900])
    before = sorted(place.rglob("*"))
    words, sentence = BAD[what]
    out = [] if words[0] in ("compare", "status", "chek") else ["--out", "out"]
    assert run([*words, *out]) == 2
    shown = capsys.readouterr()
    import re

    assert re.search(sentence, shown.err), shown.err
    assert "Traceback" not in shown.err + shown.out
    after = [p for p in sorted(place.rglob("*")) if "__pycache__" not in str(p)]
    assert after == before, "something was half written"


def test_odd_files_are_converted(place):
    Path("odd").mkdir()
    Image.new("CMYK", (30, 20), (10, 20, 30, 0)).save("odd/cmyk.jpg")
    Image.new("I;16", (30, 20), 40000).save("odd/deep.png")
    Image.new("RGB", (1, 1), (200, 10, 10)).save("odd/tiny.png")
    Image.new("RGBA", (5, 40), (200, 10, 10, 90)).save("odd/clear.png")
    assert run(["attack", "fgsm", "net.py:build", "images:odd", "--size", "16", "--out", "out"]) == 0
    assert len(table()) == 4
    Path("odd/bad.png").write_bytes(b"broken")
    assert (
        run(["attack", "fgsm", "net.py:build", "images:odd", "--size", "16", "--out", "b", "--skip-bad"]) == 0
    )
    assert results("b")["data"]["skipped"] == ["odd/bad.png"]


def test_a_network_that_asserts_on_the_batch_is_asked_about_fewer(place, capsys):
    assert run(["attack", "fgsm", "net.py:crashing", "images:photos/cat", "--size", "16", "--out", "o2"]) == 0
    assert "the network failed on" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same(place):
    """kill -9 in the middle of the attacks, then the same command."""
    words = ["check", *NET, "--only", "clean,robustness", "--minutes", "5"]
    assert run([*words, "--out", "whole"]) == 0

    def finished_batches() -> list[Path]:
        return [p for p in Path("cut/shards").glob("*/*.pt") if not p.name.endswith(".half.pt")]

    process = subprocess.Popen(
        [sys.executable, "-m", "ostrich", *words, "--out", "cut"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started = time.monotonic()
    while not finished_batches() and process.poll() is None and time.monotonic() - started < 60:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if results("cut")["finished"]:
        pytest.skip("the check was faster than the kill")
    kept = {p: p.stat().st_mtime_ns for p in finished_batches()}
    assert kept
    assert run([*words, "--out", "cut"]) == 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "a finished batch was computed again"
    a, b = (results(f)["results"]["probes"] for f in ("whole", "cut"))
    assert a == b
    assert run([*words, "--out", "cut"]) == 2


def test_lists(place, capsys):
    for words in (["models"], ["attacks"], ["recipes"], ["data"], ["units", "arch:resnet8"]):
        assert run(["list", *words, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert rows
        assert run(["list", *words]) == 0
        capsys.readouterr()
    assert run(["list", "models", "--json"]) == 0
    models = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert models["arch:resnet20"]["parameters"] == 269_722
    assert set(models["arch:resnet20"]) == {"name", "kind", "parameters", "input", "source"}
    assert run(["list", "attacks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    attacks = {row["name"]: row for row in rows}
    assert len(rows) == len(attacks)  # each once
    assert [attacks[name]["kind"] for name in ("pgd", "dazzle")] == ["input-specific", "image-agnostic"]
    assert attacks["pgd"].keys() == {"name", "needs", "kind", "threat_models"}
