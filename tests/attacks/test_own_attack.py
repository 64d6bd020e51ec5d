"""What an attack may have is declared: one of the user's own runs like ours, and a broken one is refused."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nets
import numpy as np
import own_attack
import pytest
import torch
from own_attack import Remembering

import ostrich
from ostrich.attacks import (
    ATTACKS,
    PGD,
    AutoAttack,
    FittedAttack,
    InputSpecificAttack,
    Linf,
    Pixels,
    State,
    Universal,
    Untargeted,
    find,
)
from ostrich.attacks.base import check_class
from ostrich.cli.main import run
from ostrich.errors import ContractError, InputError, UnknownName
from ostrich.runtime.ranges import above, at_least
from ostrich.runtime.runs import read_run

FILE = Path(own_attack.__file__)
WORDS = ["attack", f"{FILE}:Remembering", "zoo:digits-cnn", "digits", "--limit", "24", "--set", "eps=24/255"]


def test_it_is_short_enough_for_a_page():
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 35


def test_it_runs_from_python():
    model, images = nets.small(), torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = model(images).argmax(1)
    result = ostrich.attacks.attack(Remembering(threat=Linf(0.3)), model, images, Untargeted(labels))
    assert result.success.any()
    assert (model(result.images).argmax(1) != labels)[result.success].all()
    assert (result.forwards <= 1 + 10 + 2).all()
    assert (result.backwards <= 10).all()


def test_it_runs_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run([*WORDS, "--out", "run"]) == 0
    results = read_run("run")["results"]
    assert 0 < results["success_rate"] <= 1
    assert "remembering" in capsys.readouterr().out
    rows = list(csv.DictReader(Path("run/images.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 24
    assert any(row["success"] == "true" for row in rows)
    assert run([*WORDS, "--set", "stepz=3"]) == 2
    assert "steps" in capsys.readouterr().err


def test_another_content_of_its_file_is_another_attack(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "mine.py"
    shutil.copy(FILE, own)
    words = ["attack", f"{own}:Remembering", *WORDS[2:], "--out", "run"]
    assert run(words) == 0
    before = read_run("run")["asked"]["attack"]
    own.write_text(own.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert run([*words, "--force"]) == 0
    assert read_run("run")["asked"]["attack"] != before


@pytest.mark.slow
def test_killed_and_begun_again_it_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*WORDS, "--set", "steps=100", "--precision", "exact"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    assert run([*words, "--out", "whole"]) == 0
    killed = subprocess.Popen([sys.executable, "-m", "ostrich", *words, "--out", "cut"], env=environment)
    while not (tmp_path / "cut" / "run.json").exists():
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not read_run("cut")["finished"]
    assert run([*words, "--out", "cut"]) == 0
    assert (tmp_path / "cut/images.csv").read_bytes() == (tmp_path / "whole/images.csv").read_bytes()


# What is refused ------------------------------------------------------------------------------------


def derived(base=InputSpecificAttack, frozen=True, **members):
    """A class like the user's with other members; None takes one away."""
    own = {name: value for name, value in vars(Remembering).items() if not name.startswith("__")}
    own |= {"__annotations__": {"threat": Linf, "steps": int}, "threat": Linf(8 / 255), "steps": 10}
    kept = {name: value for name, value in (own | members).items() if value is not None}
    kept["__annotations__"] = {n: k for n, k in kept["__annotations__"].items() if n in kept}
    return dataclass(frozen=frozen, kw_only=True)(type("Mine", (base,), kept))


def test_the_class_as_it_is_passes():
    check_class(derived())


@pytest.mark.parametrize("lacking", ["name", "needs", "norms", "threat", "stop", "steps", "init", "step"])
def test_what_is_missing_is_named(lacking):
    with pytest.raises(ContractError, match=rf"Mine lacks {lacking}:"):
        check_class(derived(**{lacking: None}))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"photographd": lambda self: None}, "is photographed meant"),
        ({"member": property(lambda self: ())}, "is members meant"),
        ({"most_forward": property(lambda self: 3)}, "is most_forwards meant"),
        ({"photographed": lambda self, images, keys, seed: images}, "only where photographs is True"),
        ({"needs": "gradients"}, "needs is one of gradient, scores, labels"),
        ({"norms": "linf"}, "norms is a tuple"),
        ({"norms": ("linf", "l3")}, "norms is a tuple of linf"),
    ],
)
def test_what_is_misspelt_is_named(members, sentence):
    with pytest.raises(ContractError, match=sentence):
        check_class(derived(**members))


def test_a_class_that_is_no_dataclass_or_no_attack():
    class Bare(InputSpecificAttack):
        name, needs, norms, stop, steps, threat = "bare", "labels", ("linf",), "first", 1, Linf(0.1)

    model, images = nets.small(), torch.zeros(1, 3, 8, 8)
    with pytest.raises(ContractError, match="dataclass"):
        ostrich.attacks.attack(Bare(), model, images, Untargeted(torch.tensor([0])))
    with pytest.raises(ContractError, match="InputSpecificAttack"):
        ostrich.attacks.attack(object(), model, images, Untargeted(torch.tensor([0])))
    with pytest.raises(ContractError, match="fitted on some images"):
        ostrich.attacks.attack(Universal(), model, images, Untargeted(torch.tensor([0])))


def test_a_state_that_is_none():
    kind = derived(step=lambda self, problem, state: state.images)
    model, images = nets.small(), torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ContractError, match="step returns a Tensor"):
        ostrich.attacks.attack(kind(), model, images, Untargeted(model(images).argmax(1)))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_foreign_norm_is_refused_wherever_an_attack_is_made(name):
    kind = ATTACKS[name]
    if "none" in kind.norms:
        pytest.skip("nothing bounds it")
    foreign = next(
        threat for threat in (ostrich.L1(3), Linf(0.1), Pixels(1)) if threat.norm not in kind.norms
    )
    with pytest.raises(InputError, match="knows budgets in"):
        kind(threat=foreign)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, float("nan"), "3"])
def test_a_number_of_steps_is_a_whole_one_from_1_up(value):
    with pytest.raises(InputError, match="steps of pgd"):
        PGD(steps=value)


def test_words_are_checked_in_python_too():
    with pytest.raises(UnknownName, match="budget"):
        PGD(stop="budgett")
    with pytest.raises(UnknownName, match="fast"):
        AutoAttack(preset="fst")


def test_ranges_say_what_they_are():
    assert str(at_least(1)) == "at least 1"
    assert str(above(0, at_most=1)) == "above 0 and at most 1"
    assert 1 in above(0, at_most=1)
    assert 0 not in above(0, at_most=1)
    assert 1 not in at_least(0, below=1)
    assert float("inf") not in at_least(0)


def test_numbers_of_numpy_are_numbers():
    method = PGD(steps=np.int64(5), step_size=np.float32(0.25))
    assert repr((method.steps, method.step_size)) == "(5, 0.25)"
    for wrong in (np.float64(5), np.bool_(True), np.int64(0)):
        with pytest.raises(InputError, match="steps"):
            PGD(steps=wrong)
    assert np.float64("nan") not in at_least(0)


def test_find_names_what_exists():
    with pytest.raises(UnknownName, match="pgd"):
        find("pgdd")
    with pytest.raises(InputError, match="no file"):
        find("nowhere.py:Mine")
    with pytest.raises(UnknownName, match="Remembering"):
        find(f"{FILE}:Rememberin")
    with pytest.raises(ContractError, match="derives from"):
        find(f"{FILE}:Linf")
    assert issubclass(find("universal"), FittedAttack)
    assert State.__dataclass_params__.frozen
