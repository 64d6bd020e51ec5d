"""`ostrich explain`: files, settings, checks, and answers to bad input; and the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
from PIL import Image

import ostrich
from ostrich.attribution import EXPLAINERS
from ostrich.attribution.pictures import magnitude, picture, sides, signed
from ostrich.cli.main import run
from ostrich.images import read_png

ARCH = "arch:resnet8"
BRIEF = {"integrated-gradients": "steps=4", "smoothgrad": "samples=4", "occlusion": "window=8"}


def test_pictures_lie_in_range_and_zero_is_zero():
    found = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(0))
    found[:, 0, 0] = 0
    image = nets.random_images(1, (8, 9))[0]
    grey, colour, both = magnitude(found), signed(found), sides(found, image)
    assert [one.shape[0] for one in (grey, colour, both)] == [1, 3, 3]
    for drawn in (grey, colour, both, magnitude(found * 0), signed(found * 0), sides(found * 0, image)):
        assert drawn.min() >= 0
        assert drawn.max() <= 1
        assert drawn.shape[1:] == (8, 9)
    assert grey[0, 0, 0] == 0
    assert torch.equal(colour[:, 0, 0], torch.full((3,), 0.5))
    assert torch.allclose(signed(-found), 1 - colour)
    assert torch.allclose(both[:, 0, 0], both[0, 0, 0])  # grey
    red, _, blue = both
    speaks = found.sum(0) > 0.5
    assert (red[speaks] > blue[speaks]).all()
    assert (red[found.sum(0) < -0.5] < blue[found.sum(0) < -0.5]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_every_explainer_has_a_picture(channels):
    for method in EXPLAINERS.values():
        drawn = picture(method, torch.ones(channels, 8, 9), torch.ones(channels, 8, 9))
        assert drawn.shape[0] in (1, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explain")
    draw = np.random.default_rng(0)
    (root / "photos").mkdir()
    for i in range(3):
        Image.fromarray(draw.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(root / f"photos/{i}.png")
    (root / "smooth.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "def function():\n"
        "    return lambda images: images.mean((2, 3))\n"
    )
    return root


@pytest.mark.parametrize("name", [name for name, method in EXPLAINERS.items() if not method.attention])
def test_explain_writes_maps_and_pictures(name, folder, capsys):
    out, units = folder / name, ["class:3", "layer2.0.conv1:2@4,5"]
    command = [
        "explain",
        name,
        ARCH,
        f"images:{folder / 'photos'}",
        "--out",
        str(out),
        "--limit",
        "2",
        "--json",
    ]
    command += ["--set", BRIEF[name]] if name in BRIEF else []
    assert run([*command, "--unit", units[0], "--unit", units[1]]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((out / "run.json").read_text())["results"]
    assert BRIEF.get(name, "=").partition("=")[2] in results["settings"]
    rows = results["explanations"]
    assert [row["unit"] for row in rows] == units * 2
    for row in rows:
        found = np.load(out / row["map_file"])
        assert found.dtype == np.float32
        assert found.shape == (3, 32, 32)
        assert np.abs(found).max() == pytest.approx(row["largest"])
        assert read_png(out / row["picture_file"]).shape[1:] == (32, 32)
    if name not in ("gradcam", "occlusion"):  # what the neuron sees, and no more
        neuron = np.load(out / rows[1]["map_file"])
        assert set(np.nonzero(neuron.any(0))[0]) <= set(range(4, 13))
        assert set(np.nonzero(neuron.any(0))[1]) <= set(range(6, 15))
    model = ostrich.load(ARCH)  # its random weights differ from run to run: only the image must agree
    assert model(read_png(out / rows[0]["clean_file"])[None]).shape == (1, 10)
    assert read_png(out / "sheet.png").shape[0] == 3


def test_explain_takes_the_predicted_class(folder, capsys):
    words = ["explain", "gradient", ARCH, f"images:{folder / 'photos'}", "--out", str(folder / "a"), "--json"]
    assert run(words) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["sanity"] is None
    for row in results["explanations"]:
        assert row["unit"] == f"class:{row['prediction']}"
    assert run(["list", "explainers", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out.splitlines()[-1])}
    assert list(listed) == list(EXPLAINERS)
    assert listed["occlusion"]["needs"] == "scores"


def test_what_cannot_be_is_answered_before_anything_is_written(folder, capsys):
    smooth, function = (f"{folder / 'smooth.py'}:{name}" for name in ("build", "function"))
    for words, answer in [
        (["gided", ARCH], "Did you mean guided"),
        (["guided", ARCH, "--unit", "layer9:0"], "Unknown layer"),
        (["guided", ARCH, "--unit", "conv1:99"], "has channels 0 to 15"),
        (["guided", ARCH, "--unit", "class:zebra"], "Unknown class"),
        (["gradient", ARCH, "--set", "steps=3"], "Unknown setting of gradient"),
        (["smoothgrad", ARCH, "--set", "sample=3"], "Did you mean samples"),
        (["smoothgrad", ARCH, "--set", "samples=many"], "a whole number is expected"),
        (["smoothgrad", ARCH, "--set", "samples=0"], "at least 1"),
        (["gradcam", ARCH, "--set", "layer=layer9"], "Unknown layer"),
        (["gradcam", ARCH, "--unit", "conv1:0"], "No layer with a map lies between"),
        (["occlusion", ARCH, "--set", "window=99"], "at most the image's shorter side"),
        (["guided", smooth, "--size", "16"], "gelu, for which none was published"),
        (["guided-gradcam", smooth, "--size", "16"], "`smoothgrad`, `gradcam`, `occlusion` apply"),
        (["rollout", ARCH], "no attention between tokens was seen"),
        (["gradient", function, "--size", "16"], "only a prediction function"),
        (["occlusion", function, "--size", "16", "--sanity"], "only a prediction function"),
    ]:
        out = folder / "refused"
        name, model, *rest = words
        assert run(["explain", name, model, f"images:{folder / 'photos'}", "--out", str(out), *rest]) == 2, (
            words
        )
        assert answer in capsys.readouterr().err, words
        assert not out.exists(), words
    words = ["explain", "occlusion", function, f"images:{folder / 'photos'}", "--size", "16", "--json"]
    assert run([*words, "--out", str(folder / "function")]) == 0
    assert json.loads(capsys.readouterr().out)["explanations"][0]["largest"] > 0


def test_sanity_by_command_on_the_toybox(folder, capsys):
    """What is known of guided backpropagation: the top layers it does not read, the lower ones it does."""
    out = folder / "sane"
    words = ["explain", "guided", "zoo:toybox-plain14", "toybox", "--limit", "2", "--sanity", "--json"]
    assert run([*words, "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)["sanity"]
    curves = found["randomisation"]
    assert curves["images"] == 2
    assert len(curves["layers"]) == 14
    assert curves["layers"][0]["layer"] == "linear"
    assert 1 <= curves["unread_top_layers"] < 14
    assert curves["layers"][-1]["cascading"]["spearman"]["mean"] < 0.5
    assert curves["layers"][-1]["independent"]["spearman"]["mean"] < 0.5
    assert curves["controls"]["rerun"]["spearman"]["mean"] == pytest.approx(1, abs=1e-9)
    assert abs(curves["controls"]["noise"]["spearman"]["mean"]) < 0.05
    assert found["pointing"]["n"] == 2
    assert f"top {curves['unread_top_layers']} of 14 layers" in found["sentences"][0]
    assert len(found["sentences"]) == 4
    assert (
        found["fading"]["deletion_area"]["guided"]["mean"]
        < found["fading"]["deletion_area"]["random"]["mean"]
    )
    for drawn in (curves["picture"], found["fading"]["picture"]):
        assert read_png(out / drawn).std() > 0.05


def test_sanity_of_images_without_masks(folder, capsys):
    words = ["explain", "gradcam", ARCH, f"images:{folder / 'photos'}", "--limit", "1", "--sanity"]
    assert (
        run([*words, "--unit", "layer3.0.conv2:1", "--unit", "class:0", "--out", str(folder / "plain")]) == 0
    )
    assert "Area under deletion" in capsys.readouterr().out
    found = json.loads((folder / "plain/run.json").read_text())["results"]["sanity"]
    assert found["pointing"] is None
    assert found["randomisation"]["layers"][0]["cascading"]["spearman"]["n"] == 2
