"""Networks that torch.compile made run as they are written: nothing is compiled, and layers are seen."""

from __future__ import annotations

from collections.abc import Callable

import nets
import pytest
import torch
from torch import Tensor, nn

import ostrich
from ostrich.attribution import GradCAM, Guided, explain
from ostrich.inspection.units import activations

IMAGES = nets.random_images(4)


def built() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 5)
    return nn.Sequential(*layers).eval()


def wrapped(backend: Callable) -> nn.Module:
    return torch.compile(built(), backend=backend)


def in_place(backend: Callable) -> nn.Module:
    network = built()
    network.compile(backend=backend)
    return network


def a_part(backend: Callable) -> nn.Module:
    network = built()
    network[0] = torch.compile(network[0], backend=backend)
    return network


@pytest.mark.parametrize("make", [wrapped, in_place, a_part])
def test_what_is_compiled_runs_as_it_is_written(make):
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable:
        compiled.append(graph)
        return graph.forward

    network = make(backend)
    classifier, plain = (ostrich.Classifier(one, size=(16, 16), channels=3) for one in (network, built()))
    assert "torch.compile" in classifier.remarks()["compiled"]
    assert "compiled" not in plain.remarks()
    assert torch.equal(classifier.predict(IMAGES), plain.predict(IMAGES))
    for method in (GradCAM(), Guided()):
        found, expected = (explain(method, one, IMAGES, ["class:1"]) for one in (classifier, plain))
        assert torch.equal(found, expected)
        assert expected.any()
    seen, shown = (activations(one, IMAGES, "0") for one in (classifier, plain))
    assert torch.equal(seen, shown)
    goal = ostrich.Untargeted(plain.predict(IMAGES).argmax(1))
    method = ostrich.attacks.FGSM()
    ours, theirs = (ostrich.attacks.attack(method, one, IMAGES, goal) for one in (classifier, plain))
    assert torch.equal(ours.images, theirs.images)
    assert not compiled
    network(IMAGES)  # the user's own is compiled as before
    assert compiled
