"""Units by name: parsing, resolving, values, and forwards that end at the layer."""

from __future__ import annotations

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import ostrich
from ostrich.errors import InputError, UnknownName
from ostrich.inspection import units
from ostrich.inspection.silencing import silenced
from ostrich.visualization.filters import filters


@pytest.mark.parametrize(
    ("text", "layer", "index", "position"),
    [
        ("class:ostrich", "class", "ostrich", None),
        ("probability:school bus", "probability", "school bus", None),
        ("layer3.2.conv1:17", "layer3.2.conv1", "17", None),
        ("layer3.2.conv1:17@4,5", "layer3.2.conv1", "17", (4, 5)),
        ("fc:3", "fc", "3", None),
    ],
)
def test_parse(text, layer, index, position):
    unit = units.parse(text)
    assert (unit.layer, unit.index, unit.position, str(unit)) == (layer, index, position, text)


@pytest.mark.parametrize(
    "text", ["", "ostrich", "class:", ":3", "conv1:x", "conv1:3@4", "conv1:3@a,b", "conv1:-1"]
)
def test_what_is_no_unit(text):
    with pytest.raises(InputError, match="is no unit"):
        units.parse(text)


def test_resolve_names_the_way_out():
    model = nets.small()
    for wrong, message in [
        ("layer3.0.conv3:0", "Did you mean layer3.0.conv"),
        ("layer3.0.conv1:99", "channels 0 to"),
        ("layer3.0.conv1:0@9,0", "map of 4x4"),
        ("linear:0@0,0", "has no map"),
        ("class:9", "Unknown class"),
    ]:
        with pytest.raises(InputError, match=message):
            units.resolve(model, wrong)
    assert units.resolve(model, "layer3.0.conv1:3@3,3").position == (3, 3)
    with pytest.raises(UnknownName):
        units.resolve(ostrich.Classifier(nets.small().network, size=(16, 16)), "convv1:3")


def test_values_are_those_of_the_network():
    model = nets.small(dtype=torch.float64)
    images = nets.random_images(3, dtype=torch.float64)
    names = ["class:2", "probability:2", "conv1:1", "conv1:1@2,3", "linear:4"]
    with torch.no_grad():
        found = units.values(model, images, [units.parse(n) for n in names])
        logits = model(images)
        first = model.network.conv1(model.normalised(images))
    expected = [
        logits[:, 2],
        logits.softmax(1)[:, 2],
        first[:, 1].mean((1, 2)),
        first[:, 1, 2, 3],
        logits[:, 4],
    ]
    assert torch.allclose(found, torch.stack(expected))


class InPlace(nn.Module):
    """A layer whose output is changed in place right after it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.reached = 0

    def forward(self, x):
        y = F.relu_(self.first(x))
        self.reached += 1
        return self.last(y.mean((2, 3)))


def test_what_comes_after_a_layer_neither_runs_nor_changes_it():
    network = InPlace().eval()
    model = ostrich.Classifier(network, size=(8, 8))
    images = nets.random_images(2, (8, 8))
    with torch.no_grad():
        found = units.activations(model, images, "first")
        assert network.reached == 0
        assert torch.equal(found, network.first(images))
        assert (found < 0).any()
    assert not network.first._forward_hooks


def test_the_layer_table_is_in_order():
    rows = units.layers(nets.small())
    assert rows[0] == units.LayerRow("conv1", "Conv2d", (8, 16, 16), 3 * 8 * 9, 8, (16, 16))
    assert [row.name for row in rows][-1] == "linear"
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in nets.small().network.parameters())


@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, parametrizations.weight_norm])
def test_a_layer_whose_weight_is_computed_is_listed_as_the_layer_it_is(norm):
    def network(norm):
        return nn.Sequential(norm(nn.Conv2d(3, 6, 3)), nn.ReLU(), nn.Flatten(), norm(nn.Linear(6 * 36, 4)))

    plain, model = (ostrich.load(network(one).eval(), size=8) for one in (nn.Identity(), norm))
    rows, expected = units.layers(model), units.layers(plain)
    assert [(row.name, row.type, row.shape, row.calls) for row in rows] == [
        (row.name, row.type, row.shape, row.calls) for row in expected
    ]
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.network.parameters())
    assert torch.equal(filters(model), model.network[0].weight)


class Twice(nn.Module):
    """One ReLU after both convolutions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.c2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.relu, self.fc = nn.ReLU(), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(self.relu(self.c2(self.relu(self.c1(x)))).mean((2, 3)))


def test_a_layer_that_is_called_twice_is_read_first_and_that_is_said():
    network = Twice().eval()
    model, images = ostrich.load(network, size=16), nets.random_images(70)
    rows = {row.name: (row.features, row.calls) for row in units.layers(model)}
    assert rows == {"c1": (4, 1), "relu": (4, 2), "c2": (8, 1), "fc": (2, 1)}
    with torch.no_grad():
        first = F.relu(network.c1(images))
        assert torch.equal(units.activations(model, images, "relu"), first)
        first[:, 3] = 0
        expected = network.fc(F.relu(network.c2(first)).mean((2, 3)))
    assert torch.allclose(silenced(model, images, "relu:3"), expected, atol=1e-6)
    with pytest.raises(InputError, match="0 to 3; got 6"):
        silenced(model, images, "relu:6")
    said = "relu is called 2 times in a forward: what it returns first is read."
    for found in (
        ostrich.explain("gradcam", model, images[:2], unit="class:0", layer="relu"),
        ostrich.explain("gradient", model, images[:2], unit="relu:3"),
        ostrich.explain("sheet", model, images[:2], unit="relu:3", steps=1),
        ostrich.visualize(model, unit="relu:3", steps=1),
    ):
        assert said in found.sentences
    assert said not in ostrich.explain("gradcam", model, images[:2], unit="class:0").sentences


def test_a_prediction_function_has_no_layers():
    model = ostrich.Classifier(lambda x: x.mean((2, 3)), name="function", size=(8, 8))
    with pytest.raises(InputError, match="only a prediction function"):
        units.layers(model)
