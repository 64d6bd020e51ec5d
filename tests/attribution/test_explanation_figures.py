"""What explanations say beside their maps: why one is blank, what a rule left out, what a sum misses."""

from __future__ import annotations

import json

import nets
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import ostrich
from ostrich.attribution import (
    EXPLAINERS,
    GradCAM,
    Guided,
    GuidedGradCAM,
    IntegratedGradients,
    Occlusion,
    explain,
    figures,
)
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.inspection.units import parse, parse_sum, values

SIZE = (9, 9)
X = nets.random_images(2, SIZE, dtype=torch.float64)


class Small(nn.Module):
    """A convolution, a rectifier, and class weights of one sign or none."""

    def __init__(self, sign=1, activation=torch.clone):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.activation = nn.Conv2d(3, 6, 3), nn.Linear(6, 3), activation
        with torch.no_grad():
            self.fc.weight.copy_(sign * self.fc.weight.abs())

    def forward(self, x):
        return self.fc(self.activation(F.relu(self.conv(x))).mean((2, 3)))


def small(**options) -> ostrich.Classifier:
    return ostrich.Classifier(Small(**options).double().eval(), size=SIZE, channels=3)


def said(method, model, units, images=X):
    maps = explain(method, model, images, units)
    found = figures(method, model, images, units, maps)
    rows = [
        {"largest": maps[n, u].abs().max().item(), "figures": found[n][u]}
        for n in range(len(images))
        for u in range(len(units))
    ]
    return maps, found, method.remarks(rows)


# A blank map has a reason ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [GradCAM(), GuidedGradCAM()])
def test_a_blank_map_says_that_no_place_speaks_for_the_class(method):
    maps, found, remarks = said(method, small(sign=-1), ["class:0"])
    assert not maps.any()
    assert found[0][0]["blank"].startswith("no place of the map speaks for the unit")
    assert found[0][0]["read"] == "conv, activated"
    assert "2 of 2 maps are zero everywhere: no place" in remarks[0]
    assert "signed=true" in remarks[0]
    assert len(remarks) == 1


class Falling(nn.Module):
    """Its upper convolution has negative weights alone: guided backpropagation ends there."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lower, self.upper = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        with torch.no_grad():
            self.upper.weight.copy_(-self.upper.weight.abs())
            self.upper.bias.fill_(9)

    def forward(self, x):
        h = F.relu(self.upper(F.relu(self.lower(x)))).mean((2, 3))
        return torch.stack([h.sum(1), -h.sum(1)], 1)


def test_a_blank_product_is_put_down_to_the_factor_that_is_blank():
    model = ostrich.Classifier(Falling().double().eval(), size=SIZE, channels=3)
    assert said(GradCAM(), model, ["class:0"])[0].any()
    maps, found, remarks = said(GuidedGradCAM(), model, ["class:0", "class:1"])
    assert not maps.any()
    assert found[0][0]["blank"].startswith("guided backpropagation brings nothing back")
    assert found[0][1]["blank"].startswith("no place of the map speaks for the unit")
    assert "2 of 4 maps are zero everywhere: guided backpropagation brings nothing back" in remarks[0]


def test_the_signed_map_shows_what_speaks_against():
    model = small(sign=-1)
    network = model.network
    with torch.no_grad():
        a = F.relu(network.conv(X))
    sums = torch.einsum("kc,nchw->nkhw", network.fc.weight.detach(), a) / a[0, 0].numel()
    expected = F.interpolate(sums, SIZE, mode="bilinear")[:, :, None].expand(-1, -1, 3, -1, -1)
    maps, found, remarks = said(GradCAM(signed=True), model, ["class:0", "class:1", "class:2"])
    assert torch.allclose(maps, expected, atol=1e-12)
    assert maps.min() < 0
    assert "blank" not in found[0][0]
    assert not remarks


def test_the_other_reasons_of_a_blank_map():
    assert "gradient is zero" in said(GradCAM(), small(sign=0), ["class:0"])[1][0][0]["blank"]
    dead = small()
    nn.init.constant_(dead.network.conv.bias, -100)
    assert "gradient is zero" in said(GradCAM(layer="conv"), dead, ["class:0"])[1][0][0]["blank"]
    assert "map itself is zero" in said(GradCAM(), dead, ["class:0"])[1][0][0]["blank"]
    _, found, remarks = said(GradCAM(), small(), ["class:0"])
    assert "blank" not in found[0][0]
    assert not remarks


def test_a_map_without_a_known_activation_is_said():
    class Unknown(Small):
        def forward(self, x):
            a = self.conv(x)
            return self.fc(torch.stack([a, 0 * a]).amax(0).mean((2, 3)))  # a rectifier that is not known

    model = ostrich.Classifier(Unknown().double().eval(), size=SIZE, channels=3)
    _, found, remarks = said(GradCAM(), model, ["class:0"])
    assert found[0][0] == {"read": "conv", "unactivated": True}
    assert remarks == ["The map of conv was read as it is: no activation was recognised behind it."]


# What a rule left out ---------------------------------------------------------------------------------------


def test_nonlinearities_beside_the_rectifiers_are_said():
    for method in (Guided(), EXPLAINERS["deconvnet"](), GuidedGradCAM()):
        _, found, remarks = said(method, small(activation=F.silu), ["class:0"])
        assert found[1][0]["beside_rectifiers"] == ["silu"]
        assert remarks == ["Beside its rectifiers the network has silu: there the plain gradient passed."]
        _, found, remarks = said(method, small(), ["class:0"])
        assert found[1][0]["beside_rectifiers"] == []
        assert not remarks


# Completeness -----------------------------------------------------------------------------------------------


def test_integrated_gradients_say_by_how_much_they_miss():
    """Of the sum of x^2 from zero, one step to the right end gives twice the change, the middle all of it."""
    square = ostrich.Classifier(Square(), size=SIZE, channels=3)
    _, found, remarks = said(IntegratedGradients(steps=1, rule="right"), square, ["class:0"])
    assert found[0][0]["completeness_gap"] == pytest.approx(1)
    assert found[0][0]["change"] == pytest.approx(X[0].square().sum().item())
    assert "2 of 2 maps miss completeness by more than 5 %" in remarks[0]
    assert "steps=4" in remarks[0]
    _, found, remarks = said(IntegratedGradients(steps=1), square, ["class:0"])
    assert found[1][0]["completeness_gap"] == pytest.approx(0, abs=1e-9)
    assert not remarks
    _, found, remarks = said(IntegratedGradients(steps=1), square, ["class:0"], torch.zeros_like(X))
    assert found[0][0]["completeness_gap"] is None  # no change to miss
    assert remarks == ["2 of 2 maps are zero everywhere: nothing comes back to the image."]


def test_a_sum_that_is_not_zero_where_the_unit_does_not_change_misses_completeness():
    class Hill(nn.Module):
        def forward(self, x):
            m = x.mean((1, 2, 3))
            return torch.stack([m * (1 - m), torch.where(m < 0.5, torch.nan, m)], 1)

    model = ostrich.Classifier(Hill(), size=SIZE, channels=3)
    white = torch.ones_like(X)
    _, found, remarks = said(IntegratedGradients(steps=1, rule="right"), model, ["class:0"], white)
    assert (found[0][0]["sum"], found[0][0]["change"]) == (pytest.approx(-1), 0)
    assert remarks[0].startswith("2 of 2 maps miss completeness: their sum is not 0, while the unit has")
    assert "--set steps=4" in remarks[0]
    assert not said(IntegratedGradients(steps=2), model, ["class:0"], white)[2]
    _, found, remarks = said(IntegratedGradients(steps=1, rule="right"), model, ["class:1"], white)
    assert found[0][0]["change"] is None  # no answer at the black baseline
    assert remarks == [
        "Whether 2 of 2 maps are complete is not known: their sum, or the unit at the image or at the "
        "baseline, is not finite."
    ]


class Square(nn.Module):
    def forward(self, x):
        return torch.stack([x.square().sum((1, 2, 3)), x.sum((1, 2, 3))], 1)


# Differences of units -------------------------------------------------------------------------------------


def test_a_sum_of_units_is_read_and_computed():
    found = parse_sum("class:1 - 0.5*conv:2 + class:1")
    assert found.terms == ((parse("class:1"), 2.0), (parse("conv:2"), -0.5))
    assert parse_sum("class:black - white") == parse("class:black - white")  # a class of that name
    assert parse_sum("1*class:a") == parse("class:a")
    for wrong, message in [("class:a - class:a", "cancel"), ("class:a +", None), ("nothing", "is no unit")]:
        if message is None:
            assert parse_sum(wrong).layer == "class"
        else:
            with pytest.raises(InputError, match=message):
                parse_sum(wrong)
    model = nets.small(dtype=torch.float64)
    images = nets.random_images(2, dtype=torch.float64)
    one, two = (values(model, images, [parse(name)])[0] for name in ("class:1", "layer2:3"))
    assert torch.allclose(values(model, images, [parse_sum("2*class:1 - layer2:3")])[0], 2 * one - two)


@pytest.mark.parametrize("name", ["gradient", "gradient-x-input", "integrated-gradients", "smoothgrad"])
def test_the_gradient_of_a_difference_is_the_difference_of_gradients(name):
    model, images = nets.small(dtype=torch.float64), nets.random_images(2, dtype=torch.float64)
    units = ["class:1 - 0.5*class:2", "class:1", "class:2", "layer2:1 - layer3:0", "layer2:1", "layer3:0"]
    maps = explain(EXPLAINERS[name](), model, images, units)
    assert torch.allclose(maps[:, 0], maps[:, 1] - 0.5 * maps[:, 2], atol=1e-12)
    assert torch.allclose(maps[:, 3], maps[:, 4] - maps[:, 5], atol=1e-12)
    assert maps.flatten(2).any(2).all()


def test_other_methods_take_differences_too():
    model = small()
    difference = ["class:1 - class:2", "class:1", "class:2"]
    signed = explain(GradCAM(signed=True), model, X, difference)
    assert torch.allclose(signed[:, 0], signed[:, 1] - signed[:, 2], atol=1e-12)
    lost = explain(Occlusion(window=3), model, X, difference)
    assert torch.allclose(lost[:, 0], lost[:, 1] - lost[:, 2], atol=1e-12)
    assert explain(Guided(), model, X, difference[:1]).any()
    with pytest.raises(InputError, match="Unknown class"):
        explain(Guided(), model, X, ["class:1 - class:zebra"])


def test_the_command_takes_differences_and_writes_figures(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "photos/a.png")
    words = ["explain", "integrated-gradients", "arch:resnet8", f"images:{tmp_path / 'photos'}"]
    words += ["--unit", "class:1 - class:2", "--out", str(tmp_path / "run")]
    words += [word for setting in ("steps=2", "rule=right", "baseline=0.5") for word in ("--set", setting)]
    assert run(words) == 0
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "run/run.json").read_text())["results"]
    (row,) = results["explanations"]
    assert row["unit"] == "class:1 - class:2"
    gap = abs(row["figures"]["sum"] - row["figures"]["change"]) / abs(row["figures"]["change"])
    assert row["figures"]["completeness_gap"] == pytest.approx(gap)
    assert gap > 0.05  # random weights, two steps
    assert results["remarks"][0] in shown
    assert "raise the steps, --set steps=8" in results["remarks"][0]
