"""Faults of the machine: a full disk, a folder that cannot be written to, damaged files, a false writer."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ostrich import images
from ostrich.attacks import IMAGE_AGNOSTIC
from ostrich.attacks.fitted import artefact
from ostrich.cli import main
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.runtime import files
from ostrich.runtime.lock import locked
from ostrich.runtime.runs import Run, read_run
from ostrich.verbs import attack as attack  # loaded before a test replaces what it imports by name

NET = ["zoo:digits-cnn", "digits", "--limit", "4"]
ATTACK = ["attack", "pgd", *NET, "--set", "steps=3", "--set", "eps=0.3", "--out", "out"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def no_space(*words: object, **more: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_bad_input_wherever_it_fills_up(monkeypatch, capsys):
    monkeypatch.setattr(images, "write_png", no_space)
    assert run(ATTACK) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert not read_run("out")["finished"]


@pytest.mark.parametrize("full", ["nothing", "the run directory", "everything"])
def test_a_fault_of_ours_is_told_also_where_no_traceback_can_be_written(monkeypatch, capsys, full):
    def wrong(*words: object) -> None:
        raise ArithmeticError("two and two")

    write = Path.write_text

    def written(path: Path, *words: object, **more: object) -> int:
        if full == "everything" or (full == "the run directory" and path.parent == Path("out")):
            no_space()
        return write(path, *words, **more)

    monkeypatch.setattr("ostrich.verbs.attack.input_specific.attack_figures", wrong)
    monkeypatch.setattr(Path, "write_text", written)
    assert run(ATTACK) == 3
    said = capsys.readouterr().err
    assert "two and two" in said
    assert said.count("\n") == 1
    told = None if full == "everything" else Path(said.strip().rpartition("The traceback: ")[2])
    assert (told is None) == ("It could not be written down." in said)
    assert told is None or "ArithmeticError" in told.read_text()
    assert told is None or (told.parent == Path("out")) == (full == "nothing")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 2, "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), 2, "memory"),
        (PermissionError(errno.EACCES, "Permission denied", "photo.png"), 2, "photo.png"),
        (OSError(errno.EDQUOT, "Quota exceeded"), 2, "full"),
        (RuntimeError("shapes differ"), 3, "fault of ours"),
        (OSError(errno.EIO, "Input/output error"), 3, "fault of ours"),
    ],
)
def test_what_the_machine_refuses_is_told_from_a_fault_of_ours(monkeypatch, capsys, error, code, words):
    def app(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", app)
    assert run(["list"]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/x", "file/x/y", "closed/x", "dangling"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_loaded(monkeypatch, capsys, out):
    Path("file").write_text("a file")
    Path("dangling").symlink_to("nowhere")
    Path("closed").mkdir()
    access = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and Path(path).name != "closed")
    monkeypatch.setattr("ostrich.data.open_data", no_space)
    assert run([*ATTACK[:-1], out]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_one_command_at_a_time_works_in_a_folder():
    with locked(Path("out")):
        words = [sys.executable, "-c", "from ostrich.cli.main import main; main()", *ATTACK]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is being used by another command" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["attack", "patch", *NET, "--set", "eps=1e-320"], "less than a pixel"),
        (["explain", "smoothgrad", *NET, "--set", f"samples={10**20}"], "a whole number is expected"),
        (["attack", "fgsm", "zoo:digits-cnn", "x" * 5000], "File name too long"),
        (["attack", "fgsm", *NET, "--std", "1e-320"], "in float32 too"),
    ],
)
def test_what_the_fuzzer_found_is_one_sentence(capsys, words, said):
    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_noise_that_gets_no_answer_is_shown_without_confidence():
    words = ["attack", "fooling-ascent", "zoo:digits-cnn", "--limit", "1", "--set", "steps=2"]
    assert run([*words, "--std", "1e-30", "--out", "out"]) == 0  # every score is NaN
    assert not read_run("out")["results"]["success_rate"]


# Files that are read again -------------------------------------------------------------------


def test_a_file_with_any_bit_changed_is_not_read():
    files.write_tensors(Path("a.pt"), {"x": torch.arange(8.0), "step": 3})
    files.write_json(Path("a.json"), {"x": [0.25, None], 10: "ten", 9: "nine"})
    assert files.read_tensors(Path("a.pt"))["step"] == 3
    assert files.read_json(Path("a.json")) == {"x": [0.25, None], "10": "ten", "9": "nine"}
    for name, read in (("a.pt", files.read_tensors), ("a.json", files.read_json)):
        whole, expected = Path(name).read_bytes(), repr(read(Path(name)))
        for place in range(0, len(whole), max(1, len(whole) // 97)):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            Path(name).write_bytes(bytes(damaged))
            try:
                assert repr(read(Path(name))).startswith(expected[:-1])
            except ValueError:
                continue
            assert name == "a.json"  # a space, or the name of the checksum


def test_an_artefact_with_a_changed_value_is_refused():
    words = ["attack", "universal", "zoo:digits-cnn", "digits", "--limit", "12", "--set", "fit=6"]
    assert run([*words, "--set", "epochs=1", "--out", "out"]) == 0
    file = Path("out", artefact.FILE)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(InputError, match="checksum"):
        artefact.load_artefact(file, IMAGE_AGNOSTIC["universal"])


def test_a_run_with_a_changed_figure_does_not_go_on():
    with Run.begin("x", "ostrich x", {}, out="out") as opened:
        opened.describe(seed=0, device=torch.device("cpu"), data=None)
        opened.finish({"robust_accuracy": 0.75})
    assert read_run("out")["results"] == {"robust_accuracy": 0.75}
    file = Path("out/run.json")
    file.write_text(file.read_text().replace("0.75", "0.25"))
    with pytest.raises(InputError, match="checksum"):
        read_run("out", checked=True)
    assert read_run("out")["results"] == {"robust_accuracy": 0.25}  # a baseline may be written by hand


def test_a_claim_whose_file_does_not_show_it_ends_the_run(monkeypatch, capsys):
    write, spoilt = images.write_png, []

    def lying(path: Path, image: torch.Tensor) -> None:
        if "adversarial" in path.name and not spoilt:
            spoilt.append(path.name)
            image = 1 - image
        write(path, image)

    with monkeypatch.context() as patch:
        patch.setattr(images, "write_png", lying)
        assert run(ATTACK) == 3
    said = capsys.readouterr().err
    assert f"BrokenClaim: Read back, images/{spoilt[0]} of" in said
    assert not json.loads(Path("out/run.json").read_text())["finished"]
    assert run(ATTACK) == 0


def test_a_damaged_picture_of_a_finished_probe_is_made_again():
    words = ["check", *NET, "--only", "targeted-pair", "--out", "out"]
    assert run(words) == 0
    about = files.read_json(Path("out/run.json"))
    files.write_json(Path("out/run.json"), about | {"results": None, "finished": False})
    first, second, *_ = sorted(Path("out/pictures").glob("*.png"))
    whole = first.read_bytes(), second.read_bytes()
    first.write_bytes(whole[0][:-9])
    second.unlink()
    assert run(words) == 0
    assert (first.read_bytes(), second.read_bytes()) == whole
