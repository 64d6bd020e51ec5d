"""How much a command says, and what the shell completes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ostrich.attacks import ATTACKS
from ostrich.cli.main import run
from ostrich.cli.terminal import Terminal, console, level_of
from ostrich.errors import InputError
from ostrich.runtime.events import Level, detail, listening, progress, say
from ostrich.runtime.files import write_json

ATTACK = ["attack", "fgsm", "zoo:digits-cnn", "digits", "--limit", "4", "--out", "out"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", [["--quiet", *ATTACK], [*ATTACK, "--quiet"]], ids=["before", "after"])
def test_a_quiet_command_prints_nothing_and_writes_everything(words, place, capfd):
    assert run(words) == 0
    told = capfd.readouterr()
    assert told.out == told.err == ""
    assert json.loads((place / "out/run.json").read_text())["results"]["n"] == 4


def test_the_end_of_a_file_is_no_interrupt(monkeypatch, place, capfd):
    def ended(run):
        raise EOFError("no data left")

    monkeypatch.setattr("ostrich.verbs.status.status", ended)
    assert run(["status", str(place)]) == 3
    assert "a fault of ours" in capfd.readouterr().err


def test_a_quiet_command_prints_json_and_errors(capfd):
    assert run([*ATTACK, "--quiet", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 4
    assert run([*ATTACK, "--quiet"]) == 2  # finished
    told = capfd.readouterr()
    assert told.out == ""
    assert "--force" in told.err


def test_square_brackets_in_a_name_are_no_markup(place, capfd):
    folders = ["p/[red] 1", "p/[/b] :umbrella:"]
    for folder in folders:
        write_json(place / folder / "run.json", {"results": {"n": 4}, "finished": True})
    assert run(["compare", *folders]) == 0
    said = capfd.readouterr().out
    assert all(folder in said for folder in folders)
    console.print(folders[0])
    assert capfd.readouterr().out == f"{folders[0]}\n"


def test_names_are_not_cut(place, capfd, monkeypatch):
    folders = ["runs/" + "long-" * 12 + end for end in ("first", "second")]
    for folder in folders:
        write_json(place / folder / "run.json", {"results": {"n": 4}, "finished": True})
    assert run(["compare", *folders]) == 0
    said = capfd.readouterr().out.splitlines()[0]
    assert all(folder in said for folder in folders)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run(["compare", *folders]) == 0
    said = re.sub(r"\x1b\[\d+m", "", capfd.readouterr().out)
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 40


def test_a_verbose_command_says_what_was_loaded_and_how_long_parts_took(capfd):
    assert run(ATTACK) == 0
    usual = capfd.readouterr()
    assert run([*ATTACK, "--force", "--verbose"]) == 0
    told = capfd.readouterr()
    assert "network zoo:digits-cnn: " in told.err
    assert "data digits:test: 4 of " in told.err
    assert "images a batch" in told.err
    assert "fgsm on 4 images: " in told.err
    assert not any(part in usual.err for part in ("parameters", "a batch", " s\n"))

    def names(text: str) -> list[str]:
        return [line.split("  ")[0] for line in text.splitlines()]

    assert names(told.out) == names(usual.out)


def test_quiet_and_verbose_together_are_refused(capfd):
    assert run(["--quiet", *ATTACK, "--verbose"]) == 2
    assert "one of them" in capfd.readouterr().err
    with pytest.raises(InputError):
        level_of(["--verbose", "--quiet"])


def test_what_stands_after_two_dashes_is_no_option():
    assert level_of(["a", "--", "--quiet"]) == (Level.NORMAL, ["a", "--", "--quiet"])
    assert level_of(["a", "--verbose", "b"]) == (Level.DETAILS, ["a", "b"])


@pytest.mark.parametrize(
    ("level", "told"), [(Level.QUIET, []), (Level.NORMAL, ["a"]), (Level.DETAILS, ["a", "b", "part: 0.0 s"])]
)
def test_a_listener_hears_what_it_wants_to(level, told, capfd):
    with listening(Terminal(level)):
        say("a")
        detail("b")
        with progress("part", 1):
            pass
    assert capfd.readouterr().err.splitlines() == told


def completed(*words: str) -> list[str]:
    """What is offered to bash for the last word."""
    environment = {**os.environ, "_OSTRICH_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    code = (
        "import sys; sys.argv = ['ostrich']\n"
        "from ostrich.cli.main import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "False", done.stderr  # torch takes seconds
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["attack", "fool"], [name for name in ATTACKS if name.startswith("fool")]),
        (["explain", "integ"], ["integrated-gradients"]),
        (["train", "digits"], ["digits-cnn"]),
        (["study", "off"], ["off-the-shelf", "off-the-shelf-imagenet"]),
        (["attack", "pgd", "zoo:toybox-res"], ["zoo:toybox-resnet20"]),
        (["attack", "pgd", "toybox-res"], ["toybox-resnet20"]),  # as bash asks behind a colon
        (["attack", "pgd", "zoo:digits-cnn", "toy"], ["toybox"]),
        (["generate", "sample", "zoo:toybox-dc"], ["zoo:toybox-dcgan"]),
    ],
    ids=" ".join,
)
def test_the_shell_completes_names(words, offered):
    assert completed("ostrich", *words) == offered
