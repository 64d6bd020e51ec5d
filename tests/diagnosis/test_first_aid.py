"""The doctor as first aid: a finding names the option that mends it, and with it the fault is gone."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ostrich
from ostrich.data import open_data
from ostrich.diagnosis import Examination, ModelUnderTest, examine
from ostrich.verbs.inputs import as_samples

FIRST_AID = ("class order", "other inputs", "other preprocessing", "the head", "files that are not used")
STRONGEST = nn.Sequential(
    nn.AdaptiveAvgPool2d(1), nn.Flatten()
)  # answers with the channel of the largest mean
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def examined(model: ostrich.Classifier, data) -> tuple[Examination, ModelUnderTest]:
    samples = as_samples(data, None, model)
    subject = ModelUnderTest(
        classifier=model, images=samples.images(), labels=samples.labels, samples=samples
    )
    return examine(subject, only=FIRST_AID), subject


def colours(wrong: int, count: int = 150) -> tuple[Tensor, Tensor]:
    """Images of one colour and their strongest channel; for so many another one after ImageNet's mean."""
    draw = torch.Generator().manual_seed(0)
    colour = (torch.rand(20_000, 3, generator=draw) * 255).round() / 255
    strongest = colour.argmax(1)
    gap = colour.topk(2).values
    mean, std = torch.tensor(IMAGENET["mean"]), torch.tensor(IMAGENET["std"])
    differs = ((colour - mean) / std).argmax(1) != strongest
    clear = gap[:, 0] - gap[:, 1] > 0.2
    rows = torch.cat([differs.nonzero()[:wrong, 0], (~differs & clear).nonzero()[: count - wrong, 0]])
    return colour[rows][:, :, None, None].expand(-1, -1, 8, 8).contiguous(), strongest[rows]


def test_a_normalisation_that_costs_some_points():
    images, labels = colours(wrong=12)
    model = ostrich.load(STRONGEST, size=8, classes=("r", "g", "b"), **IMAGENET)
    found, subject = examined(model, (images, labels))
    (finding,) = found.findings
    assert finding.code == "other-preprocessing"
    assert "100.0% right instead of 92.0% (n = 150" in finding.evidence
    options = re.search(r"--mean (\S+) --std ([\d.,]+\d)", finding.fix)
    mean, std = ([float(v) for v in text.split(",")] for text in options.groups())
    mended = ostrich.load(STRONGEST, size=8, classes=("r", "g", "b"), mean=mean, std=std)
    again, _ = examined(mended, (images, labels))
    assert again.findings == []
    given, *others = subject.tried
    assert given == {"words": "as given", "options": "", "accuracy": pytest.approx(0.92), "n": 150}
    assert {one["words"]: one["accuracy"] for one in others}["mean and deviation of 0.5"] == 1


@pytest.mark.parametrize("wrong", [0, 3])
def test_what_chance_explains_is_no_finding(wrong):
    images, labels = colours(wrong)
    model = ostrich.load(STRONGEST, size=8, classes=("r", "g", "b"), **IMAGENET)
    assert examined(model, (images, labels))[0].findings == []


@pytest.fixture
def wide(tmp_path):
    """Pictures of 24 x 16 pixels with strong sides and a weak middle, which differs in one of 12."""
    for i in range(144):
        side, middle = i % 3, (i + (i % 12 == 0)) % 3
        pixels = np.full((16, 24, 3), 60, np.uint8)
        pixels[:, :, middle] += 10
        pixels[:, :4], pixels[:, 20:] = 60, 60
        pixels[:, :4, side], pixels[:, 20:, side] = 250, 250
        path = tmp_path / "rgb"[side] / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path


def test_a_way_of_resizing_that_does_better(wide):
    model = ostrich.load(STRONGEST, size=16, classes=("r", "g", "b"))
    found, _ = examined(model, f"folder:{wide}")
    (finding,) = found.findings
    assert finding.code == "other-preprocessing"
    assert "both sides resized to 16" in finding.sentence
    assert "100.0% right instead of 91.7%" in finding.evidence
    assert "--resize 16x16 --crop 16" in finding.fix
    model.resize = (16, 16)
    assert examined(model, f"folder:{wide}")[0].findings == []


def test_other_sizes_are_tried_on_images_of_all_classes(tmp_path):
    """The sum of a smaller image is smaller: right for all of the first class, for none of the second."""
    for i in range(160):
        level = (0.44 if i % 6 else 0.55) if i < 80 else 0.6
        path = tmp_path / ("dark" if i < 80 else "light") / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), round(255 * level), np.uint8)).save(path)
    model = ostrich.load(Sum(), size=64, classes=("dark", "light"))
    found, subject = examined(model, f"folder:{tmp_path}")
    assert not any("resize" in one.sentence for one in found.findings)
    smaller = next(one for one in subject.tried if "--size 48" in one["options"])
    assert (smaller["accuracy"], smaller["n"]) == (0.5, 64)


class Sum(nn.Module):
    """Light where the sum over 64 x 64 pixels is large."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.mean(1).sum((1, 2)) / 64**2
        return torch.stack([0.52 - total, total - 0.52], 1)


def test_an_order_that_is_wrong_and_the_map_that_mends_it(wide, tmp_path):
    model = ostrich.load(nn.Sequential(STRONGEST, Reordered()), size=16)
    model.resize = (16, 16)
    found, _ = examined(model, f"folder:{wide}")
    (finding,) = found.findings
    assert finding.code == "wrong-class-order"
    assert "in sorted order, since the network has no class names: b is 0, g is 1, r is 2" in finding.evidence
    lines = re.search(r"the lines (.*?), and give it with --class-map", finding.fix)[1].split()
    (tmp_path / "map.csv").write_text("\n".join(["folder,class", *lines]))
    again = ostrich.load(nn.Sequential(STRONGEST, Reordered()), size=16)
    again.resize = (16, 16)
    data = open_data(f"folder:{wide}", class_map=tmp_path / "map.csv")
    assert examined(again, data)[0].findings == []


class Reordered(nn.Module):
    """Green, blue, red: neither the order of the names nor its reverse."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, [1, 2, 0]]


def test_a_head_that_guesses(wide):
    torch.manual_seed(0)
    network = nn.Sequential(STRONGEST, nn.Linear(3, 1000))
    network[1].weight.data[:, 1:] = 0
    found, _ = examined(ostrich.load(network, size=16), data_by_number(wide))
    (finding,) = found.findings
    assert finding.code == "wrong-head"
    assert "The network has 1000 classes, the images 3, matched by number" in finding.evidence
    assert "100% of its answers are classes that no image has" in finding.evidence


def data_by_number(folder):
    for k, name in enumerate("rgb"):
        (folder / name).rename(folder / str(k))
    return f"folder:{folder}"


def test_pictures_that_are_not_used(wide):
    model = ostrich.load(STRONGEST, size=16, classes=("r", "g", "b"))
    model.resize = (16, 16)
    for name in ("r/a.dng", "g/b.npz", "g/c.npz", "stray.png", "notes.txt"):
        (wide / name).write_bytes(b"")
    found, _ = examined(model, f"folder:{wide}")
    (finding,) = found.findings
    assert finding.code == "unused-files"
    assert finding.evidence.startswith("2 .npz, 1 .dng, 1 .png beside the class folders")
    assert all(word in finding.fix for word in ("PATH.py:FUNCTION", "npz:FILE", "beside the class folders"))


def test_through_the_command(wide, tmp_path, monkeypatch):
    from ostrich.cli.main import run

    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    (tmp_path / "classes.txt").write_text("r\ng\nb\n")
    monkeypatch.chdir(tmp_path)
    for name in ("net.py", "classes.txt"):
        (tmp_path / name).rename(tmp_path.parent / name)
    command = ["doctor", "../net.py:build", "folder:.", "--size", "16", "--classes", "../classes.txt"]
    assert run([*command, "--out", "../out", "--minutes", "1"]) == 0
    results = json.loads((tmp_path.parent / "out/run.json").read_text())["results"]
    assert "other-preprocessing" in {one["code"] for one in results["findings"]}
    assert results["preprocessing"][0]["words"] == "as given"
    assert shlex.split(results["preprocessing"][1]["options"])[0] == "--mean"
