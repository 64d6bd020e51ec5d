"""`ostrich.certify`: the calls of a PyTorch user, the same as the command, and bad input answered."""

from __future__ import annotations

import csv
import json

import nets
import pytest
import torch
from torch import nn

import ostrich
from ostrich.cli.main import run

DIGITS = ["zoo:digits-cnn", "digits"]


@pytest.fixture(scope="module")
def plain():
    """A small network and images that it gets right but for the last."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4))
    model = ostrich.load(network, mean=0.5, std=0.25, size=(8, 8), classes=["a", "b", "c", "d"])
    images = nets.random_images(6, size=(8, 8))
    labels = nets.predictions(model, images)
    labels[-1] = (labels[-1] + 1) % 4
    return model, images, labels


@pytest.mark.parametrize("method", ["linear", "intervals"])
def test_figures_and_rows(plain, method, tmp_path):
    model, images, labels = plain
    found = ostrich.certify(model, images, labels, method=method, eps=0.0)
    assert found.figures["certified_accuracy"] == found.figures["clean_accuracy"] == 5 / 6
    assert found.figures["low"] < 5 / 6 < found.figures["high"]
    assert [row["verdict"] for row in found.rows] == ["verified"] * 5 + ["wrong"]
    large = ostrich.certify(model, (images, labels), method=method, eps=1.0)
    assert large.figures["certified_accuracy"] == 0
    assert repr(large).startswith(f"<certify: method={method}, norm=linf, eps=1, n=6, certified_accuracy=0>")
    saved = found.save(tmp_path / "run")
    with (saved / "images.csv").open() as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == [row["verdict"] for row in found.rows]
    assert json.loads((saved / "run.json").read_text())["results"] == found.figures


def test_nothing_is_both_verified_and_broken(plain):
    model, images, labels = plain
    for norm, eps in (("linf", 0.01), ("l2", 0.1)):
        held = ostrich.certify(model, images, labels, norm=norm, eps=eps)
        broken = ostrich.attack("pgd", model, images, labels, norm=norm, eps=eps).success
        for row, fell in zip(held.rows, broken.tolist(), strict=True):
            assert not (row["verdict"] == "verified" and fell)


def test_the_command_is_the_call_and_goes_on(tmp_path, capsys):
    words = ["certify", *DIGITS, "--limit", "4", "--method", "smoothing"]
    words += ["--set", "draws=100", "--set", "sigma=0.1", "--set", "eps=0.05"]
    assert run([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    found = ostrich.certify(*DIGITS, limit=4, method="smoothing", draws=100, sigma=0.1, eps=0.05)
    assert {**found.figures, "seconds": 0} == {**figures, "seconds": 0}
    shares = [one["certified_accuracy"] for one in figures["by_radius"]]
    assert shares == sorted(shares, reverse=True)
    assert len(list((tmp_path / "run" / "pieces").glob("*.json"))) == 4 + 1
    assert run([*words, "--out", str(tmp_path / "run")]) == 2  # it is finished


class Trap(nn.Module):
    """Right on noisy images, and wrong on every image whose first value is 0."""

    def forward(self, x):
        return x.mean((2, 3)) * (1 - 2 * (x[:, :1, 0, 0] == 0).float())


class Neighbours(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) - 0.9 * x.mean((0, 2, 3))


def test_smoothing_speaks_of_the_smoothed_form(tmp_path, capsys):
    images = torch.full((4, 3, 8, 8), 0.1)
    images[:, 1] = 0.9
    model, settings = ostrich.load(Trap(), size=(8, 8)), {"sigma": 0.25, "draws": 100, "eps": 0.25}
    found = ostrich.certify(model, images, [1] * 4, method="smoothing", **settings)
    broken = images.clone()
    broken[:, 0, 0, 0] = 0.0
    assert found.figures["certified_accuracy"] == 1
    assert (nets.predictions(model, broken) != 1).all()  # within 0.1
    said = found.figures["sentence"]
    assert said.startswith("Its smoothed form (sigma 0.25) is right on 100.0% of 4 images")
    assert "with probability 0.999 an image" in said
    words = ["certify", *DIGITS, "--limit", "2", "--method", "smoothing", "--set", "draws=50"]
    assert run([*words, "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith("Its smoothed form (sigma 0.25) is right on")


@pytest.mark.parametrize("method", ["linear", "smoothing"])
def test_answers_that_depend_on_their_neighbours_are_not_certified(method):
    with pytest.raises(ostrich.InputError, match="depends on the others in its batch"):
        ostrich.certify(Neighbours(), nets.random_images(2, size=(8, 8)), method=method)


def test_bad_input(plain, tmp_path):
    model, images, labels = plain
    with pytest.raises(ostrich.OstrichError, match="linear"):
        ostrich.certify(model, images, labels, method="liner")
    with pytest.raises(ostrich.InputError, match="eps"):
        ostrich.certify(model, images, labels, eps=-1)
    with pytest.raises(ostrich.OstrichError, match="sigma"):
        ostrich.certify(model, images, labels, sigma=1)
    with pytest.raises(ostrich.InputError, match="only"):
        ostrich.certify(lambda given: given.flatten(1)[:, :4], images, labels)
    out = ["--out", str(tmp_path / "run")]
    assert run(["certify", *DIGITS, "--set", "norm=l7", *out]) == 2
    assert run(["certify", "zoo:toybox-resnet20", "toybox", "--limit", "1", "--set", "norm=l1", *out]) == 2
