"""Agreement with two other libraries, element by element, in float64.

    foolbox 3       LinfFastGradientAttack, LinfPGD
    torchattacks 3  FGSM, PGD

The three compute the same iterates from the same gradients, so nothing but rounding may differ.
`make test-peers` runs this where the libraries are installed.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import ostrich
from ostrich.models.residual import SmallNet

pytestmark = pytest.mark.peers

EPS = 8 / 255
STEP = 2 / 255
STEPS = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TOLERANCE = 1e-12  # of a sum of ten steps in float64; a step is 8e-3


def installed(name: str) -> ModuleType:
    """The peer, or a skip that says how to have it. Its own warnings are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed here: make test-peers")


class Normalised(nn.Module):
    """The network as the peers take it: preprocessing inside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN, dtype=torch.float64).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD, dtype=torch.float64).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Random weights, and batch-norm statistics of the images' own, so that no layer saturates."""
    torch.manual_seed(0)
    net = Normalised(SmallNet(8).double()).double()
    for _ in range(40):
        net(torch.rand(16, 3, 32, 32, dtype=torch.float64))
    return net.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Eight random images on the 8-bit grid, zeros and ones among the pixels."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (8, 3, 32, 32), generator=generator).double() / 255


@pytest.fixture(scope="module")
def labels(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images).argmax(1)


def ours(method: object, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Where the attack ended, before rounding to 8 bits."""
    classifier = ostrich.Classifier(network.network, size=(32, 32), mean=MEAN, std=STD)
    goal = ostrich.Untargeted(labels)
    result = ostrich.attacks.attack(method, classifier, images, goal=goal, precision="exact")
    assert result.attacked.all()
    return result.float_images


def fgsm() -> object:
    return ostrich.attacks.FGSM(threat=ostrich.Linf(EPS))


def pgd() -> object:
    threat = ostrich.Linf(EPS)
    return ostrich.attacks.PGD(threat=threat, steps=STEPS, step_size=STEP, random_start=False, stop="budget")


def foolbox_attack(name: str, **settings: object) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def run(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        foolbox = installed("foolbox")
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        attack = getattr(foolbox.attacks, name)(random_start=False, **settings)
        return attack(model, images, labels, epsilons=EPS)[1]

    return run


def torchattacks_attack(name: str, **settings: object) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def run(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        torchattacks = installed("torchattacks")
        return getattr(torchattacks, name)(network, eps=EPS, **settings)(images, labels)

    return run


CASES = [
    pytest.param(fgsm, foolbox_attack("LinfFastGradientAttack"), id="fgsm-foolbox"),
    pytest.param(fgsm, torchattacks_attack("FGSM"), id="fgsm-torchattacks"),
    pytest.param(pgd, foolbox_attack("LinfPGD", abs_stepsize=STEP, steps=STEPS), id="pgd-foolbox"),
    pytest.param(
        pgd, torchattacks_attack("PGD", alpha=STEP, steps=STEPS, random_start=False), id="pgd-torchattacks"
    ),
]


@pytest.mark.parametrize(("method", "peer"), CASES)
def test_same_images_in_float64(
    method: Callable[[], object],
    peer: Callable[[nn.Module, Tensor, Tensor], Tensor],
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
) -> None:
    theirs = peer(copy.deepcopy(network), images.clone(), labels.clone()).detach()
    assert theirs.dtype == torch.float64
    found = ours(method(), network, images, labels)
    assert (found != images).any(dim=1).float().mean() > 0.9  # the attack did move the pixels
    torch.testing.assert_close(found, theirs, rtol=0, atol=TOLERANCE)
