"""`ostrich.doctor`: the calls of a PyTorch user, the same as the command, and bad input answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nets
import pytest
import torch
from torch import nn

import ostrich
from ostrich.cli.main import run
from ostrich.errors import InputError

FAULTY = {"mean": 0.9, "std": 3.0}


def content(folder: Path) -> dict[str, Any]:
    """run.json without times and what was typed."""
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    for name in ("command", "versions", "checksum"):
        found.pop(name)
    found["results"].pop("seconds")
    return found


def test_it_is_what_the_command_gives(tmp_path):
    words = ["doctor", "zoo:digits-cnn", "digits", "--limit", "24", "--minutes", "60", "--seed", "1"]
    assert run([*words, "--out", str(tmp_path / "command")]) == 0
    found = ostrich.doctor("zoo:digits-cnn", "digits", limit=24, minutes=60, seed=1)
    saved = found.save(tmp_path / "saved")
    assert content(saved) == content(tmp_path / "command")
    names = [sorted(p.name for p in folder.iterdir()) for folder in (saved, tmp_path / "command")]
    assert names[0] == names[1]
    assert repr(found) == f"<doctor: no fault found by {len(found.figures['checks'])} checks on 24 images.>"
    assert found.passed
    assert "forwards" in found._repr_html_()


def test_a_fault_is_a_finding():
    model = ostrich.load("zoo:digits-cnn", **FAULTY)
    found = ostrich.doctor(model, "digits", limit=60, minutes=60)
    (finding,) = found.findings
    assert not found.passed
    assert found.figures["findings"] == [vars(finding)]
    assert repr(found).startswith("<doctor: 1 fault found by")
    assert finding.code in repr(found)


def test_without_time_nothing_is_passed():
    found = ostrich.doctor(nets.small(), nets.random_images(8), minutes=1e-9)
    assert (found.findings, found.figures["checks"]) == ([], [])
    assert not found.passed
    assert found.verdict.startswith("no fault found by 0 checks on 8 images; ")
    assert found.verdict.endswith(" had no time.")


def test_what_a_pytorch_user_has():
    network, images = nets.small().network, nets.random_images(8)
    labels = nets.predictions(nets.small(), images)
    found = ostrich.doctor(network, (images, labels), minutes=60)
    assert found.figures["n"] == 8
    assert "class order" in found.figures["checks"]
    unlabelled = ostrich.doctor(network, images, minutes=60)
    assert {"check": "class order", "reason": "The images have no labels."} in unlabelled.figures["skipped"]
    lent = ostrich.doctor(network, (images, labels), surrogate=nets.small(1).network, minutes=60)
    assert "an attack from another network" in lent.figures["checks"]
    assert not network.training


class Narrow(nn.Module):
    """Three classes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"minutes": -1}, "minutes is above 0; got -1"),
        ({"minutes": float("inf")}, "minutes is a finite number"),
        ({"limit": True}, "limit is a whole number"),
        ({"data": None}, "Images are a tensor"),
        ({"surrogate": Narrow()}, "3 classes"),
        ({"surrogate": "zoo:nothing"}, "Unknown model"),
    ],
)
def test_what_cannot_be_used_is_said(options, said, tmp_path):
    given = {"data": nets.random_images(2), "out": tmp_path / "out", **options}
    with pytest.raises(InputError, match=said):
        ostrich.doctor(nets.small(), **given)
    assert not (tmp_path / "out").exists()
