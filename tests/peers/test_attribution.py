"""Agreement of the explainers with captum and zennit, in float64, and where these are known to be wrong.

`make test-peers` runs this where the libraries are installed.
"""

from __future__ import annotations

import warnings
from functools import partial
from types import ModuleType

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from ostrich.attribution import (
    Deconvnet,
    GradCAM,
    Gradient,
    GradientXInput,
    Guided,
    GuidedGradCAM,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
    explain,
    paired,
)

guided, deconvnet = (partial(paired, method) for method in (Guided(), Deconvnet()))
pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients:UserWarning"),
]

TARGETS = torch.tensor([1, 4])
UNITS = ["class:1", "class:4"]


def installed(name: str) -> ModuleType:
    """The peer, or a skip that says how to have it. Its own warnings are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed here: make test-peers")


class Plain(nn.Module):
    """ReLUs are modules of their own, out of place: what hooks handle."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.relu1 = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace)
        self.second, self.relu2 = nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.ReLU(inplace)
        self.norm, self.relu3 = nn.BatchNorm2d(8), nn.ReLU(inplace)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu2(self.second(F.max_pool2d(self.relu1(self.first(x)), 2)))
        return self.head(self.relu3(self.norm(h)).mean((2, 3)))


class Shortcut(Plain):
    """The input of a ReLU feeds a shortcut too, as in discriminators without normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h + self.first.weight.mean() + self.norm(self.relu1(h))
        return self.head(self.relu2(self.second(h)).mean((2, 3)))


@pytest.fixture
def images() -> Tensor:
    return nets.random_images(2, (12, 10), dtype=torch.float64)


def pair(network: nn.Module) -> tuple[nn.Module, ostrich.Classifier]:
    """The network as captum takes it, and the classifier of the same."""
    network = network.double().eval()
    return network, ostrich.Classifier(network, size=(12, 10))


def each(method, model: ostrich.Classifier, images: Tensor, units: list[str] = UNITS) -> Tensor:
    return explain(method, model, images, [[unit] for unit in units])[:, 0]


def near(found: Tensor, expected: Tensor, relative: float) -> bool:
    """Within `relative` of the largest value."""
    return bool((found - expected).abs().max() <= relative * expected.abs().max())


def test_gradient_of_classes(images):
    attr = installed("captum.attr")
    network, model = pair(Plain())
    x = images.clone().requires_grad_()
    theirs = attr.Saliency(network).attribute(x, target=TARGETS, abs=False)
    assert near(each(Gradient(), model, images), theirs, 1e-12)
    single, x = network.float(), images.float().requires_grad_()
    theirs = attr.Saliency(single).attribute(x, target=TARGETS, abs=False)
    assert torch.equal(each(Gradient(), model, images.float()), theirs)  # bit for bit in fp32
    times = attr.InputXGradient(single).attribute(x, target=TARGETS)
    assert torch.equal(each(GradientXInput(), model, images.float()), times.detach())


def test_gradients_of_many_units_from_one_forward_equal_the_loop(images):
    attr = installed("captum.attr")
    for dtype, exact in ((torch.float64, False), (torch.float32, True)):
        network, model = pair(Plain())
        network.to(dtype)
        neurons, channels = [(c, 2, 1) for c in range(8)], range(8)
        units = [f"second:{c}@{i},{j}" for c, i, j in neurons] + [f"second:{c}" for c in channels]
        found = explain(Gradient(), model, images.to(dtype), units)
        loop = attr.NeuronGradient(network, network.second)
        selectors = [*neurons, *(lambda a, c=c: a[:, c].mean((1, 2)) for c in channels)]
        for u, selector in enumerate(selectors):
            theirs = loop.attribute(images.to(dtype).requires_grad_(), selector)
            assert torch.equal(found[:, u], theirs) if exact else near(found[:, u], theirs, 1e-12)


@pytest.mark.parametrize(
    ("ours", "captums", "zennits"),
    [
        (guided, "GuidedBackprop", "GuidedBackprop"),
        (deconvnet, "Deconvolution", "DeconvNet"),
    ],
)
def test_relu_rules(images, ours, captums, zennits):
    attr, zennit = installed("captum.attr"), installed("zennit.attribution")
    rules = installed("zennit.composites")
    one_hot = torch.eye(5, dtype=torch.float64)[TARGETS]

    def theirs(network: nn.Module) -> tuple[Tensor, Tensor]:
        by_captum = getattr(attr, captums)(network).attribute(images.clone().requires_grad_(), target=TARGETS)
        with zennit.Gradient(network, getattr(rules, zennits)()) as attributor:
            _, by_zennit = attributor(images, one_hot)
        return by_captum, by_zennit

    network, model = pair(Plain())
    for found in theirs(network):
        assert near(ours(model, images, UNITS), found, 1e-6)
    network, model = pair(Shortcut())
    by_captum, by_zennit = theirs(network)
    assert near(ours(model, images, UNITS), by_zennit, 1e-6)
    assert not near(by_captum, by_zennit, 1e-2)  # captum takes the sum of both ways for the ReLU's own


def test_integrated_gradients(images):
    attr = installed("captum.attr")
    network, model = pair(Plain())
    for name, rule, factor in [
        ("gausslegendre", "gauss-legendre", 1),
        ("riemann_right", "right", 1),
        (
            "riemann_trapezoid",
            "trapezoid",
            24 / 25,
        ),  # theirs weighs n points as n pieces, of which there are n - 1
    ]:
        theirs, delta = attr.IntegratedGradients(network).attribute(
            images, baselines=0.25, target=TARGETS, n_steps=25, method=name, return_convergence_delta=True
        )
        found = each(IntegratedGradients(steps=25, rule=rule, baseline=0.25), model, images)
        assert near(found * factor, theirs, 1e-6), name
        with torch.no_grad():
            change = network(images) - network(torch.full_like(images, 0.25))
        missing = found.sum((1, 2, 3)) - change.gather(1, TARGETS[:, None])[:, 0]
        slack = 1e-6 * change.abs().max()  # captum's places on the way are rounded to fp32
        assert (missing.abs() <= delta.abs() + slack).all(), name


def test_smoothgrad_with_the_same_noise(images, monkeypatch):
    attr, zennit = installed("captum.attr"), installed("zennit.attribution")
    network, model = pair(Plain())
    one, seen, samples = images[:1], [], 6
    handle = network.register_forward_pre_hook(lambda _m, x: seen.append(x[0].detach().clone()))
    found = explain(SmoothGrad(noise=0.2, samples=samples), model, one, ["class:4"])[:, 0]
    handle.remove()
    (noisy,) = seen
    assert noisy.shape == (samples, 3, 12, 10)
    tunnel = attr.NoiseTunnel(attr.Saliency(network))
    monkeypatch.setattr(tunnel, "_add_noise_to_input", lambda *_about: noisy.clone())
    theirs = tunnel.attribute(one, nt_samples=samples, nt_type="smoothgrad", stdevs=1.0, target=4, abs=False)
    assert near(found, theirs, 1e-10)
    drawn = iter(
        (noisy - one) / (0.2 * (one.max() - one.min()))
    )  # of unit size, if ours is relative as theirs
    monkeypatch.setattr(torch, "randn_like", lambda like: next(drawn).expand_as(like))
    one_hot = torch.eye(5, dtype=torch.float64)[[4]]
    _, mean = zennit.SmoothGrad(network, noise_level=0.2, n_iter=samples + 1)(
        one, one_hot
    )  # their last has no noise
    plain = explain(Gradient(), model, one, ["class:4"])[:, 0]
    assert near(found, (mean * (samples + 1) - plain) / samples, 1e-10)


@pytest.mark.parametrize("inplace", [False, True])
def test_gradcam(images, inplace):
    """The layer's output is changed in place by the ReLU after it: captum copies, and so is right."""
    attr = installed("captum.attr")
    network, model = pair(Plain(inplace))
    for layer in ("second", "norm"):
        grad_cam = attr.LayerGradCam(network, getattr(network, layer))
        theirs = grad_cam.attribute(images, target=TARGETS, relu_attributions=True)
        theirs = F.interpolate(theirs, (12, 10), mode="bilinear")
        found = each(GradCAM(layer=layer), model, images)
        assert near(found[:, :1], theirs, 1e-10)
        assert theirs.abs().max() > 0


def test_guided_gradcam(images):
    attr = installed("captum.attr")
    network, model = pair(Plain())
    method = attr.GuidedGradCam(network, network.second)
    theirs = method.attribute(images.clone().requires_grad_(), target=TARGETS, interpolate_mode="bilinear")
    assert near(each(GuidedGradCAM(layer="second"), model, images), theirs, 1e-6)


@pytest.mark.parametrize(("window", "stride"), [(4, 2), (3, 3), (3, 2), (5, 4)])  # the last two are cut off
def test_occlusion(images, window, stride):
    attr = installed("captum.attr")
    network, model = pair(Plain())
    theirs = attr.Occlusion(network).attribute(
        images,
        sliding_window_shapes=(3, window, window),
        strides=(3, stride, stride),
        baselines=0.5,
        target=TARGETS,
        perturbations_per_eval=4,
    )
    assert near(each(Occlusion(window=window, stride=stride), model, images), theirs, 1e-6)


def test_functional_relus_escape_the_others(images):
    """Why the rules here see operations: with F.relu, hooks give the plain gradient and say nothing."""
    attr = installed("captum.attr")

    class Functional(Plain):
        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.second(F.max_pool2d(F.relu(self.first(x)), 2)))
            return self.head(F.relu(self.norm(h)).mean((2, 3)))

    network, model = pair(Functional())
    theirs = attr.GuidedBackprop(network).attribute(images.clone().requires_grad_(), target=TARGETS)
    assert near(theirs, each(Gradient(), model, images), 1e-12)
    _, plain = pair(Plain())
    assert near(guided(model, images, UNITS), guided(plain, images, UNITS), 1e-12)
    assert not near(guided(model, images, UNITS), theirs, 0.1)
