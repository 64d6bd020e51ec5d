"""Networks that answer at random rarely, or in turns: said, never a fault of ours, no claim that fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import ostrich
from ostrich.cli.main import run
from ostrich.images import read_image, write_png
from ostrich.models.steadiness import RandomAnswers, refuse_other_answers

STRANGERS = '''
import torch
from torch import nn

class Net(nn.Module):
    """The strongest channel, and what `other` makes of the scores."""
    def __init__(self, other):
        super().__init__()
        self.conv, self.other, self.calls = nn.Conv2d(3, 3, 1, bias=False), other, 0
        self.conv.weight.data = 20 * torch.eye(3)[:, :, None, None]
    def forward(self, x):
        self.calls += 1
        z = self.conv(x).mean((2, 3))
        return self.other(z, self.calls)

def turned(z):
    return z.roll(1, 1)
def one_forward_in_twenty():
    return Net(lambda z, calls: turned(z) if torch.rand(()) < 0.05 else z)
def one_image_in_fifty():
    return Net(lambda z, calls: torch.where(torch.rand(len(z), 1) < 0.02, turned(z), z))
def in_turns():
    return Net(lambda z, calls: z if calls % 2 else turned(z))
def steady():
    return Net(lambda z, calls: z)
'''
RARE = ("one_forward_in_twenty", "one_image_in_fifty", "in_turns")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(STRANGERS)
    Path("names.txt").write_text("red\ngreen\nblue\n")
    draw = torch.Generator().manual_seed(1)
    for k, name in enumerate(("red", "green", "blue")):
        Path("data", name).mkdir(parents=True)
        for i in range(4):
            image = (100 + 20 * torch.rand(3, 8, 8, generator=draw)).round() / 255
            image[k] += (4 + 8 * i) / 255
            write_png(Path("data", name, f"{i}.png"), image)
    return tmp_path


def words(name: str, *more: str) -> list[str]:
    return [f"net.py:{name}", "folder:data", "--size", "8", "--classes", "names.txt", *more]


@pytest.mark.parametrize("attack", ["pgd", "square --set queries=200", "rays --set queries=200"])
@pytest.mark.parametrize("name", RARE)
def test_what_is_random_rarely_is_no_fault_of_ours_and_no_claim_fails(folder, capsys, name, attack):
    """Each run ends with a sentence, or with claims of which each fools in 16 of 20 later asks at least."""
    for seed in range(4):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            code = run(["attack", *attack.split(), *words(name), "--set", "eps=8/255", "--out", str(seed)])
            if code:
                assert code == 2
                assert "--draws 20" in capsys.readouterr().err
                continue
            with Path(str(seed), "images.csv").open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["success"] == "true"]
            network = ostrich.load(f"net.py:{name}", size=8).network
            for row in rows:
                image = read_image(Path(str(seed)) / row["adversarial_file"])[None]
                asked = [int(network(image).argmax()) for _ in range(20)]
                assert 20 - asked.count(int(row["label"])) >= 16


def test_with_draws_it_is_attacked(folder):
    for name in RARE[:2]:
        words_ = words(name, "--draws", "20", "--set", "eps=8/255", "--out", name)
        assert run(["attack", "pgd", *words_]) == 0
        results = json.loads(Path(name, "run.json").read_text())["results"]
        assert all(share >= 0.8 for share in results["draws"]["fooled"])
        assert 0 < results["robust_accuracy"] < 1
        assert results["bound"] is None
        assert "random" in results["reason"]


def test_gradients_averaged_over_draws_leave_a_bound(folder):
    still = ["rotation", "scale", "translation", "brightness"]
    averaged = ["--set", "eot=4", *(f"--set=eot.{name}=0" for name in still)]
    words_ = words(RARE[0], "--draws", "20", "--set", "eps=8/255", "--out", "out", *averaged)
    assert run(["attack", "pgd", *words_]) == 0
    assert json.loads(Path("out", "run.json").read_text())["results"]["bound"] == "upper"


def test_answers_in_turns_are_found_at_the_opening(folder):
    found = ostrich.load("net.py:in_turns", size=8)
    found.probe()
    assert found.draws == 20


def test_a_check_ends_with_the_same_sentence(folder, capsys):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gate = ["--only", "robustness,worst-case", "--fail-under", "linf:4/255=0.5", "--out", "out"]
        assert run(["check", *words("one_image_in_fifty"), *gate, "--images", "12"]) == 2
    assert "--draws 20" in capsys.readouterr().err


def test_in_python_too(folder):
    images = torch.stack([read_image(path) for path in sorted(Path("data").glob("*/*.png"))])
    labels = torch.tensor([2, 1, 0]).repeat_interleave(4)
    network = ostrich.load("net.py:one_image_in_fifty", size=8)
    network.probe()
    network.draws = 1  # what the opening saw is another matter
    repeated = images.repeat(40, 1, 1, 1), labels.repeat(40)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with pytest.raises(RandomAnswers, match="--draws 20"):
            ostrich.attack("pgd", network, *repeated, eps=8 / 255)
    assert ostrich.attack("pgd", ostrich.load("net.py:steady", size=8), images, labels).success.any()


class Counting(nn.Module):
    """The mean of each channel, of which each call takes a part away."""

    def __init__(self, part: float = 0.0) -> None:
        super().__init__()
        self.calls, self.part = 0, part

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.mean((2, 3)) * (1 - self.calls * self.part)


def test_a_network_that_answers_alike_is_not_blamed():
    network = Counting()
    classifier = ostrich.Classifier(network, size=(8, 8))
    refuse_other_answers(classifier, torch.rand(3, 3, 8, 8), "Asked")
    assert network.calls >= 100
    before = network.calls
    refuse_other_answers(classifier, torch.rand(0, 3, 8, 8), "Asked")
    assert network.calls == before


def test_answers_that_drift_from_call_to_call_are_said():
    classifier = ostrich.Classifier(Counting(1e-4), size=(8, 8))
    with pytest.raises(RandomAnswers, match="change from call to call"):
        refuse_other_answers(classifier, torch.rand(3, 3, 8, 8), "Asked")
