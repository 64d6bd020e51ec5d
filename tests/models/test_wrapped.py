"""Networks inside of something else: what wraps them without computing is left aside, layers are seen."""

from __future__ import annotations

from collections.abc import Callable

import nets
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import ostrich
from ostrich.attribution import GradCAM, Guided, explain
from ostrich.errors import InputError
from ostrich.inspection.units import activations

IMAGES = nets.random_images(4)


class Layers(nn.Sequential):
    """One of somebody's own: torch 2.11 compiles none of torch's in place."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


def built() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 5)
    return Layers(*layers).eval()


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


class Averaged(AveragedModel):
    """One of somebody's own: it may compute anything."""


@pytest.mark.parametrize("wrap", [nn.DataParallel, AveragedModel])
def test_a_wrapper_that_computes_nothing_is_left_aside(wrap):
    classifier = ostrich.Classifier(wrap(built()), size=(16, 16), channels=3)
    assert torch.equal(classifier.predict(IMAGES), ostrich.Classifier(built(), size=(16, 16)).predict(IMAGES))
    assert [name for name, _ in classifier.network.named_children()] == list("01234")


def test_somebodys_own_wrapper_is_the_network():
    network = Averaged(built())
    assert ostrich.Classifier(network, size=(16, 16), channels=3).network is network


def test_weights_without_a_size_are_refused_by_their_layer():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(InputError, match="Layer 2 of network is LazyLinear"):
        ostrich.Classifier(network, size=(16, 16))
    network(IMAGES)
    assert ostrich.Classifier(network, size=(16, 16)).predict(IMAGES).shape == (4, 5)


def test_an_exported_program_is_asked_as_any_network():
    any_number = ({0: torch.export.Dim("images", min=1, max=64)},)
    program = torch.export.export(built(), (IMAGES,), dynamic_shapes=any_number).module()
    found = ostrich.Classifier(program, size=(16, 16), channels=3).predict(IMAGES)
    expected = ostrich.Classifier(built(), size=(16, 16)).predict(IMAGES)
    torch.testing.assert_close(found, expected)


def test_bounds_of_batch_norm_over_processes_are_those_of_batch_norm():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5)
    plain = nn.Sequential(*layers).eval()
    plain[1].running_mean.uniform_(-1, 1)
    spread = nn.SyncBatchNorm.convert_sync_batchnorm(plain)
    labels = plain(IMAGES).argmax(1)
    found, expected = (ostrich.certify(one, (IMAGES, labels)).figures for one in (spread, plain))
    assert found["certified_accuracy"] == expected["certified_accuracy"] > 0
