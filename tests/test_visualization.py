"""Activation maximisation, first-layer filters, and fooling images."""

from __future__ import annotations

import csv
import json

import nets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import nn

import ostrich
from ostrich.attacks import Confident, FoolingAscent
from ostrich.attacks.fooling.ascent import noise, spread
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.images import read_png, rounded
from ostrich.units import parse, values
from ostrich.visualization import PRESETS, Ascent, ascend, first_layer_filters
from ostrich.visualization.activation_maximization import gaussian

UNITS = ["class:1", "probability:3", "stem:2", "stem:0@3,4"]


def model(dtype: torch.dtype = torch.float64) -> ostrich.Classifier:
    small = nets.small(dtype=dtype)
    first = next(n for n, m in small.network.named_modules() if isinstance(m, nn.Conv2d))
    global UNITS
    UNITS = [unit.replace("stem", first) for unit in UNITS]
    return small


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_units_value_rises(preset):
    network = model()
    found = ascend(network, UNITS, Ascent(**{**vars(PRESETS[preset]), "steps": 25}), seed=1)
    assert found.images.shape == (4, 3, 16, 16)
    assert found.trace.shape == (25, 4)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    with torch.no_grad():
        reached = values(network, found.images, [parse(unit) for unit in UNITS]).diagonal()
    assert torch.allclose(reached, found.trace.max(0).values, atol=1e-10)  # the best image on the way
    assert (reached > found.trace[0]).all()
    assert (found.trace[-1] > found.trace[0]).all()


def test_units_do_not_depend_on_one_another():
    network, settings = model(), Ascent(steps=12, decay=0.01, blur_sigma=0.7)
    together = ascend(network, UNITS, settings)
    for i, unit in enumerate(UNITS):
        alone = ascend(network, [unit], settings)
        assert torch.allclose(together.images[i], alone.images[0], atol=1e-9), unit
        assert torch.allclose(together.trace[:, i], alone.trace[:, 0], atol=1e-9)


def test_a_seed_decides_everything():
    network, settings = model(torch.float32), Ascent(steps=6)
    first, again = (ascend(network, UNITS[:2], settings, seed=4) for _ in range(2))
    torch.rand(1)
    other = ascend(network, UNITS[:2], settings, seed=5)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_a_step_by_hand():
    """Three steps transcribed in numpy, the gradient of a linear unit being its weights."""
    weights = torch.randn(2, 3 * 6 * 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network = nets.linear(weights, (6, 5), 3)
    settings = Ascent(steps=4, step_size=0.03, decay=0.1, blur_sigma=0.8, blur_every=2, start=0.05)
    found = ascend(network, ["class:0"], settings, seed=7)
    draw = torch.randn(1, 3, 6, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)[0].numpy()
    x, slope = np.clip(0.5 + 0.05 * draw, 0, 1), weights[0].view(3, 6, 5).numpy()
    for step in (1, 2, 3):
        x = x + 0.03 * slope / np.abs(slope).mean()
        x = 0.5 + 0.9 * (x - 0.5)
        if step % 2 == 0:
            x = np.stack([gaussian_filter(channel, 0.8, mode="reflect", truncate=4) for channel in x])
        x = np.clip(x, 0, 1)
    last = found.trace[-1, 0].item()
    assert np.isclose(last, (x * slope).sum(), atol=1e-10)


@pytest.mark.parametrize("sigma", [0.5, 1.3, 4.0])
def test_the_blur_is_scipys(sigma):
    image = torch.rand(2, 3, 7, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="reflect", truncate=4)
    assert np.allclose(gaussian(image, sigma).numpy(), expected, atol=1e-12)


def test_the_forward_ends_at_the_layer():
    network = model()
    reached = []
    network.network.linear.register_forward_hook(lambda *_: reached.append(1))
    ascend(network, UNITS[2:], Ascent(steps=3))
    assert not reached


def test_a_dead_unit_is_woken():
    """A class behind a ReLU that is closed for the noise has no slope; its neighbour is not disturbed."""

    class Behind(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)
            self.conv.weight.data.fill_(1)
            self.conv.bias.data = torch.tensor([-2.5, 0.0])  # sums of three values about 1.5: closed, open

        def forward(self, x):
            return F.relu(self.conv(x)).mean((2, 3))

    network = ostrich.Classifier(Behind().double(), size=(8, 8), name="behind")
    found = ascend(network, ["class:0", "class:1"], Ascent(steps=60))
    assert found.trace[0, 0] == 0
    assert found.trace[-1, 0] > 0.01
    alone = ascend(network, ["class:1"], Ascent(steps=60))
    assert torch.allclose(found.images[1], alone.images[0], atol=1e-10)


def test_the_network_is_left_as_it_was_after_an_exception():
    network = model()
    assert network.num_classes == 5  # asked before anything fails
    network.network.train()
    handle = network.network.linear.register_forward_pre_hook(
        lambda *_: (_ for _ in ()).throw(RuntimeError("no"))
    )
    with pytest.raises(RuntimeError, match="no"):
        ascend(network, UNITS[:1])
    handle.remove()
    assert all(module.training for module in network.network.modules())
    assert all(p.requires_grad and p.grad is None for p in network.network.parameters())
    assert not any(module._forward_hooks for module in network.network.modules())


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"decay": 1.0}, {"step_size": 0.0}, {"blur_sigma": -1.0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        Ascent(**wrong)


def test_first_layer_filters():
    for channels, deep in ((3, 3), (1, 1), (4, 1)):
        network = nets.small(channels=channels)
        drawn = first_layer_filters(network)
        assert drawn.shape[0] == deep
        assert drawn.min() >= 0
        assert drawn.max() <= 1
    perceptron = nets.linear(torch.randn(4, 3 * 5 * 5), (5, 5), 3)
    assert first_layer_filters(perceptron).shape == (
        3,
        52,
        52,
    )  # 2 * 5 * 5 + 2: tiles of 5 pixels, five times
    with pytest.raises(InputError, match="first layer"):
        first_layer_filters(
            ostrich.Classifier(
                nn.Sequential(nn.Flatten(2), nn.Linear(25, 4), nn.Flatten(), nn.Linear(12, 2)),
                size=(5, 5),
                channels=3,
            )
        )


ARCH = "arch:resnet20"


def test_visualize_writes_images_trace_and_filters(tmp_path, capsys):
    out = tmp_path / "run"
    command = [
        "visualize",
        ARCH,
        "--unit",
        "class:3",
        "--unit",
        "conv1:2",
        "--filters",
        "--out",
        str(out),
        "--json",
    ]
    assert run([*command, "--set", "steps=4", "--set", "step_size=8/255", "--set", "preset=plain"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((out / "run.json").read_text())["results"]
    assert results["settings"]["step_size"] == 8 / 255
    assert results["settings"]["blur_sigma"] == 0
    for row in results["units"]:
        assert read_png(out / row["file"]).shape == (3, 32, 32)
    assert read_png(out / results["grid"]).shape[0] == 3
    assert read_png(out / results["filters"]).shape[0] == 3
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["unit"]) for line in lines[:3]] == [
        (0, "class:3"),
        (0, "conv1:2"),
        (1, "class:3"),
    ]
    assert len(lines) == 8


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--unit", "class:99"],
        ["--unit", "nowhere:1"],
        ["--unit", "class:1", "--set", "stepz=3"],
        ["--unit", "class:1", "--set", "preset=plane"],
        ["--filters", "--set", "steps=3"],
    ],
)
def test_visualize_refuses_in_words(words, tmp_path):
    assert run(["visualize", ARCH, *words, "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()


# Fooling ------------------------------------------------------------------------------------------


def test_noise_becomes_certainty_and_the_file_proves_it():
    network = nets.small()
    classes = spread(5, 3)
    assert classes == [0, 1, 3]
    start = noise(classes, (3, 16, 16), seed=2)
    assert torch.equal(start, rounded(start))
    assert torch.equal(noise([3], (3, 16, 16), seed=2)[0], start[2])
    result = ostrich.attack(FoolingAscent(), network, start, Confident(torch.tensor(classes), 0.99))
    assert result.success.all()
    with torch.no_grad():
        probability = network(rounded(result.images)).softmax(1)
    assert (probability[range(3), classes] >= 0.99).all()


def test_the_command_needs_no_data(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["attack", "fooling-ascent", ARCH, "--set", "steps=3", "--json", "--out"]
    assert run([*command, str(out)]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["n"] == 10
    assert results["robust_accuracy"] is None
    rows = list(csv.DictReader((out / "images.csv").read_text().splitlines()))
    assert [int(row["target"]) for row in rows] == list(range(10))
    assert all(row["label"] == row["clean_file"] == "" for row in rows)
    assert all(read_png(out / row["adversarial_file"]).shape == (3, 32, 32) for row in rows)
    assert run([*command, str(tmp_path / "one"), "--target", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 1
    for words in (["toybox"], ["--target", "random"], ["--target", "zebra"], ["--limit", "0"]):
        assert run(["attack", "fooling-ascent", ARCH, *words, "--out", str(tmp_path / "no")]) == 2
    assert run(["attack", "pgd", ARCH, "--out", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
