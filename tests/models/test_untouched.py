"""A network is asked in whole float32, whatever the user has set, and both are the user's again."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

import ostrich
from ostrich.models.untouched import _kinds, untouched

BACKENDS = torch.backends


def settings() -> list[object]:
    """What torch says of its precisions, the older settings too, where they can be read."""
    found: list[object] = [one.fp32_precision for one in _kinds()]
    for ask in (torch.get_float32_matmul_precision, lambda: BACKENDS.cudnn.allow_tf32):
        try:
            found.append(ask())
        except RuntimeError:
            found.append("mixed")
    return found


@pytest.fixture
def restored():
    """The settings that torch begins with, afterwards."""
    before = [one.fp32_precision for one in _kinds()]
    yield
    BACKENDS.fp32_precision = "none"
    BACKENDS.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")
    for one, precision in zip(_kinds(), before, strict=True):
        one.fp32_precision = precision


def high() -> None:
    torch.set_float32_matmul_precision("high")


def medium() -> None:
    torch.set_float32_matmul_precision("medium")


def older() -> None:
    BACKENDS.cuda.matmul.allow_tf32 = True
    BACKENDS.cudnn.allow_tf32 = False


def newer() -> None:
    BACKENDS.cuda.matmul.fp32_precision = "tf32"
    BACKENDS.mkldnn.matmul.fp32_precision = "bf16"


def for_all() -> None:
    BACKENDS.fp32_precision = "tf32"


@pytest.mark.parametrize("chosen", [lambda: None, high, medium, older, newer, for_all])
@pytest.mark.parametrize("network", [nn.Linear(2, 2), lambda images: images])
def test_a_network_is_asked_in_whole_float32_and_the_settings_are_as_they_were(chosen, network, restored):
    chosen()
    before = settings()
    with untouched(network), untouched(network):
        inside = settings()
        assert set(inside[: len(_kinds())]) <= {"ieee", "none"}
        # what could be read can be read: a compiled network reads it
        assert all(one != "mixed" for one, was in zip(inside, before, strict=True) if was != "mixed")
    assert settings() == before


def test_the_settings_are_the_users_after_an_exception_too(restored):
    high()
    before = settings()
    with pytest.raises(KeyError), untouched(nn.Linear(2, 2)):
        raise KeyError
    assert settings() == before


class Trained(nn.Module):
    """Its batch norm is brought into training mode by its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        self.norm.train()
        return self.norm(x).mean((2, 3))


class Counting(nn.Module):
    """Counts its forwards: in place, in a tensor of its own each time, and in one that grows."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("inside", "anew", "grown"):
            self.register_buffer(name, torch.zeros(1))

    def forward(self, x):
        self.inside.data.add_(1)
        self.anew = self.anew + 1
        self.grown.resize_(len(self.grown) + 1).fill_(1)
        return x.mean((2, 3)) + 0 * self.anew


class Seen(nn.Module):
    """Counts its forwards, as TorchScript can."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen.add_(x.size(0))
        return x.mean((2, 3))


def observed() -> nn.Module:
    """One whose scales for 8 bits are being found."""
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    network.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    return torch.ao.quantization.prepare(network)


@pytest.mark.filterwarnings("ignore:.*(quant|script|reduce_range)")
@pytest.mark.parametrize("build", [Trained, Counting, observed, lambda: torch.jit.script(Seen())])
def test_what_a_forward_writes_into_buffers_is_taken_back(build):
    network = build()
    before = copy.deepcopy(network.state_dict())
    held = {name: id(one) for name, one in network.named_buffers()}
    scripted = isinstance(network, torch.jit.ScriptModule)
    images = (torch.rand(4, 3, 8, 8) * 255).round() / 255
    ostrich.attack("fgsm", network, images, torch.tensor([0, 1, 2, 0]), eps=1 / 255)
    with untouched(network), untouched(network):
        network(images)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert scripted or held == {name: id(one) for name, one in network.named_buffers()}


def test_within_a_question_buffers_are_the_networks_own():
    network = Counting()
    with untouched(network):
        for asked in (1, 2):
            with untouched(network):
                network(torch.rand(1, 3, 8, 8))
            assert network.inside.item() == asked
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None
