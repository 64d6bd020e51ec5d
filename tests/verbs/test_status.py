"""`ostrich.status`: what it says of every kind of run while it computes, cut off, and done."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import killing
import pytest
import torch

import ostrich
from ostrich.attacks.engine import runner
from ostrich.cli.main import run
from ostrich.runtime import how_far, lock, stopwatch
from ostrich.runtime.events import counted, progress
from ostrich.runtime.runs import Run

DIGITS = ["zoo:digits-cnn", "digits"]
PERCEPTRON = ["generate", "train", "digits-perceptron", "--set", "steps=2", "--set", "judge_samples=20"]
PERCEPTRON += ["--set", "architecture=perceptron,size=8,channels=1,width=0.05", "--set", "batch_size=20"]
COMMANDS = {  # and the first part that each is at, with its units
    "attack": (["attack", "fgsm", *DIGITS, "--limit", "40"], "fgsm on 40 images", "images"),
    "fooling": (
        ["attack", "fooling-ascent", "zoo:digits-cnn", "--limit", "2", "--set", "steps=2"],
        "fooling-ascent for 2 classes",
        "classes",
    ),
    "check": (
        ["check", *DIGITS, "--images", "8", "--only", "clean,noise,robustness"],
        "probes",
        "probes",
    ),
    "explain": (["explain", "gradient", *DIGITS, "--limit", "20"], "gradient of 20 images", "images"),
    "train": (
        ["train", "digits-cnn", "--set", "epochs=1", "--set", "train_images=200"],
        "training digits-cnn",
        "images",
    ),
    "generate": (PERCEPTRON, "training digits-perceptron", "images"),
    "sample": (["generate", "sample", "zoo:toybox-dcgan", "--count", "140"], "samples", "batches"),
    "study": (["study", "gradients", "--scale", "smoke"], "gradients, smoke", "trials"),
}
NOBODY = '{"processes": [], "cluster": false, "parts": [], "updated": 0}'


@pytest.fixture
def told(monkeypatch):
    """What `status` says each time that a command tells how far it is."""
    found, write = [], how_far._Kept._write
    monkeypatch.setattr(how_far, "EVERY", 0.0)

    def written(self, *, due=False):
        write(self, due=due)
        if (self._folder / "run.json").exists():
            found.append(ostrich.status(self._folder))

    monkeypatch.setattr(how_far._Kept, "_write", written)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_kind_of_run_says_how_far_it_is_and_then_that_it_is_done(name, told, tmp_path):
    words, title, unit = COMMANDS[name]
    out = tmp_path / "out"
    with chdir(tmp_path):
        assert run([*words, "--out", "out"]) == 0
    assert {one.state for one in told} == {"working"}
    firsts = [one.parts[0] for one in told]
    assert (firsts[0].title, firsts[0].unit) == (title, unit)
    whole = [part for part in firsts if part.title == title]
    assert whole[-1].done == whole[-1].total > 0
    assert [part.done for part in whole] == sorted(part.done for part in whole)
    assert all(one.processes for one in told)
    assert not (out / how_far.NAME).exists()
    assert ostrich.status(out).state == "finished"
    assert ostrich.status(out).parts == ()


def test_a_check_is_at_a_part_of_a_probe(told, tmp_path):
    words = [
        "check",
        *DIGITS,
        "--images",
        "8",
        "--only",
        "clean,noise,robustness",
        "--out",
        str(tmp_path / "out"),
    ]
    assert run(words) == 0
    titles = {tuple(part.title for part in one.parts) for one in told}
    assert {("probes",), ("probes", "robustness")} <= titles


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """An attack that was interrupted in its third batch of ten."""
    monkeypatch.setattr(runner, "MOST_IMAGES", 10)
    monkeypatch.setattr(how_far, "EVERY", 0.0)
    count, attack = 0, runner._Batch.attack

    def interrupted(self, *given):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return attack(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(runner._Batch, "attack", interrupted)
        assert run(["attack", "fgsm", *DIGITS, "--limit", "40", "--out", str(tmp_path / "out")]) == 130
    return tmp_path / "out"


def test_what_was_cut_off_says_how_far_it_came_and_goes_on(stopped, told, capsys):
    assert run(["status", str(stopped)]) == 0
    shown = capsys.readouterr().out
    assert f"{stopped}: stopped\n" in shown
    assert "fgsm on 40 images: 20 of 40 images (50%)" in shown
    assert "pieces that are kept: 2\n" in shown
    assert "The same command goes on from there." in shown
    assert "left" not in shown
    assert run(["status", str(stopped / "run.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["pieces"], found["folder"]) == ("stopped", 2, str(stopped))
    assert found["parts"][0]["done"] == 20
    assert found["parts"][0]["seconds_left"] is None
    assert run(["attack", "fgsm", *DIGITS, "--limit", "40", "--out", str(stopped)]) == 0
    later = [one for one in told if one.parts[0].done == 20]
    assert later
    assert all(one.parts[0].per_second is None for one in later)  # 20 were found, none computed
    assert any(one.parts[0].per_second for one in told if one.parts[0].done > 20)
    capsys.readouterr()
    assert run(["status", str(stopped)]) == 0
    shown = capsys.readouterr().out
    assert "finished" in shown
    assert "40 images in" in shown


def test_a_killed_command_is_told_from_one_at_work_and_from_another_machines(stopped):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (stopped / lock.NAME).write_text(f"{ended.pid}\n")
    assert ostrich.status(stopped).state == "stopped"
    with lock.locked(stopped):
        assert ostrich.status(stopped).state == "working"
        file = stopped / how_far.NAME
        file.write_text(file.read_text().replace(socket.gethostname(), "elsewhere"))
        found = ostrich.status(stopped)
        assert found.state == "unknown"
        assert found.parts[0].seconds_left is None
        assert any(line.startswith("processes: elsewhere ") for line in found.sentences)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"parts": 3}', '{"processes": [], "cluster": 1}', NOBODY])
def test_a_damaged_file_of_progress_is_as_none(stopped, text):
    (stopped / how_far.NAME).write_text(text)
    found = ostrich.status(stopped)
    assert (found.state, found.parts, found.pieces) == ("stopped", (), 2)


def test_rate_and_time_left_are_of_what_was_computed_not_of_what_was_found(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(how_far, "EVERY", 0.0)
    with Run.begin("x", "ostrich x", {}, out=tmp_path / "out") as opened:
        opened.describe(seed=0, device=torch.device("cpu"), data=None)
        with counted("all", 3, "things"), progress("some", 1000) as advance:
            stopwatch.found(5.0)
            advance(500, 1000)
            now += 10
            advance(600, 1000)
            now += 4  # since it was last heard of
            whole, part = ostrich.status(tmp_path / "out").parts
            assert (whole.title, whole.unit, whole.per_second) == ("all", "things", None)
            assert part.per_second == pytest.approx(10)
            assert part.seconds_left == pytest.approx(36)
            assert part.sentence == "some: 600 of 1000 images (60%), 10 a second, 36 s left"
            advance(0, 200)  # the next of several rounds
            now += 2
            advance(20, 200)
            part = ostrich.status(tmp_path / "out").parts[1]
            assert (part.done, part.total, part.per_second) == (20, 200, pytest.approx(10))


def test_progress_is_written_about_every_second(tmp_path, monkeypatch):
    written, whole = [], how_far.whole
    monkeypatch.setattr(how_far, "whole", lambda path: written.append(path) or whole(path))
    with Run.begin("x", "ostrich x", {}, out=tmp_path / "out") as opened:
        opened.describe(seed=0, device=torch.device("cpu"), data=None)
        with progress("some", 1000) as advance:
            for number in range(1000):
                advance(number, 1000)
    assert 2 <= len(written) <= 4


def test_a_disk_that_takes_no_progress_ends_no_command(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(how_far, "whole", full)
    assert run(["attack", "fgsm", *DIGITS, "--limit", "8", "--out", str(tmp_path / "out")]) == 0


def test_long_times_are_told_in_two_units():
    from ostrich.verbs.status import _long

    told = [
        _long(seconds) for seconds in (0.42, 42, 60, 3 * 60 + 20, 2 * 3600 + 5 * 60, 3 * 86400 + 4 * 3600)
    ]
    assert told == ["0.4 s", "42 s", "1 min", "3 min 20 s", "2 h 5 min", "3 d 4 h"]


def test_asking_leaves_a_run_as_it_is(stopped):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    ostrich.status(stopped)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before
    with pytest.raises(ostrich.InputError, match="no run"):
        ostrich.status(stopped / "images")


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    Path(tmp_path / "run.json").write_text(
        json.dumps({"results": {"n": 4, "seconds": 2.0}, "finished": True})
    )
    found = ostrich.status(tmp_path)
    assert (found.state, found.images, found.per_second) == ("finished", 4, 2.0)
    assert found.sentences[2] == "4 images in 2.0 s, 2 a second"


def test_what_a_finished_run_left_is_what_it_left_before(tmp_path):
    assert run(["attack", "fgsm", *DIGITS, "--limit", "8", "--out", str(tmp_path / "out")]) == 0
    assert set(killing.outcome(tmp_path / "out")) >= {"run.json", "images.csv"}
    assert not [name for name in killing.outcome(tmp_path / "out") if "progress" in name]


def test_what_a_verb_returned_is_asked_about_too(tmp_path):
    found = ostrich.attack("fgsm", *DIGITS, limit=8)
    with pytest.raises(ostrich.InputError, match="attack-fgsm has no run directory yet; save it first"):
        ostrich.status(found)
    found.save(tmp_path / "out")
    assert ostrich.status(found) == ostrich.status(tmp_path / "out")
    assert ostrich.status(found).images == 8
    ostrich.attack("fgsm", *DIGITS, limit=4, out=tmp_path / "out", force=True)
    with pytest.raises(ostrich.InputError, match="holds another run by now"):
        ostrich.status(found)
    with pytest.raises(ostrich.InputError, match=r"A run is its folder, .* got int"):
        ostrich.status(3)
