"""Objectives: their algebra, their text, and their values against the units' own."""

from __future__ import annotations

from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ostrich
from ostrich.errors import InputError
from ostrich.inspection.units import activations, parse, parse_sum, values
from ostrich.runtime.randomness import keyed
from ostrich.visualization import PRESETS, ascend, direction, diversity, parse_objective, unit, worth

UNITS = ["class:1", "probability:3", "layer2:0", "layer3:2@1,0", "layer3:5@centre"]
WEIGHTS = st.floats(-5, 5, allow_subnormal=False).filter(lambda w: abs(w) > 1e-3)


def wide(dtype: torch.dtype = torch.float64) -> ostrich.Classifier:
    """A network whose layer "map" has a map of 3 rows and 7 columns."""
    torch.manual_seed(0)
    layers = {
        "map": nn.Conv2d(3, 4, 2, stride=2),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "head": nn.Linear(4, 2),
    }
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return ostrich.Classifier(network.to(dtype), size=(6, 14), channels=3, name="wide")


def test_it_prints_itself():
    both = unit("layer3:17") - 0.5 * unit("class:ostrich")
    assert str(both) == "layer3:17 - 0.5*class:ostrich"
    assert str(-both / 2) == "-0.5*layer3:17 + 0.25*class:ostrich"
    assert str(both + both) == "2*layer3:17 - class:ostrich"
    assert str(unit("layer1:3@centre") + 3 * diversity("layer1")) == "layer1:3@centre + 3*diversity(layer1)"
    assert str(direction("layer2", [1, 0.5, 0, 2])) == "direction(layer2, [1, 0.5, 0, ...])"


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*UNITS, "class:school bus"]), WEIGHTS, min_size=1))
def test_its_text_is_read_back(weights):
    total = sum((weight * unit(name) for name, weight in weights.items()), 0 * unit("class:0"))
    again = parse_objective(str(total))
    assert [term for term, _ in again.terms] == [term for term, _ in total.terms]
    assert np.allclose([w for _, w in again.terms], [w for _, w in total.terms], rtol=1e-11)


def test_signs_in_the_names_of_classes_are_no_signs_of_terms():
    classes = ["crane - bird", "crane + machine", "dog"]
    network = nets.linear(torch.randn(3, 3 * 16, generator=keyed(1)), (4, 4), 3)
    model, images = ostrich.load(network.network, size=4, classes=classes), nets.random_images(2, (4, 4))
    bird, machine, dog = model(images).T
    text = "class:crane - bird - 0.5*class:crane + machine + class:dog"
    expected = bird - 0.5 * machine + dog
    found = parse_objective(text)
    assert [(term.index, weight) for term, weight in found.terms] == list(zip(classes, (1, -0.5, 1)))
    assert torch.allclose(values(model, images, [parse_sum(text)])[0], expected)
    assert len(parse_objective("class:crane - bird + 2*diversity(layer1)").terms) == 2


@settings(max_examples=15)
@given(a=WEIGHTS, b=WEIGHTS, c=WEIGHTS)
def test_a_transformed_objective_has_the_transformed_value(a, b, c):
    network, images = nets.small(dtype=torch.float64), nets.random_images(2, dtype=torch.float64)
    one, two, three = (unit(name) for name in UNITS[:3])
    wanted = [-(a * one - (two + b * three) / c) * 2, one + 0.5 * two]  # not 0.5 * (one + two)
    with torch.no_grad():
        first, second, third = values(network, images, [parse(name) for name in UNITS[:3]])
    expected = torch.stack([(-2 * (a * first - (second + b * third) / c))[0], (first + 0.5 * second)[1]])
    assert torch.allclose(worth(network, wanted, images), expected, atol=1e-12)


def test_a_direction_is_a_dot_product_and_a_channel_is_one():
    network, images = nets.small(dtype=torch.float64), nets.random_images(2, dtype=torch.float64)
    with torch.no_grad():
        output = activations(network, images, "layer2").numpy()  # (N, C, H, W)
    vector = np.linspace(-1, 2, output.shape[1])
    along = (output * (vector / np.linalg.norm(vector))[:, None, None]).sum(1).mean((1, 2))
    found = worth(network, [direction("layer2", vector)], images, seeds=2)
    assert np.allclose(found.numpy(), along, atol=1e-12)
    single = direction("layer2", np.eye(len(vector))[3] * 7)
    assert torch.allclose(worth(network, [single], images, 2), worth(network, [unit("layer2:3")], images, 2))


def test_diversity_by_hand():
    network, images = nets.small(dtype=torch.float64), nets.random_images(3, dtype=torch.float64)
    with torch.no_grad():
        output = activations(network, images, "layer2").flatten(2).numpy()
    grams = [(one @ one.T).ravel() for one in output]
    cosine = [[g @ h / np.linalg.norm(g) / np.linalg.norm(h) for h in grams] for g in grams]
    expected = [-(sum(row) - row[i]) / 2 for i, row in enumerate(cosine)]
    found = worth(network, [diversity("layer2")], images, seeds=3)
    assert np.allclose(found.numpy(), expected, atol=1e-12)


def test_diversity_makes_seeds_differ():
    network, name, settings = nets.small(), "layer2:1", replace(PRESETS["lucid"], steps=30)
    apart = ascend(network, [f"{name} + 5*diversity(layer2)"], settings, seeds=3)
    alike = ascend(network, [name], settings, seeds=3)
    differ, same = (worth(network, [diversity("layer2")], found.images, 3) for found in (apart, alike))
    assert differ.mean() > same.mean() + 0.01


def test_the_centre_of_a_map_of_3_by_7_is_1_3():
    network, images = wide(), nets.random_images(2, size=(6, 14), dtype=torch.float64)
    with torch.no_grad():
        output = activations(network, images, "map")
    assert output.shape == (2, 4, 3, 7)
    assert torch.equal(worth(network, [unit("map:2@centre")], images, 2), output[:, 2, 1, 3])
    even = nets.small(dtype=torch.float64)  # layer3 has a map of 4x4: the later of the two in the middle
    images = nets.random_images(1, dtype=torch.float64)
    assert torch.equal(
        worth(even, [unit("layer3:0@centre")], images), worth(even, [unit("layer3:0@2,2")], images)
    )
    found = ascend(network, ["map:2@centre"], replace(PRESETS["plain"], steps=3, keep="last"))
    start = ascend(network, ["map:2@centre"], replace(PRESETS["plain"], steps=1)).images
    rows, columns = (found.images != start)[0].any(0).nonzero(as_tuple=True)
    assert (rows.tolist(), columns.tolist()) == ([2, 2, 3, 3], [6, 7, 6, 7])  # what that neuron sees


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ostrich",
        "2*",
        "layer3:17 - ",
        "layer3:17 * 2",
        "layer3:17-class:ostrich",
        "diversity()",
        "__import__('os').getcwd()",
        "layer3:1@middle",
        "(layer3:1)",
    ],
)
def test_what_is_no_objective_is_refused_in_words(text):
    with pytest.raises(InputError, match="term"):
        parse_objective(text)


@pytest.mark.parametrize(
    ("objective", "match"),
    [
        ("layer3:99", "channels 0 to"),
        ("layer3:1@9,9", "map of 4x4"),
        ("nowhere:1", "Unknown layer"),
        ("class:9", "Unknown class"),
        ("class:1 - class:1", "cancel"),
        ("class:1 + diversity(layer2)", "at least two"),
        ("class:1 + diversity(linear)", "map"),
        (direction("layer2", [1.0, 2.0]), "2"),
    ],
)
def test_what_the_network_does_not_have_is_refused_in_words(objective, match):
    seeds = 1 if match == "at least two" else 2
    with pytest.raises(InputError, match=match):
        ascend(nets.small(), [objective], seeds=seeds)


def test_algebra_refuses_nonsense():
    with pytest.raises(TypeError):
        unit("class:1") + 3
    with pytest.raises(TypeError):
        unit("class:1") * unit("class:2")
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="finite"):
            wrong * unit("class:1")
    for wrong in ([], [0.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(InputError, match="direction"):
            direction("layer2", wrong)
