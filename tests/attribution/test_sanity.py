"""The checks on attributions, against scipy, by hand, and on networks whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import nets
import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import nn

import ostrich
from ostrich.attribution import EXPLAINERS, Explainer, GradCAM, Gradient, Question, explain
from ostrich.attribution.importance import importance
from ostrich.attribution.sanity import (
    check_sanity,
    fading,
    pointing_game,
    randomisation,
    report,
    spearman,
    structure,
)
from ostrich.attribution.sanity.controls import Edges, Noise
from ostrich.attribution.sanity.deletion import Fading, blurred
from ostrich.attribution.sanity.parameter_randomisation import (
    Likeness,
    Randomisation,
    _alike,
)
from ostrich.attribution.sanity.similarity import Mean, ranks
from ostrich.attribution.sanity.stages import Stage, randomised, stages, stages_and_kept
from ostrich.errors import InputError
from ostrich.images import rounded
from ostrich.verbs.inputs import as_samples

DRAW = torch.Generator().manual_seed(0)


# How alike -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_ranks_and_their_correlation_are_scipys(levels):
    """With many, some and hardly any ties: half of a guided map is zero."""
    a, b = (torch.randint(-levels, levels, (6, 200), generator=DRAW).double() / levels for _ in range(2))
    b = b + a
    for row, found in zip(a, ranks(a)):
        assert np.array_equal(found, scipy.stats.rankdata(row) - 1)
    expected = [scipy.stats.spearmanr(x, y).statistic for x, y in zip(a, b)]
    assert torch.allclose(spearman(a, b), torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def test_a_constant_map_ranks_nothing_and_counts_as_unlike():
    a = torch.rand(2, 1, 9, 9, generator=DRAW)
    flat = torch.stack([a[0], a[1] * 0])
    assert spearman(a, flat).isnan().tolist() == [False, True]
    assert structure(a[:, 0], flat[:, 0]).isnan().tolist() == [False, True]
    assert spearman(a, a * flat / flat).isnan().tolist() == [False, True]  # 0 / 0 is no map
    assert _alike(Gradient(), a, flat).spearman.mean == pytest.approx(0.5)
    one = Mean.of(torch.tensor([0.25]))
    assert (one.mean, one.low, one.high, one.n) == (0.25, None, None, 1)
    many = Mean.of(torch.tensor([0.0, 1.0, 2.0, 3.0]))
    interval = scipy.stats.norm.interval(0.95, 1.5, scipy.stats.sem([0, 1, 2, 3]))
    assert (many.low, many.high) == pytest.approx(interval, abs=1e-6)


def test_of_what_is_undefined_no_mean_is_made():
    found = Mean.of(torch.tensor([torch.nan, 0.25, torch.inf]))
    assert (found.mean, found.low, found.n) == (0.25, None, 1)
    assert Mean.of(torch.full((2,), torch.nan)) == Mean(mean=None, low=None, high=None, n=0)


def test_structural_similarity_by_its_formula():
    a, b = (torch.rand(1, 12, 10, generator=DRAW, dtype=torch.float64) for _ in range(2))
    x, y = ((m[0] - m.min()) / (m.max() - m.min()) for m in (a, b))
    windows = [
        (x[i : i + 7, j : j + 7].flatten(), y[i : i + 7, j : j + 7].flatten())
        for i in range(6)
        for j in range(4)
    ]
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for p, q in windows:
        (vp, cov), (_, vq) = torch.cov(torch.stack([p, q]))
        up, uq = p.mean(), q.mean()
        found.append((2 * up * uq + c1) * (2 * cov + c2) / ((up**2 + uq**2 + c1) * (vp + vq + c2)))
    assert structure(a, b).item() == pytest.approx(torch.stack(found).mean().item(), abs=1e-12)
    assert structure(a, 3 * a + 1).item() == pytest.approx(1, abs=1e-12)  # each map is scaled by itself


# Random parameters -------------------------------------------------------------------------------------


def test_every_parameter_belongs_to_one_layer():
    model = nets.small()
    found = stages(model)
    assert [stage.name for stage in found][:2] == ["conv1", "layer1.0.conv1"]
    assert found[-1].name == "linear"
    assert len(found) == 8  # the weights of a network of depth 8
    network = model.network
    assert found[0].parameters == (network.conv1.weight, network.bn1.weight, network.bn1.bias)
    ids = [id(p) for stage in found for p in stage.parameters]
    assert sorted(ids) == sorted(map(id, network.parameters()))
    encoder = nn.TransformerEncoderLayer(8, 2, 16, 0, batch_first=True)

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.patch, self.block = nn.BatchNorm2d(3), nn.Conv2d(3, 8, 4, 4), encoder
            self.shift = nn.Parameter(torch.zeros(1, 1, 8))

        def forward(self, x):
            return self.block(self.patch(self.norm(x)).flatten(2).transpose(1, 2) + self.shift).mean(1)

    vision = ostrich.Classifier(Tokens().train(), size=(8, 8))
    names = [stage.name for stage in stages(vision)]
    assert names == ["patch", "shift", "block.self_attn", "block.linear1", "block.linear2"]
    first = [vision.network.patch.weight, vision.network.patch.bias, *vision.network.norm.parameters()]
    assert list(map(id, stages(vision)[0].parameters)) == list(map(id, first))
    assert vision.network.training
    covered = [id(p) for stage in stages(vision) for p in stage.parameters]
    assert sorted(covered) == sorted(id(p) for p in vision.network.parameters())
    with pytest.raises(InputError, match="no parameters"):
        stages(ostrich.Classifier(nn.Flatten(), size=(4, 4)))


def test_random_parameters_keep_their_scale_and_are_put_back():
    model = nets.small()
    layers = stages(model)
    kept = [(p, p.data_ptr(), p.clone()) for p in model.network.parameters()]
    with randomised(layers, [0, 7], 3):
        both = [p.clone() for p in layers[7].parameters]
        for parameter, _, before in kept:
            touched = any(parameter is p for i in (0, 7) for p in layers[i].parameters)
            assert torch.equal(parameter, before) != (touched and before.std() > 0)
        for p, before in ((p, b) for p, _, b in kept if p is layers[7].parameters[0]):
            assert abs(p.mean() - before.mean()) < 4 * before.std() / p.numel() ** 0.5
            assert abs(p.std() / before.std() - 1) < 4 / (2 * p.numel()) ** 0.5

    def fail() -> None:
        with randomised(layers, [0, 7], 3):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(p.data_ptr() == place and torch.equal(p, before) for p, place, before in kept)
    with randomised(layers, [7], 3):  # the same whichever other layers are random
        assert all(torch.equal(p, b) for p, b in zip(layers[7].parameters, both))
    with randomised(layers, [7], 4):
        assert not torch.equal(layers[7].parameters[0], both[0])


class Two(nn.Module):
    """Two convolutions, and what the kinds below put upon them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.top, self.low, self.high = nn.Identity(), nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, x):
        return self.top((self.high(self.low(x).tanh()).tanh()).mean((2, 3)))


class HeadOfItsOwn(Two):
    """Its head is a parameter of the network, made ready before anything else is computed."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8))

    def forward(self, x):
        weight = F.normalize(self.weight)
        return F.linear(super().forward(x), weight)


class HeadInABuffer(Two):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randn(4, 8))

    def forward(self, x):
        return F.linear(super().forward(x), self.weight)


class HeadPacked(Two):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randint(-9, 9, (4, 8), dtype=torch.int8), requires_grad=False)

    def forward(self, x):
        return (super().forward(x)[:, None] * self.weight).sum(2)


class HeadUnknown(Two):
    def __init__(self):
        super().__init__()
        self.weight = torch.randn(4, 8)

    def forward(self, x):
        return F.linear(super().forward(x), self.weight)


def in_eight_bits() -> nn.Module:
    network = Two()
    network.top = nn.Linear(8, 4)
    return torch.ao.quantization.quantize_dynamic(network.eval(), {nn.Linear}, dtype=torch.qint8)


def pruned() -> nn.Module:
    """Its uppermost weights are parameters times a buffer, of which only the first can be learned."""
    network = Two()
    torch.nn.utils.prune.random_unstructured(network.high, "weight", 0.5)
    return network


def with_spare_parts() -> nn.Module:
    network = Two()
    network.spare, network.left = nn.Linear(4, 4), nn.Parameter(torch.rand(3, 3))
    return network


@pytest.mark.filterwarnings("ignore")  # that scripting and quantising are going out of use
@pytest.mark.parametrize(
    ("build", "names", "kept"),
    [
        (Two, ["low", "high"], ()),
        (HeadOfItsOwn, ["low", "high", "weight"], ()),
        (HeadInABuffer, ["low", "high"], ("weight",)),
        (HeadPacked, ["low", "high"], ("weight",)),
        (HeadUnknown, ["low", "high"], ("a tensor that is no parameter",)),
        (in_eight_bits, ["low", "high"], ("top",)),
        (pruned, ["low", "high"], ()),
        (with_spare_parts, ["low", "high"], ()),
        (lambda: torch.jit.script(Two()), ["(network)"], ()),
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), torch.jit.script(Two())), ["(network)"], ()),
    ],
)
def test_layers_come_in_the_order_in_which_an_image_meets_them(build, names, kept):
    """What cannot be made random is named, and where the order is not seen there is one layer."""
    network = build().eval()
    layers, left = stages_and_kept(ostrich.Classifier(network, size=(16, 16), channels=3))
    assert [layer.name for layer in layers] == names
    assert left == kept
    ids = [id(parameter) for layer in layers for parameter in layer.parameters]
    assert sorted(ids) == sorted(id(one) for one in network.parameters() if one.is_floating_point())


@pytest.mark.parametrize("build", [HeadInABuffer, HeadUnknown, in_eight_bits])
@pytest.mark.filterwarnings("ignore")
def test_a_network_is_not_read_from_the_top_where_the_top_stays_as_it_was(build):
    model = ostrich.Classifier(build().eval(), size=(16, 16), channels=3)
    images = nets.random_images(4)
    found = randomisation(EXPLAINERS["occlusion"](), model, images, ["class:1"])
    said = found.sentence("occlusion")
    assert said.startswith("occlusion: with the top layer that could be made random (high) random, the maps'")
    assert "it reads the network. Left as learned: " in said
    blind = randomisation(Edges(), model, images, ["class:1"]).sentence("edges")
    assert blind.startswith("edges: with all 2 layers that could be made random random, ")
    assert "it does not read what was made random. Left as learned: " in blind


@pytest.mark.filterwarnings("ignore")
def test_one_layer_is_no_top_of_others():
    images = nets.random_images(4)
    scripted = ostrich.Classifier(torch.jit.script(Two()).eval(), size=(16, 16), channels=3)
    said = randomisation(Gradient(), scripted, images, ["class:1"]).sentence("gradient")
    assert said.startswith("gradient: with all parameters random, the maps'")
    assert said.endswith("; it reads the network.")
    alone = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))
    said = randomisation(
        Gradient(), ostrich.Classifier(alone, size=(16, 16), channels=3), images, ["class:1"]
    ).sentence("gradient")
    assert said.startswith("gradient: with the one layer (1) random, the maps'")
    assert said.endswith("; it reads the network.")


@pytest.mark.parametrize(
    "weights", [torch.full((4, 8, 3, 3), 1 / 9), torch.zeros(4, 8, 3, 3), torch.ones(1, 1)]
)
def test_weights_that_are_all_alike_are_made_random_too(weights):
    layer, shift = nn.Parameter(weights), nn.Parameter(torch.zeros(4))
    with randomised([Stage("layer", (layer, shift))], [0], 0):
        size = weights.mean().item() or (1 / 72) ** 0.5  # of zeros as of a fresh layer, 72 = 8 * 3 * 3
        assert not torch.equal(layer, weights)
        if weights.numel() > 1:
            assert layer.detach().std().item() == pytest.approx(size, rel=0.2)
        assert torch.equal(shift, torch.zeros(4))  # it goes with weights that are random
    assert torch.equal(layer, weights)


def test_a_fixed_filter_on_top_is_no_layer_that_a_method_does_not_read():
    network = Two()
    network.top = nn.Sequential(nn.Unflatten(1, (8, 1, 1)), nn.Conv2d(8, 4, 1, bias=False), nn.Flatten())
    nn.init.constant_(network.top[1].weight, 1 / 8)
    model = ostrich.Classifier(network, size=(16, 16), channels=3)
    found = randomisation(Gradient(), model, nets.random_images(4), ["class:1"])
    assert found.layers == ("top.1", "high", "low")
    assert found.unread == 0


@dataclass(frozen=True, kw_only=True)
class ReadsBelow(Explainer):
    """A map of the image and of the parameters below the top two layers."""

    name: ClassVar[str] = "reads-below"

    def explain(self, question: Question) -> torch.Tensor:
        with torch.no_grad():
            first = question.classifier.network[0](question.images)[:, :1]
        maps = F.interpolate(first, question.images.shape[2:])[:, None]
        return maps.expand(-1, question.rows.shape[1], 3, -1, -1).clone()


def test_the_layers_that_a_method_does_not_read_are_counted():
    torch.manual_seed(0)
    pool = nn.AdaptiveAvgPool2d(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 5, 3), pool, nn.Flatten())
    model, images = ostrich.Classifier(network, size=(16, 16)), nets.random_images(4)
    before = [(id(p), p.data_ptr(), p._version, p.grad) for p in network.parameters()]
    seen: list[tuple[int, int]] = []
    found = randomisation(
        ReadsBelow(), model, images, ["class:1", "class:2"], progress=lambda *at: seen.append(at)
    )
    assert found.layers == ("2", "1", "0")
    assert found.unread == 2
    assert [one.spearman.mean > 0.999 for one in found.cascading] == [True, True, False]
    assert [one.ssim.mean > 0.999 for one in found.independent] == [True, True, False]
    assert found.cascading[0].spearman.n == 8
    assert "the top 2 of 3 layers" in found.sentence("reads-below")
    assert found.sentence("reads-below").endswith("The first that it reads is 0.")
    assert seen[-1][0] <= seen[-1][1]
    assert [(id(p), p.data_ptr(), p._version, p.grad) for p in network.parameters()] == before
    # the controls: an edge detector reads nothing, and noise ranks nothing alike
    for control in (Edges(), Noise()):
        blind = randomisation(control, model, images, ["class:1"])
        assert blind.unread == 3
        assert "does not read the network" in blind.sentence(control.name)
        assert blind.rerun.spearman.mean == pytest.approx(1, abs=1e-12)
    assert blind.edges.spearman.mean == pytest.approx(0, abs=0.2)  # 768 values, four images
    gradient = randomisation(Gradient(), model, images, ["class:1"])
    assert gradient.unread == 0
    assert "from the top" in gradient.sentence("gradient")


def test_edges_are_where_the_image_changes():
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1
    found = explain(Edges(), nets.small(), step, ["class:0", "class:1"])
    assert found.shape == (1, 2, 3, 8, 8)
    assert set(found.nonzero()[:, 4].tolist()) == {3, 4}
    assert torch.all(found[..., 3:5] == 4)


# Deletion and insertion --------------------------------------------------------------------------------


def test_the_curves_of_a_linear_unit_in_closed_form():
    """Pixels that go one after the other take w * (x - grey) each with them."""
    images = nets.random_images(2, (4, 5), dtype=torch.float64)
    weights = torch.rand(1, 60, generator=DRAW, dtype=torch.float64)
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 1, bias=False, dtype=torch.float64))
    network[1].weight.data = weights
    model = ostrich.Classifier(network, size=(4, 5), channels=3)

    @dataclass(frozen=True, kw_only=True)
    class Shares(Explainer):
        name: ClassVar[str] = "shares"
        reading: ClassVar[str] = "sides"

        def explain(self, question: Question) -> torch.Tensor:
            return ((question.images - 0.5) * weights.view(3, 4, 5))[:, None]

    found = fading(Shares(), model, images, ["1:0", "1:0"], steps=20)
    shares = ((images - 0.5) * weights.view(3, 4, 5)).sum(1).flatten(1)
    order = shares.argsort(1, descending=True)
    left = (0.5 * weights.sum() + shares.sum(1))[:, None] - F.pad(shares.gather(1, order).cumsum(1), (1, 0))
    assert torch.allclose(
        torch.tensor(found.deletion["shares"], dtype=torch.float64), left.mean(0), atol=1e-12
    )
    soft = blurred(images)
    gains = ((images - soft) * weights.view(3, 4, 5)).sum(1).flatten(1).gather(1, order)
    came = (soft.flatten(1) @ weights.T) + F.pad(gains.cumsum(1), (1, 0))
    assert torch.allclose(
        torch.tensor(found.insertion["shares"], dtype=torch.float64), came.mean(0), atol=1e-12
    )
    assert found.fractions == tuple(i / 20 for i in range(21))
    area = ((left[:, 1:] + left[:, :-1]) / 2).mean()
    assert found.deletion_area["shares"].mean == pytest.approx(area.item(), abs=1e-12)
    assert set(found.deletion) == {"shares", "edges", "random"}
    for of in found.deletion:  # all begin with the image and end with nothing of it
        assert found.deletion[of][0] == pytest.approx(left[:, 0].mean().item())
        assert found.deletion[of][-1] == pytest.approx(0.5 * weights.sum().item())
        assert found.deletion_area["shares"].mean <= found.deletion_area[of].mean


def test_a_class_is_followed_by_its_probability():
    model, images = nets.small(), nets.random_images(2)
    found = fading(Gradient(), model, images, ["class:1", "class:2"], steps=3)
    with torch.no_grad():
        expected = model(images).softmax(1)[[0, 1], [1, 2]].mean().item()
    assert found.deletion["gradient"][0] == pytest.approx(expected, abs=1e-6)
    assert found.insertion["gradient"][-1] == pytest.approx(expected, abs=1e-6)


def test_a_sum_of_units_is_followed_by_its_value():
    model, images = nets.small(), nets.random_images(2)
    found = fading(Gradient(), model, images, ["class:1 - 0.5*class:3"] * 2, steps=3)
    with torch.no_grad():
        logits = model(images)
    expected = (logits[:, 1] - 0.5 * logits[:, 3]).mean().item()
    assert found.deletion["gradient"][0] == pytest.approx(expected, abs=1e-6)


class Unsure(nn.Module):
    """Answers by the colours' means; where red is not below another colour it gives no answer."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)
        nn.init.eye_(self.head.weight)

    def forward(self, x):
        means = x.mean((2, 3))
        return self.head(5 * means).where(means.argmax(1, keepdim=True) > 0, torch.nan)


def test_an_image_without_an_answer_is_no_perfect_deletion(tmp_path):
    """It counts for nothing; where all others go, no area is known and nothing is drawn."""
    model = ostrich.Classifier(Unsure(), size=(8, 8), channels=3, name="unsure")
    images = nets.random_images(3, (8, 8)) * 0.2 + 0.4
    images[0, 0] += 0.4
    images[1:, 2] += 0.4  # blue, until all is grey: then there is no answer
    images = rounded(images)
    units = [["class:2"]] * 3
    checked = check_sanity(Gradient(), model, as_samples(images, None, model), units)
    found = checked.fading
    alone = fading(Gradient(), model, images[1:], ["class:2"] * 2)
    assert found.insertion_area == alone.insertion_area
    assert found.insertion == alone.insertion
    assert found.insertion_area["gradient"].n == 2
    assert found.deletion_area["gradient"] == Mean(mean=None, low=None, high=None, n=0)
    assert found.deletion["gradient"] == ()
    assert checked.sentences[1].startswith("Area under deletion: not known, each of 3 images is without")
    assert "2 of 3 images, the others without a map or an answer on the way" in checked.sentences[2]
    checked.draw(tmp_path)
    assert (tmp_path / report.PICTURES["fading"]).exists()
    none = check_sanity(Gradient(), model, as_samples(images[:1], None, model), units[:1])
    assert none.figures()["fading"]["picture"] is None
    none.draw(tmp_path / "none")
    assert not (tmp_path / "none" / report.PICTURES["fading"]).exists()


# The pointing game -------------------------------------------------------------------------------------


def test_hits_are_counted():
    masks = torch.zeros(5, 4, 6, dtype=torch.bool)
    masks[:, 1:3, 3:5] = True
    masks[4] = False
    maps = torch.zeros(5, 4, 6)
    maps[0, 2, 4], maps[1, 0, 0], maps[2, 1, 3], maps[4, 2, 3] = 3, 2, 1, 1  # the fourth is constant
    game = pointing_game(maps, masks)
    assert pointing_game(maps.where(maps != 3, torch.nan), masks).constant == 2  # no number points nowhere
    assert (game.n, game.hits, game.centre_hits, game.constant) == (5, 2, 4, 1)
    low, high = scipy.stats.binomtest(2, 5).proportion_ci(method="wilson")
    assert game.share == pytest.approx((0.4, low, high), abs=1e-6)
    with pytest.raises(InputError, match="are \\(N, H, W\\)"):
        pointing_game(maps[:, None], masks)


def test_importance_follows_the_methods_reading():
    maps = torch.tensor([[1.0, -3.0], [-2.0, 1.0], [0.0, 1.0]]).view(3, 1, 2)
    for method in EXPLAINERS.values():
        expected = [[-1.0, -1.0]] if method.reading == "sides" else [[2.0, 3.0]]
        assert importance(method(), maps).tolist() == expected


def test_gradcam_points_at_the_objects_of_the_toybox():
    from ostrich.data import toyscenes
    from ostrich.images import from_bytes

    stored = toyscenes.test_images(100)
    units = [[f"class:{k}"] for k in stored.labels]
    maps = explain(GradCAM(), ostrich.load("zoo:toybox-resnet20"), from_bytes(stored.images), units)
    game = pointing_game(importance(GradCAM(), maps)[:, 0], torch.from_numpy(stored.masks))
    assert game.share[0] >= game.centre_share[0] + 0.2  # set beforehand, over all 512 images


@pytest.mark.parametrize(("unsigned", "lines"), [(0.5, 4), (0.7, 5)])
def test_no_line_of_the_chart_lies_hidden_below_another(tmp_path, monkeypatch, unsigned, lines):
    """Maps without negative values rank the same with sign and without: one line then, which says so."""

    def mean(value):
        return Mean(mean=value, low=value - 0.1, high=value + 0.1, n=4)

    def likeness(value):
        return Likeness(spearman=mean(value), spearman_abs=mean(unsigned), ssim=mean(0.2))

    stages = (likeness(0.5), likeness(0.5))
    controls = dict.fromkeys(("rerun", "edges", "noise", "edges_at_random"), likeness(0.5))
    curves = Randomisation(layers=("a", "b"), cascading=stages, independent=(likeness(0.3),) * 2, **controls)
    areas = {"method": mean(0.5)}
    faded = Fading(
        images=4,
        fractions=(0.0, 1.0),
        deletion={"method": (1.0, 0.0)},
        insertion={"method": (0.0, 1.0)},
        deletion_area=areas,
        insertion_area=areas,
    )
    drawn = []
    monkeypatch.setattr(report, "write_chart", lambda path, **chart: drawn.append(chart["series"]))
    found = report.Sanity(name="method", images=4, randomisation=curves, fading=faded, pointing=None)
    found.draw(tmp_path)
    assert len(drawn[0]) == lines
    heights = [tuple(point["y"] for point in points) for points in drawn[0].values()]
    assert len(set(heights)) == lines
    assert any("with sign or without" in name for name in drawn[0]) == (lines == 4)


def test_maps_that_say_nothing_are_not_said_to_read_the_network():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    model, images = ostrich.Classifier(network, size=(16, 16)), nets.random_images(4)

    class Nothing(ReadsBelow):
        def explain(self, question: Question) -> torch.Tensor:
            return torch.zeros_like(super().explain(question))

    found = randomisation(Nothing(), model, images, ["class:1", "class:2"])
    assert found.unread is None
    assert found.sentence("nothing").endswith("whether they read it cannot be said.")
