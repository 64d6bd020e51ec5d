"""A network that takes a view of a map, as tutorials do: it refuses channels-last, and goes everywhere."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from ostrich.models.fastpath import faster


class LeNet(nn.Module):
    """x.view(len(x), -1) of a map that is larger than one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm, self.conv2 = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.view(x.size(0), -1))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return LeNet().eval()


@pytest.fixture
def model(network: nn.Module) -> ostrich.Classifier:
    return ostrich.load(network, mean=0.5, std=0.25, size=(12, 12))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_its_copy_is_folded_and_laid_out_as_it_takes_it(network, images, capfd):
    quick, forwards = faster(network, images[:1])
    assert quick is not network
    assert not [one for one in quick.modules() if isinstance(one, nn.BatchNorm2d)]
    torch.testing.assert_close(quick(images), network(images), atol=1e-5, rtol=1e-4)
    assert forwards == 2 + 2  # once each, in two layouts
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fgsm", {}),
        ("pgd", {"steps": 5}),
        ("apgd", {"steps": 5}),
        ("cw", {"iterations": 5}),
        ("deepfool", {}),
        ("fab", {"iterations": 5}),
        ("square", {"queries": 20}),
        ("rays", {"queries": 50}),
        ("universal", {"fit": 4, "epochs": 1}),
    ],
)
def test_it_is_attacked(model, images, name, settings):
    found = ostrich.attack(name, model, images, **settings)
    assert found.figures["n"] in (4, 8)
    if name == "pgd":
        assert ostrich.attack(name, model, images, eot=2, **settings).figures["n"] == 8


@pytest.mark.parametrize("name", ["gradient", "guided", "gradcam", "integrated-gradients", "occlusion"])
def test_it_is_explained(model, images, name):
    maps = ostrich.explain(name, model, images[:2]).maps
    assert torch.isfinite(torch.as_tensor(maps)).all()


def test_it_is_examined_and_shown(model, images):
    labels = model.predict(images).argmax(1)
    assert ostrich.doctor(model, (images, labels)).figures["n"] == 8
    found = ostrich.check(model, (images, labels), images=8, only="clean,robustness,saliency,doctor")
    assert set(found.figures["probes"]) == {"clean", "robustness", "saliency", "doctor"}
    assert found.figures["probes"]["robustness"]["n"] == 8
    assert ostrich.visualize(model, unit="conv2:3", steps=2).figures
