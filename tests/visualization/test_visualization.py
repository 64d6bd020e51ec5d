"""Activation maximisation, its command, first-layer filters, and fooling images."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import nn

import ostrich
from ostrich.attacks import Confident, FoolingAscent
from ostrich.attacks.fooling.ascent import noise, spread
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.images import read_png, rounded
from ostrich.inspection.units import parse, values
from ostrich.runtime.randomness import keyed
from ostrich.statistics import wilson
from ostrich.visualization import (
    PRESETS,
    Ascent,
    Normalised,
    Pixels,
    Regularisers,
    ascend,
    direction,
    first_layer_filters,
    unit,
    worth,
)

UNITS = ["class:1", "probability:3", "conv1:2", "conv1:0@3,4"]
every_preset = pytest.mark.parametrize("preset", list(PRESETS))


def model(dtype: torch.dtype = torch.float64) -> ostrich.Classifier:
    return nets.small(dtype=dtype)


@every_preset
def test_the_units_value_rises(preset):
    network, settings = model(), replace(PRESETS[preset], steps=25)
    found = ascend(network, UNITS, settings, seed=1)
    assert found.images.shape == (4, 3, 16, 16)
    assert found.trace.shape == (25, 4)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert not found.dead.any()
    with torch.no_grad():
        reached = values(network, found.images, [parse(unit) for unit in UNITS]).diagonal()
    if settings.keep == "best":
        assert torch.allclose(reached, found.trace.max(0).values, atol=1e-10)  # the best image on the way
    if not preset.startswith("yosinski"):  # whose rates were chosen for another network
        assert (reached > found.trace[0]).all()
        assert (found.trace[-1] > found.trace[0]).all()


@every_preset
def test_an_image_does_not_depend_on_what_climbs_beside_it(preset):
    network, settings = model(), replace(PRESETS[preset], steps=6)
    wanted = [
        *UNITS,
        unit("layer2:1") - 0.5 * unit("class:2"),
        direction("conv1", [1, -2, 0.5, 0, 1, 0, 0, 3]),
    ]
    together = ascend(network, wanted, settings, seed=3, seeds=2)
    for i, one in enumerate(wanted):
        for turn in range(2):
            alone, row = ascend(network, [one], settings, seed=3 + turn), 2 * i + turn
            assert torch.allclose(together.images[row], alone.images[0], atol=1e-9), one
            assert torch.allclose(together.trace[:, row], alone.trace[:, 0], atol=1e-9)
    assert not torch.allclose(together.images[0], together.images[1])


def test_batches_of_one_give_the_same(monkeypatch):
    network, settings = model(), replace(PRESETS["lucid"], steps=4)
    whole = ascend(network, UNITS, settings, seeds=2)
    monkeypatch.setattr("ostrich.visualization.activation_maximization.VALUES_PER_BATCH", 1)
    split = ascend(network, UNITS, settings, seeds=2)
    assert torch.allclose(whole.images, split.images, atol=1e-9)


@pytest.mark.parametrize("preset", ["plain", "lucid"])
def test_a_seed_decides_everything(preset):
    network, settings = model(torch.float32), replace(PRESETS[preset], steps=5)
    first, again = (ascend(network, UNITS[:2], settings, seed=4) for _ in range(2))
    torch.rand(1)
    other = ascend(network, UNITS[:2], settings, seed=5)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_a_seed_decides_random_answers_too():
    network, units = nets.random_answers(), ["class:1", "conv:3", "class:2"]
    assert network.draws > 1
    one, two = (ostrich.visualize(network, unit=units, steps=4, seeds=2, seed=3) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.trace, two.trace)
    assert torch.equal(one.values, two.values)
    alone = ostrich.visualize(network, unit="conv:3", steps=4, seed=4)
    assert torch.equal(one.images[3], alone.images[0])
    assert one.values[3] == alone.values[0]
    other = ostrich.visualize(network, unit="conv:3", steps=4, seed=5)
    assert not torch.equal(alone.trace, other.trace)


def test_what_an_image_is_worth_is_the_mean_over_draws():
    network, image = nets.random_answers(), nets.random_images(1, (12, 12))
    network.draws = 4000
    network.network.linear.weight.data *= 40
    kept = torch.relu(network.network.conv(image)).mean((2, 3))  # dropout keeps the mean
    expected = network.network.linear(kept)[0, 1]
    found = worth(network, [unit("class:1")], image)
    assert found.item() == pytest.approx(expected.item(), abs=0.05)
    assert torch.equal(worth(network, [unit("class:1")], image), found)


def test_a_step_by_hand():
    """Three steps transcribed in numpy, the gradient of a linear unit being its weights."""
    weights = torch.randn(2, 3 * 6 * 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network = nets.linear(weights, (6, 5), 3)
    settings = Ascent(
        steps=4,
        keep="last",
        parametrisation=Pixels(noise=0.05),
        regularisers=Regularisers(decay=0.1, blur_sigma=0.8, blur_every=2, tv=0.5),
        optimiser=Normalised(step_size=0.03),
    )
    found = ascend(network, ["class:0"], settings, seed=7)
    draw = torch.randn(3, 6, 5, generator=keyed(7, 0), dtype=torch.float64).numpy()
    x, weight = np.clip(0.5 + 0.05 * draw, 0, 1), weights[0].view(3, 6, 5).numpy()
    for step in range(3):
        rough = np.zeros_like(x)
        for axis in (1, 2):  # the slope of sum |differences|: each neighbour pulls by its sign
            sign = np.sign(np.diff(x, axis=axis))
            rough -= np.insert(sign, sign.shape[axis], 0, axis=axis) - np.insert(sign, 0, 0, axis=axis)
        slope = weight - 0.5 * rough / x.size
        x = x + 0.03 * slope / np.abs(slope).mean()
        x = 0.5 + 0.9 * (x - 0.5)
        if step % 2 == 0:
            x = np.stack([gaussian_filter(channel, 0.8, mode="reflect", truncate=4) for channel in x])
        x = np.clip(x, 0, 1)
    assert np.allclose(found.images[0].numpy(), x, atol=1e-10)
    assert np.isclose(found.trace[-1, 0].item(), (x * weight).sum(), atol=1e-10)


def test_the_forward_ends_at_the_layer():
    network = model()
    assert network.access == "gradient"  # asked about a grey image first
    reached = []
    network.network.linear.register_forward_hook(lambda *_: reached.append(1))
    ascend(network, UNITS[2:], replace(PRESETS["lucid"], steps=3))
    assert not reached


def test_plain_is_noise_and_lucid_is_not():
    """The part of an image's energy in the upper half of the frequencies of each side."""
    network = ostrich.load("zoo:toybox-resnet20")

    def fine(preset: str) -> torch.Tensor:
        images = ascend(network, ["class:4", "class:7"], replace(PRESETS[preset], steps=30)).images
        power = torch.fft.fft2(images - images.mean((2, 3), keepdim=True)).abs() ** 2
        high = torch.fft.fftfreq(64).abs() >= 0.25
        upper = high[:, None] | high
        return power[..., upper].sum((1, 2)) / power.sum((1, 2, 3))

    assert (fine("plain") > 0.5).all()  # white noise: 0.75
    assert (fine("lucid") < 0.1).all()


class Behind(nn.Module):
    """Classes behind a ReLU: the first closed for the noise, the second open, the third never open."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.conv.weight.data.fill_(1)
        self.conv.bias.data = torch.tensor([-2.5, 0.0, -3.5])  # sums of three values about 1.5, at most 3

    def forward(self, x):
        return F.relu(self.conv(x)).mean((2, 3))


def test_a_dead_unit_is_woken_and_one_that_stays_dead_is_named():
    """Without a slope a class is shown the way; its neighbours are not disturbed."""
    network = ostrich.Classifier(Behind().double(), size=(8, 8), name="behind")
    settings = replace(PRESETS["plain"], steps=60)
    found = ascend(network, ["class:0", "class:1", "class:2"], settings)
    assert found.trace[0, 0] == 0
    assert found.trace[-1, 0] > 0
    assert found.dead.tolist() == [False, False, True]
    alone = ascend(network, ["class:1"], settings)
    assert torch.allclose(found.images[1], alone.images[0], atol=1e-10)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_a_network_in_halves_is_climbed(half):
    units, settings = ["class:1", "conv1:2"], replace(PRESETS["plain"], steps=5)
    found, expected = (ascend(model(kind), units, settings) for kind in (half, torch.float32))
    assert found.images.dtype == torch.float32
    assert (found.trace[-1] > found.trace[0]).all()
    assert torch.allclose(found.trace[0], expected.trace[0], rtol=0.05, atol=0.02)
    assert worth(model(half), [unit(name) for name in units], found.images).isfinite().all()


def test_what_is_not_finite_is_not_called_dead(tmp_path):
    class Failing(nn.Module):
        """Class 0 is never a number, class 1 has no finite slope, class 2 a slope and no number."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            z = self.conv(x).mean((1, 2, 3))
            return torch.stack([z * torch.nan, 1 + (z * 0).sqrt(), torch.log(-1 - z * z)], 1)

    network = ostrich.Classifier(Failing().double(), size=(8, 8), name="failing")
    found = ostrich.visualize(network, unit="class:*", preset="plain", steps=3, out=tmp_path / "run")
    assert found.undefined.all()
    assert not found.dead.any()
    assert sum("what moves it is not known" in said for said in found.sentences) == 3
    assert not any("is dead" in said for said in found.sentences)
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_what_is_not_finite_is_null_in_json(tmp_path, capsys):
    (tmp_path / "failing.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 2, 1)\n\n    def forward(self, x):\n"
        "        return torch.log(-1 - self.conv(x).mean((2, 3)).square())\n"
    )
    words = ["visualize", f"{tmp_path / 'failing.py'}:Net", "--size", "8", "--unit", "class:0", "--json"]
    assert run([*words, "--preset", "plain", "--set", "steps=2", "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert "NaN" not in text
    assert json.loads(text)["units"][0]["value"] is None


@pytest.mark.parametrize("preset", ["plain", "lucid", "yosinski-4"])
def test_the_network_is_left_as_it_was(preset, untouched_network):
    found = ascend(untouched_network, UNITS, replace(PRESETS[preset], steps=3))
    assert not found.images.requires_grad
    assert not found.trace.requires_grad


@pytest.mark.parametrize("way", ["forward_pre", "forward", "full_backward"])
def test_an_exception_at_any_layer_leaves_no_trace(way, untouched_network):
    class HalfWay(RuntimeError):
        pass

    network, before, reached = untouched_network.network, nets.state(untouched_network.network), 0
    assert untouched_network.num_classes == 5  # asked before anything fails
    assert untouched_network.access == "gradient"
    for layer in (module for module in network.modules() if not any(module.children())):

        def fail(*_args):
            raise HalfWay

        handle = getattr(layer, f"register_{way}_hook")(fail)
        try:
            ascend(untouched_network, ["class:0", "layer3:1"], replace(PRESETS["lucid"], steps=2))
        except HalfWay:
            reached += 1
        finally:
            handle.remove()
        assert nets.state(network) == before, layer
    assert reached > 10


def test_a_network_that_flattens_by_view_is_climbed_too():
    """`view` refuses channels-last, in which images are shown where a network takes them."""

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 2)

        def forward(self, x):
            return self.head(self.conv(x).view(len(x), -1))

    network = ostrich.Classifier(Views(), size=(8, 8), name="views")
    found = ascend(network, ["class:0", "class:1"], replace(PRESETS["lucid"], steps=10))
    assert (found.trace[-1] > found.trace[0]).all()


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_of_a_scripted_network_only_scores_can_be_climbed():
    scripted = torch.jit.script(Behind().double())
    network = ostrich.Classifier(scripted, size=(8, 8), channels=3, name="scripted")
    found = ascend(network, ["class:1"], replace(PRESETS["lucid"], steps=5))
    assert found.trace[-1, 0] > found.trace[0, 0]
    with pytest.raises(InputError, match="compiled"):
        ascend(network, ["conv:1"])


def test_a_function_and_no_unit_are_refused():
    function = ostrich.Classifier(lambda images: images.mean((2, 3)), size=(4, 4), channels=3)
    with pytest.raises(InputError, match="prediction function"):
        ascend(function, ["class:0"])
    with pytest.raises(InputError, match="No unit"):
        ascend(model(), [])
    with pytest.raises(InputError, match="seed"):
        ascend(model(), ["class:0"], seeds=0)


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
PLAIN = ["--set", "preset=plain", "--set", "steps=4"]


def test_visualize_writes_images_trace_and_filters(tmp_path, capsys):
    out = tmp_path / "run"
    units = ["--unit", "class:3", "--unit", "conv1:2"]
    command = ["visualize", ARCH, *units, "--filters", "--out", str(out), "--json"]
    assert run([*command, *PLAIN, "--set", "step_size=8/255"]) == 0
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


def test_visualize_sums_seeds_and_films(tmp_path, capsys):
    out, words = tmp_path / "run", "0.5*layer1:3@centre - class:2"
    command = ["visualize", ARCH, "--objective", words, "--seeds", "3", "--seed", "5", "--gif", "--json"]
    assert run([*command, "--set", "steps=4", "--out", str(out)]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(row["unit"], row["seed"]) for row in results["units"]] == [(words, seed) for seed in (5, 6, 7)]
    assert results["settings"]["parametrisation"] == "fourier"  # lucid unless said
    with Image.open(out / results["gif"]) as film:
        assert film.n_frames == 4
        assert film.size == (5 * 100, 5 * 32)  # three images of 32 pixels and two gaps, five times
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [5, 6, 7] * 4


def test_every_class_before_judges(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["visualize", "zoo:digits-cnn", "--unit", "class:*", "--judges", "zoo:digits-cnn", "--json"]
    assert run([*command, "--preset", "plain", "--set", "steps=12", "--out", str(out)]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [row["unit"] for row in results["units"]] == [f"class:{digit}" for digit in range(10)]
    verdict = results["judges"]["zoo:digits-cnn"]
    classifier = ostrich.load("zoo:digits-cnn")
    images = torch.stack([read_png(out / row["file"]) for row in results["units"]])
    right = (nets.predictions(classifier, images) == torch.arange(10)).double().mean().item()
    assert verdict["n"] == 10
    assert verdict["recognised"] == right > 0.5
    assert verdict["interval"] == list(wilson(round(10 * right), 10))
    found = worth(classifier, [unit(row["unit"]) for row in results["units"]], images)  # of the files
    assert found.tolist() == pytest.approx([row["value"] for row in results["units"]], abs=1e-4)


def test_a_unit_that_is_dead_on_every_start_is_said_to_be(tmp_path, capsys):
    file = tmp_path / "behind.py"
    file.write_text(
        "import torch\n\n\nclass Behind(torch.nn.Module):\n    def forward(self, x):\n"
        "        return torch.relu(x.mean((2, 3)) - torch.tensor([2.0, 0.0, 2.0]))\n\n\n"
        "def network():\n    return Behind()\n"
    )
    words = ["visualize", f"{file}:network", "--size", "8", "--unit", "class:0", "--unit", "class:1"]
    assert run([*words, "--seeds", "2", "--set", "steps=3", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "class:0 is dead" in told
    assert "2 starts" in told
    assert "--seeds 8" in told
    assert "class:1 is dead" not in told


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "Name what to show"),
        (["--unit", "class:99"], "class"),
        (["--unit", "nowhere:1"], "nowhere"),
        (["--unit", "nowhere:*"], "nowhere"),
        (["--unit", "layer1:99"], "channels 0 to 15"),
        (["--unit", "layer1:0@40,1"], "map of 32x32"),
        (["--objective", "class:1 times 2"], "class"),
        (["--unit", "class:1", "--set", "stepz=3"], "steps"),
        (["--unit", "class:1", "--set", "preset=plane"], "plain"),
        (["--unit", "class:1", "--preset", "plane"], "plain"),
        (["--unit", "class:1", "--preset", "plain", "--set", "preset=lucid"], "Two presets"),
        (["--unit", "class:1", "--seeds", "0"], "seed"),
        (["--unit", "layer1:1", "--judges", "zoo:cifar10-resnet20"], "class:NAME"),
        (["--unit", "class:1", "--judges", "zoo:digits-cnn"], "channels"),
        (["--filters", "--set", "steps=3"], "not for the filters"),
        (["--filters", "--gif"], "not for the filters"),
    ],
)
def test_visualize_refuses_in_words(words, match, tmp_path, capsys):
    assert run(["visualize", ARCH, *words, "--out", str(tmp_path / "run")]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# Fooling ------------------------------------------------------------------------------------------


def test_noise_becomes_certainty_and_the_file_proves_it():
    network = nets.small()
    classes = spread(5, 3)
    assert classes == [0, 1, 3]
    start = noise(classes, (3, 16, 16), seed=2)
    assert torch.equal(start, rounded(start))
    assert torch.equal(noise([3], (3, 16, 16), seed=2)[0], start[2])
    result = ostrich.attacks.attack(FoolingAscent(), network, start, Confident(torch.tensor(classes), 0.99))
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
    files = [row["adversarial_file"] for row in rows if row["adversarial_file"]]
    assert files
    assert all(read_png(out / file).shape == (3, 32, 32) for file in files)
    assert run([*command, str(tmp_path / "one"), "--target", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 1
    for words in (["toybox"], ["--target", "random"], ["--target", "zebra"], ["--limit", "0"]):
        assert run(["attack", "fooling-ascent", ARCH, *words, "--out", str(tmp_path / "no")]) == 2
    assert run(["attack", "pgd", ARCH, "--out", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
