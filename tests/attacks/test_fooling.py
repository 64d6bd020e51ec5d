"""Fooling images: operators, drawing networks and archive against independent expressions; the command."""

from __future__ import annotations

import colorsys
import csv
import json
import math
from dataclasses import fields, replace

import nets
import numpy as np
import pytest
import torch
from scipy.stats import kstest

import ostrich
from ostrich.attacks import Confident, FoolingAscent, FoolingCPPN, FoolingDirect, Targeted
from ostrich.attacks.fooling import cppn
from ostrich.attacks.fooling.ascent import noise, spread
from ostrich.attacks.fooling.cppn import HIDDEN, RANGE, Networks
from ostrich.attacks.fooling.cppn_drawing import INPUTS, drawn
from ostrich.attacks.fooling.evidence import Trace
from ostrich.attacks.fooling.gallery import gallery, percent
from ostrich.attacks.fooling.operators import crossed, polynomial
from ostrich.attacks.fooling.recognition import kin, shown, transfer
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.images import fit, from_bytes, picture, read_image, read_png, rounded
from ostrich.runtime.randomness import keyed

UNLIKELY = 1e-6  # a right distribution gives a smaller p-value once in a million seeds
EVOLUTIONS = (FoolingCPPN, FoolingDirect)


def evolved(count: int = 24, outputs: int = 3, generations: int = 40) -> Networks:
    found = cppn.simple(count, outputs, keyed(0))
    for generation in range(generations):
        found = cppn.mutated(found, keyed(1, generation))
    return found


# Operators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gene", [0.02, 0.5, 0.9])
def test_polynomial_mutation_has_its_distribution(gene):
    """Solved for u, Deb's formula of the bounded mutation gives back uniform numbers."""
    eta, low, high = 15, -1.0, 3.0
    value = low + gene * (high - low)
    parents = torch.full((20_000,), value, dtype=torch.float64)
    children = polynomial(parents, 1.0, eta, low, high, keyed(5))
    change = (children - value) / (high - low)
    down, up = (1 - gene) ** (eta + 1), gene ** (eta + 1)  # of the room below and above: (1 - delta)^(eta+1)
    below = ((1 + change).clamp_min(0) ** (eta + 1) - down) / (2 * (1 - down))
    above = 1 - ((1 - change).clamp_min(0) ** (eta + 1) - up) / (2 * (1 - up))
    assert kstest(torch.where(change < 0, below, above).numpy(), "uniform").pvalue > UNLIKELY
    assert children.min() >= low
    assert children.max() <= high


def test_polynomial_mutation_keeps_its_rate():
    parents = torch.full((100_000,), 0.5)
    changed = int((polynomial(parents, 0.1, 15, 0.0, 1.0, keyed(6)) != parents).sum())
    assert abs(changed - 10_000) < 5 * 90**0.5 * 10  # five standard deviations, sqrt(n p (1 - p)) = 95


def test_crossover_has_its_distribution():
    """Far from the bounds the spread has the density (eta+1)/2 times b^eta up to 1, b^-(eta+2) above."""
    eta, mothers = 10, torch.full((20_000,), 0.4, dtype=torch.float64)
    fathers = torch.full_like(mothers, 0.6)
    children = crossed(mothers, fathers, eta, -1e6, 1e6, keyed(7))
    beta = (children - 0.5).abs() / 0.1
    u = torch.where(beta <= 1, 0.5 * beta ** (eta + 1), 1 - 0.5 * beta ** -(eta + 1))
    assert kstest(u.numpy(), "uniform").pvalue > UNLIKELY
    assert abs(int((children < 0.5).sum()) - 10_000) < 5 * 20_000**0.5 / 2


def test_crossover_stays_in_range_and_leaves_equal_parents_alone():
    mothers, fathers = torch.rand(2, 20_000, generator=keyed(8)).round(decimals=2)
    children = crossed(mothers, fathers, 10, 0.0, 1.0, keyed(9))
    assert children.min() >= 0
    assert children.max() <= 1
    assert torch.equal(children[mothers == fathers], mothers[mothers == fathers])


# Networks that draw -------------------------------------------------------------------------------


def test_mutation_keeps_networks_whole():
    found = cppn.simple(50, 3, keyed(0))
    for generation in range(60):
        found = cppn.mutated(found, keyed(1, generation))
        there = ~found.order.isnan()
        earlier = found.order[:, None, :] < found.order[:, :, None]
        assert (earlier | ~found.linked).all()  # no cycle, and nothing into an input
        assert (there[:, None, :] & there[:, :, None] | ~found.linked).all()
        assert (found.weight[~found.linked] == 0).all()
        assert found.weight.abs().max() <= RANGE
        inner = found.order[:, INPUTS + 3 :]
        assert all(len(set(row)) == len(row) for row in (o[~o.isnan()].tolist() for o in inner))
    assert there[:, : INPUTS + 3].all()
    assert there.sum(1).max() > INPUTS + 3 + 10
    assert there.sum(1).max() <= INPUTS + 3 + HIDDEN


def test_structure_changes_at_the_published_rates():
    """Of networks without inner nodes: one is added by half of them, and taken back by a fifth of those."""
    n = 4000
    child = cppn.mutated(cppn.simple(n, 1, keyed(0)), keyed(2))
    nodes = (~child.order.isnan()).sum(1) - INPUTS - 1
    assert nodes.max() == 1
    assert abs(int(nodes.sum()) - 0.4 * n) < 5 * (n * 0.4 * 0.6) ** 0.5


def test_a_new_node_takes_the_place_of_a_connection():
    before = cppn.simple(30, 1, keyed(3))
    after = cppn._add_node(before, torch.ones(30, dtype=torch.bool), keyed(4))
    node, output = INPUTS + 1, INPUTS
    for i in range(30):
        (origin,) = (before.linked[i] & ~after.linked[i])[output].nonzero()[:, 0].tolist()
        assert after.linked[i, node].nonzero()[:, 0].tolist() == [origin]
        assert after.weight[i, node, origin] == 1
        assert after.weight[i, output, node] == before.weight[i, output, origin]
        assert 0 < after.order[i, node] < 1


def reference(net: Networks, row: int, height: int, width: int) -> torch.Tensor:
    """One network at one pixel after the other, in plain Python."""
    functions = (
        math.sin,
        lambda s: 2 / (1 + math.exp(-s)) - 1,
        lambda s: math.exp(-(s**2)),
        lambda s: min(max(s, -3), 3) / 3,
    )
    links, weights = net.linked[row].tolist(), net.weight[row].tolist()
    middle = ((height - 1) / 2, (width - 1) / 2)

    def value(node: int, inputs: tuple[float, ...]) -> float:
        if node < INPUTS:
            return inputs[node]
        total = sum(weights[node][k] * value(k, inputs) for k, linked in enumerate(links[node]) if linked)
        return functions[int(net.function[row, node])](total)

    image = torch.zeros(3 if net.outputs == 3 else 1, height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            across, down = (
                (x - middle[1]) * 16 / max(height, width),
                (y - middle[0]) * 16 / max(height, width),
            )
            distance = math.hypot(x - middle[1], y - middle[0]) / math.hypot(*middle)
            outputs = [
                min(1.0, abs(value(INPUTS + k, (across, down, distance, 1.0)))) for k in range(net.outputs)
            ]
            image[:, y, x] = torch.tensor(colorsys.hls_to_rgb(*outputs) if net.outputs == 3 else outputs)
    return image


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_population_is_drawn_as_each_network_computes(outputs):
    found = evolved(8, outputs)
    found = replace(found, weight=found.weight.double())
    images = drawn(found, 3, 5)
    for i in range(8):
        assert torch.allclose(images[i], reference(found, i, 3, 5), atol=1e-9), i


def test_an_image_does_not_depend_on_its_population():
    found = evolved()
    images = drawn(found, 20, 30)
    assert images.shape == (24, 3, 20, 30)
    alone = torch.cat([drawn(found.take(torch.tensor([i])), 20, 30) for i in range(24)])
    assert torch.allclose(images, alone, atol=1e-4)
    assert torch.equal(images, drawn(evolved(), 20, 30))


# The archive --------------------------------------------------------------------------------------


def watched(method, network, classes, confidence=0.999, **options):
    """The result, and the state after every generation."""
    states = []
    start = noise(classes, (network.channels, *network.size))
    goal = Confident(torch.tensor(classes), confidence)
    options = {"watch": lambda step, state: states.append(state)} | options
    return ostrich.attacks.attack(method, network, start, goal, **options), states


@pytest.mark.parametrize("kind", EVOLUTIONS)
def test_every_child_competes_in_every_class(kind):
    """The archive holds, for each class, the best of all that the network was ever shown."""
    inner, shown = nets.small(dtype=torch.float64), []

    def scores(x):
        shown.append(x)
        with torch.no_grad():
            return inner(x.double()).float()

    function = ostrich.Classifier(scores, name="function", size=(16, 16))
    result, states = watched(kind(population=12, generations=6), function, [0, 3])
    best = []
    position = next(i for i, x in enumerate(shown) if len(x) == 12)  # before are questions, and the start
    for state in states:
        best.append(inner(shown[position].double()).softmax(1).detach())
        position += 1 + (len(shown[position + 1]) < 12 if position + 1 < len(shown) else 0)  # a verification
        assert torch.allclose(state.archive.fitness, torch.cat(best).max(0).values, atol=1e-6)
        assert torch.equal(state.images, rounded(state.images))
    own = inner(states[-1].images.double()).softmax(1)[range(2), [0, 3]]
    assert torch.allclose(own, states[-1].archive.fitness[[0, 3]], atol=1e-6)
    assert torch.equal(result.images, states[-1].images)


@pytest.mark.parametrize("kind", EVOLUTIONS)
def test_the_archive_never_gets_worse_and_one_child_may_fill_it(kind):
    network = nets.small()
    _, states = watched(kind(population=1, generations=12, stop="budget"), network, [2])
    first = states[0].archive.genomes
    for field in fields(first):
        value = getattr(first, field.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value.nan_to_num(-1.0), value[:1].expand_as(value).nan_to_num(-1.0))
    fitness = torch.stack([state.archive.fitness for state in states])
    assert (fitness.diff(dim=0) >= 0).all()
    assert (fitness[-1] > fitness[0]).any()


def test_a_network_without_numbers_fills_nothing():
    network = ostrich.Classifier(lambda x: x.mean((2, 3)) * torch.nan, name="nan", size=(8, 8))
    result, states = watched(FoolingCPPN(population=4, generations=3), network, [1])
    assert not result.success.any()
    assert torch.equal(result.images, noise([1], (3, 8, 8)))
    assert not result.attacked.any()  # no answer is nothing to begin with
    assert states == []


def test_time_ends_it_and_what_cannot_be_is_refused():
    _, states = watched(FoolingDirect(population=4, minutes=1e-9), nets.small(), [0])
    assert len(states) == 1
    for kind in EVOLUTIONS:
        for wrong in ({"population": 0}, {"generations": 0}, {"minutes": 0.0}, {"stop": "never"}):
            with pytest.raises(InputError):
                kind(**wrong)
        start = noise([1], (3, 16, 16))
        with pytest.raises(InputError, match="has a class to reach"):
            ostrich.attacks.attack(kind(), nets.small(), start, ostrich.Untargeted(torch.tensor([1])))
    targeted = ostrich.attacks.attack(FoolingDirect(), nets.small(), start, Targeted(torch.tensor([3])))
    assert targeted.success.all()
    assert targeted.predictions.tolist() == [3]


@pytest.mark.parametrize("kind", EVOLUTIONS)
@pytest.mark.usefixtures("always_kept")
def test_cut_off_between_generations_it_goes_on_bit_for_bit(kind, tmp_path):
    network, method = nets.small(), kind(population=10, generations=9)
    whole, _ = watched(method, network, [0, 1, 2, 3, 4], 0.6)

    def cut(step, state):
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(method, network, [0, 1, 2, 3, 4], 0.6, shards=tmp_path, watch=cut)
    assert len(list(tmp_path.glob("*.half.pt"))) == 1
    resumed, rest = watched(method, network, [0, 1, 2, 3, 4], 0.6, shards=tmp_path)
    assert 0 < whole.success.sum() < 5  # some were done before the cut, some were not
    assert [state.generation for state in rest] == [6, 7, 8, 9]
    for field in fields(whole):
        ours, theirs = getattr(whole, field.name), getattr(resumed, field.name)
        same = (
            ours == theirs if isinstance(ours, int) else torch.equal(ours.nan_to_num(), theirs.nan_to_num())
        )
        assert same, field.name
    assert not list(tmp_path.glob("*.half.pt"))


# Ascent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_decay_is_ascent_with_a_pull_towards_grey(decay):
    """Without a gradient, what is left is the decay: (1 - decay)^steps of the distance to middle grey."""

    class Flat(torch.nn.Module):
        def forward(self, x):
            return 0 * x.mean((2, 3))

    network = ostrich.Classifier(Flat(), size=(6, 6))
    start = noise([0], (3, 6, 6)).double()
    method = FoolingAscent(steps=10, decay=decay)
    result = ostrich.attacks.attack(method, network, start, Confident(torch.tensor([0])))
    expected = 0.5 + (1 - decay) ** 10 * (start - 0.5)
    assert torch.allclose(result.float_images, expected, atol=1e-12)


# The command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fooling-cppn", "fooling-direct", "fooling-ascent"])
def test_every_digit_at_999_as_a_file(name, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["attack", name, "zoo:digits-cnn", "--set", "confidence=0.999", "--json", "--out", str(out)]
    assert run(words) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["n"] == 10
    assert results["success_rate"] == 1
    assert list(results["transfer"]) == ["zoo:mnist-ibp", "zoo:mnist-lenet"]  # the others that know digits
    network = ostrich.load("zoo:digits-cnn")
    rows = list(csv.DictReader((out / "images.csv").read_text().splitlines()))
    for row in rows:
        with torch.no_grad():
            logits = network(read_png(out / row["adversarial_file"])[None])
        assert logits.double().softmax(1)[0, int(row["target"])] >= 0.999
        assert row["label"] == row["clean_file"] == ""
    assert read_png(out / "gallery.png").shape[0] == 3
    if name != "fooling-ascent":
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert [line["generation"] for line in lines] == list(range(1, len(lines) + 1))
        assert results["archive"] == lines[-1]
        assert lines[-1]["classes_at_0.99"] == 10
        assert sum(int(row["forwards"]) for row in rows) == lines[-1]["forwards"] + 10 + 10


@pytest.mark.parametrize("channels", [2, 4])
def test_a_fooling_image_of_any_channels_is_a_file(channels, tmp_path):
    network = nets.small(channels=channels)
    found = ostrich.attack("fooling-ascent", network, confidence=0.5, out=tmp_path / "run")
    assert found.success.any()
    rows = list(csv.DictReader((tmp_path / "run" / "images.csv").read_text().splitlines()))
    for image, row in zip(found.images, rows, strict=True):
        if row["adversarial_file"]:
            assert torch.equal(read_image(tmp_path / "run" / row["adversarial_file"]), image)


def test_every_success_is_read_back(tmp_path, monkeypatch, capsys):
    from ostrich.attacks.fooling import evidence

    inner = evidence.write_image

    def damaged(path, image):
        inner(path, image * 0 if "00001-" in path.name else image)

    monkeypatch.setattr(evidence, "write_image", damaged)
    words = ["attack", "fooling-ascent", "zoo:digits-cnn", "--limit", "3", "--out", str(tmp_path / "run")]
    assert run(words) == 3  # a fault of the disk, here
    said = capsys.readouterr().err
    assert "Read back" in said
    assert "00001-" in said


@pytest.mark.usefixtures("always_kept")
def test_a_cut_command_goes_on(tmp_path, capsys, monkeypatch):
    words = ["attack", "fooling-direct", "zoo:digits-cnn", "--target", "4", "--limit", "3", "--json"]
    words += ["--set", "generations=8", "--set", "population=10", "--set", "stop=budget", "--out"]
    assert run([*words, str(tmp_path / "whole")]) == 0
    inner = Trace.__call__

    def cut(self, step, state):
        inner(self, step, state)
        if step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trace, "__call__", cut)
    assert run([*words, str(tmp_path / "cut")]) == 130
    monkeypatch.setattr(Trace, "__call__", inner)
    assert run([*words, str(tmp_path / "cut")]) == 0
    traces = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    whole, goneon = ([json.loads(line) | {"seconds": 0} for line in trace] for trace in traces)
    assert whole == goneon
    assert len(whole) == 8
    tables = [(tmp_path / name / "images.csv").read_text() for name in ("whole", "cut")]
    assert tables[0] == tables[1]


def test_what_the_command_refuses(tmp_path, capsys):
    head = ["attack", "fooling-cppn", "zoo:digits-cnn", "--out", str(tmp_path / "no")]
    for setting in ("confidence=1", "confidence=high", "minutes=0", "populatoin=4", "eps=1"):
        assert run([*head, "--set", setting]) == 2, setting
    assert run(["attack", "pgd", "zoo:digits-cnn", "digits", "--set", "confidence=0.9"]) == 2
    assert "confidence" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


# Other networks -----------------------------------------------------------------------------------


def test_transfer_matches_classes_by_name_and_sizes_by_file():
    network = nets.small(num_classes=3)
    network.class_names = ("a", "b", "c")
    images, states = watched(FoolingAscent(), network, [0, 1, 2])[0].images, None
    assert states is None

    class Turned(torch.nn.Module):
        def forward(self, x):
            return network.network(x)[:, [2, 0, 1]]

    facts = {"size": (16, 16), "mean": (0.5,), "std": (0.25,)}
    turned = ostrich.Classifier(Turned(), name="turned", class_names=("c", "a", "b"), **facts)
    wrong = ostrich.Classifier(Turned(), name="wrong", class_names=("a", "b", "c"), **facts)
    larger = ostrich.Classifier(
        torch.nn.Sequential(torch.nn.AvgPool2d(2), network.network),
        name="larger",
        class_names=("a", "b", "c"),
        **facts | {"size": (32, 32)},
    )
    found = transfer(images, [0, 1, 2], network, [turned, wrong, larger])
    assert found["turned"] == 1
    assert found["wrong"] == 0
    assert found.keys() == {"turned", "wrong", "larger"}
    with pytest.raises(InputError, match="Unknown class"):
        transfer(images, [0], network, [replace_names(turned, ("x", "y", "z"))])
    with pytest.raises(InputError, match="without the names"):
        transfer(images, [0], network, [nets.small(num_classes=5)])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_channels_are_brought_to_another_size(channels):
    """Each channel as an image of its own would be."""
    images, seen = nets.random_images(2, (12, 10), channels), []
    larger = nets.small(channels=channels, size=(24, 30))
    larger.predict = lambda given: seen.append(given) or torch.zeros(2, 5)
    shown(images, [0, 1], nets.small(channels=channels, size=(12, 10)), larger)
    for c in range(channels):
        each = [np.asarray(fit(picture(image[c : c + 1]), (24, 30))) for image in images]
        assert torch.equal(seen[0][:, c], from_bytes(np.stack(each)[..., None])[:, 0])


def replace_names(classifier, names):
    return ostrich.Classifier(classifier.network, name="other", size=(16, 16), class_names=names)


def test_the_toybox_networks_are_kin():
    names = [other.name for other in kin(ostrich.load("zoo:toybox-resnet20"))]
    assert names == ["zoo:toybox-alexnet", "zoo:toybox-plain14", "zoo:toybox-robust"]
    assert kin(nets.small()) == []


def test_the_gallery_shows_the_images_themselves():
    images = nets.random_images(3, (8, 8), 1)
    sheet = gallery(images, ["one", "a name that is too long to be read", "three"], [0.5, 0.99999, 1.0])
    assert torch.equal(
        sheet[:, 6:102, 6:102], images[0].repeat_interleave(12, 1).repeat_interleave(12, 2).expand(3, -1, -1)
    )
    assert sheet.shape == (3, 6 + 2 * (96 + 6 + 26), 6 + 2 * (96 + 6))
    assert (sheet[:, 102:128, 6:102] < 0.5).any()  # the text
    assert percent(0.99999) == "99.99 %"
    assert percent(1.0) == "100.00 %"
    assert gallery(nets.random_images(2, (300, 150)), ["a", "b"], [0.1, 0.2]).shape[2] == 6 + 2 * (64 + 6)
    states = ["reached", "missed", "untried"]
    marked = gallery(images, ["one", "two", "three"], [0.5, 0.3, 1.0], states)
    assert torch.equal(marked[:, 6:102, 6:102], sheet[:, 6:102, 6:102])
    missed, untried = marked[:, 6:102, 108:204], marked[:, 134:230, 6:102]
    shown = images[1].repeat_interleave(12, 1).repeat_interleave(12, 2).expand(3, -1, -1)
    assert torch.equal(missed[:, 3:-3, 3:-3], shown[:, 3:-3, 3:-3])
    red = torch.tensor([0xB3, 0x26, 0x1E])[:, None] / 255
    assert torch.equal(missed[:, 0], red.expand(-1, 96))
    assert untried.unique().numel() == 1  # nothing of the start
    unmoved = gallery(images, ["one", "two", "three"], [0.5, 0.3, 1.0], ["unmoved"] * 3)
    assert unmoved[:, 6:102, 6:102].unique().numel() == 1


def test_noise_without_an_answer_is_no_class(tmp_path):
    network = ostrich.load(lambda x: x.mean((2, 3)) * torch.nan, size=8)
    results = ostrich.attack("fooling-direct", network, generations=2, out=tmp_path / "run").figures
    assert results["noise_is"] == []
    assert len(results["not_reached"]) == results["n"] == 3


def test_what_the_noise_itself_is_counts_for_nothing(tmp_path, capsys):
    """A network that is certain of one class whatever it sees, of the others never."""
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\n"
        "class Sure(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.mean((2, 3)) * 0.01 + torch.tensor([0.0, 20.0, 0.0])\n"
        "def sure():\n"
        "    return Sure()\n"
    )
    words = ["attack", "fooling-ascent", f"{path}:sure", "--size", "8", "--set", "steps=3", "--json"]
    assert run([*words, "--out", str(tmp_path / "run")]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["success_rate"] == 0  # of two that were tried
    assert (len(results["noise_is"]), len(results["not_reached"])) == (1, 2)
    assert results["confidence"] is None
    assert results["confidence_median"] < 0.01
    rows = list(csv.DictReader((tmp_path / "run/images.csv").read_text().splitlines()))
    assert [row["success"] for row in rows] == ["false"] * 3
    assert rows[1]["adversarial_file"] == rows[1]["distance"] == ""
    assert float(rows[0]["distance"]) > 0
    files = sorted(file.name for file in (tmp_path / "run/images").iterdir())
    assert files == sorted(row["adversarial_file"].partition("/")[2] for row in (rows[0], rows[2]))
    sheet = read_png(tmp_path / "run/gallery.png")
    assert sheet[:, 6:102, 108:204].unique().numel() == 1  # the second tile is empty
    assert sheet[:, 6:102, 6:102].unique().numel() > 3
    assert spread(1000, 4) == [0, 250, 500, 750]
