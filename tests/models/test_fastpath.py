"""The faster copy computes what the network computes, or is not used."""

from __future__ import annotations

import gc
import threading
import weakref

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ostrich.models.fastpath import _processor_gains, autocast, faster


def agrees(network: nn.Module, example: torch.Tensor) -> nn.Module:
    quick, _ = faster(network.eval(), example[:1])
    with torch.no_grad():
        assert torch.allclose(quick(example), network(example), atol=1e-4)
    return quick


def count(network: nn.Module, kind: type) -> int:
    return sum(isinstance(m, kind) for m in network.modules())


def test_batch_norm_is_folded_and_the_original_untouched():
    network = nets.small().network
    quick = agrees(network, torch.rand(4, 3, 16, 16))
    assert count(quick, nn.BatchNorm2d) == 0
    assert count(network, nn.BatchNorm2d) == 7
    assert not any(p.requires_grad for p in quick.parameters())
    assert all(p.requires_grad for p in network.parameters())


class SharedConvolution(nn.Module):
    """One convolution with two batch norms after it: folding both into it would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        for norm, scale in ((self.a, 0.5), (self.b, 3.0)):
            norm.weight.data.fill_(scale)
            norm.running_mean.normal_()

    def forward(self, x):
        return self.b(self.conv(self.a(self.conv(x)))).mean((2, 3))


class DataDependent(nn.Module):
    """What no tracer can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.norm(self.conv(x))
        return F.relu(y).mean((2, 3)) if y.sum() > 0 else y.mean((2, 3))


def test_networks_that_cannot_be_folded_are_right_all_the_same():
    for network in (SharedConvolution(), DataDependent()):
        agrees(network, torch.rand(3, 3, 12, 12))


class Through(torch.autograd.Function):
    """Rounds on the way forward, lets everything pass on the way back."""

    @staticmethod
    def forward(ctx, x):
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx, above):
        return above


class Rounding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nets.small().network

    def forward(self, x):
        return self.inner(Through.apply(x))


class Cut(Rounding):
    def forward(self, x):
        with torch.no_grad():
            return self.inner(x)


def gradient(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    leaf = images.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(network(leaf)[:, 0].sum(), leaf)
    return found


def test_a_derivative_of_the_networks_own_is_kept():
    """A tracer follows the forward and would lose it: the gradient of rounding is zero."""
    network, images = Rounding().eval(), torch.rand(3, 3, 16, 16)
    expected = gradient(network, images)
    assert expected.abs().sum() > 0
    assert torch.allclose(gradient(agrees(network, images), images), expected, atol=1e-4)


def test_a_gradient_that_is_cut_stays_cut():
    images = torch.rand(2, 3, 16, 16)
    quick = agrees(Cut().eval(), images)
    assert not quick(images.requires_grad_(True)).requires_grad


class Purified(nn.Module):
    """One step along its own energy before the answer, as `way` takes the derivative."""

    def __init__(self, way) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.way = way

    def forward(self, x):
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            slope = self.way(self.inner(leaf).logsumexp(1).sum(), leaf)
        return self.inner(x + 0.01 * slope)


def by_grad(energy, leaf):
    return torch.autograd.grad(energy, leaf)[0]


def by_backward(energy, leaf):
    energy.backward()
    return leaf.grad


@pytest.mark.parametrize("way", [by_grad, by_backward])
def test_gradients_within_a_forward_are_taken_where_none_are_asked_for(way):
    network, images = Purified(way).eval(), torch.rand(2, 3, 16, 16)
    quick = agrees(network, images)
    assert torch.allclose(gradient(quick, images), gradient(network, images), atol=1e-4)


def test_a_network_that_cannot_be_copied_is_used_itself():
    network = nets.small().network
    network.lock = threading.Lock()
    assert faster(network, torch.rand(1, 3, 16, 16)) == (network, 0)


@pytest.mark.parametrize(
    ("facts", "gains"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"cpu_name": "AMD EPYC 7B13", "avx512_bf16": False}, False),
        ({"architecture": "aarch64", "bf16": True}, False),
        ({}, False),
    ],
)
def test_bf16_only_where_a_processor_gains_by_it(facts, gains):
    assert _processor_gains(facts) is gains


def test_exact_never_computes_in_bf16():
    layer = nn.Conv2d(3, 3, 3)
    with autocast("exact", torch.device("cpu")):
        assert layer(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_a_copy_is_kept_as_long_as_nothing_changes():
    network, example = nets.small().network.eval(), torch.rand(1, 3, 16, 16)
    quick, forwards = faster(network, example)
    assert faster(network, torch.rand(1, 3, 24, 24)) == (quick, forwards)
    handle = network.register_forward_hook(lambda module, given, output: output)
    assert faster(network, example)[0] is not quick
    handle.remove()
    quick, _ = faster(network, example)
    with torch.no_grad():
        next(network.parameters()).data.mul_(1.0001)  # .data: autograd's version does not see it
    assert faster(network, example)[0] is not quick


def test_a_kept_copy_is_compared_again():
    """What no sum of weights shows: an attribute of the network's own."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = nets.small().network, 1.0

        def forward(self, x):
            return self.inner(x) * self.scale

    network, images = Scaled().eval(), torch.rand(3, 3, 16, 16)
    agrees(network, images)
    network.scale = 2.0
    agrees(network, images)


def test_a_copy_goes_with_its_network():
    network = nets.small().network.eval()
    gone = weakref.ref(faster(network, torch.rand(1, 3, 16, 16))[0])
    del network
    gc.collect()
    assert gone() is None
