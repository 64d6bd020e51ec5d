"""Gradient times input, Integrated Gradients and SmoothGrad against closed forms, in float64."""

from __future__ import annotations

import math

import nets
import pytest
import torch
from torch import nn

import ostrich
from ostrich.attribution import Gradient, GradientXInput, IntegratedGradients, SmoothGrad, explain
from ostrich.errors import InputError, UnknownName

SIZE = (5, 7)
X = nets.random_images(2, SIZE, dtype=torch.float64)
W = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Cubic(nn.Module):
    """The sum over the image of w x^3."""

    def forward(self, x):
        return torch.einsum("nchw,kchw->nk", x**3, W)


LINEAR = nets.linear(W.flatten(1), SIZE, 3)
CUBIC = ostrich.Classifier(Cubic(), size=SIZE, channels=3)
BOTH = ["class:0", "class:1"]


# Gradients ----------------------------------------------------------------------------------------------


def test_a_linear_network_has_its_weights_as_gradient():
    for method in (Gradient(), SmoothGrad(samples=3)):
        found = explain(method, LINEAR, X, BOTH)
        assert torch.allclose(found, W.expand(2, -1, -1, -1, -1), atol=1e-12)
    found = explain(GradientXInput(), LINEAR, X, BOTH)
    assert torch.allclose(found, X[:, None] * W, atol=1e-12)
    for rule in ("gauss-legendre", "trapezoid", "right"):
        found = explain(IntegratedGradients(steps=2, rule=rule, baseline=0.25), LINEAR, X, BOTH)
        assert torch.allclose(found, (X[:, None] - 0.25) * W, atol=1e-12)


@pytest.mark.parametrize("baseline", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [2, 5])
def test_integrated_gradients_of_a_cubic(baseline, steps):
    """The gradient is quadratic along the way, so each rule's error is known (Euler and Maclaurin)."""
    way, h = X - baseline, {"trapezoid": 1 / (steps - 1), "right": 1 / steps}
    first, last = 3 * baseline**2, 3 * X**2  # of the gradient, per weight
    bend = 6 * way * way / 12  # (g'(1) - g'(0)) / 12
    mean = {
        "gauss-legendre": (X**3 - baseline**3) / way,
        "trapezoid": (X**3 - baseline**3) / way + bend * h["trapezoid"] ** 2,
        "right": (X**3 - baseline**3) / way + (last - first) / 2 * h["right"] + bend * h["right"] ** 2,
    }
    for rule, expected in mean.items():
        found = explain(IntegratedGradients(steps=steps, rule=rule, baseline=baseline), CUBIC, X, BOTH)
        wanted = torch.where(way == 0, 0, way * expected)[:, None] * W
        assert torch.allclose(found, wanted, atol=1e-12), rule


def test_integrated_gradients_are_complete():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(12, 2)
    )
    smooth = ostrich.Classifier(net.double().eval(), size=SIZE)
    found = explain(IntegratedGradients(steps=30, baseline=0.2), smooth, X, BOTH)
    with torch.no_grad():
        change = smooth(X) - smooth(torch.full_like(X, 0.2))
    assert torch.allclose(found.sum((2, 3, 4)), change, atol=1e-10)
    assert change.abs().min() > 1e-3


def test_smoothgrad_adds_noise_of_the_images_own_range():
    """The gradient of a cubic is 3 w (x + n)^2: mean 3 w (x^2 + s^2), variance 9 w^2 (4 x^2 s^2 + 2 s^4)."""
    narrow = 0.25 + X * 0.5  # half the range, half the noise
    samples = 2000
    for images in (X, narrow):
        span = (images.flatten(1).max(1).values - images.flatten(1).min(1).values).view(-1, 1, 1, 1)
        s = 0.2 * span
        found = explain(SmoothGrad(noise=0.2, samples=samples), CUBIC, images, ["class:0"])[:, 0]
        spread = (3 * W[0]).abs() * (4 * images**2 * s**2 + 2 * s**4).sqrt() / math.sqrt(samples)
        z = (found - 3 * W[0] * (images**2 + s**2)) / spread
        count = z.numel()  # the sum of squares of so many standard normals
        assert abs(z.square().sum() - count) < 4 * math.sqrt(2 * count)
        assert abs(z.mean()) < 4 / math.sqrt(count)


def test_smoothgrad_depends_on_the_seed_and_the_image_alone():
    once, again = (explain(SmoothGrad(samples=2), CUBIC, X, BOTH, seed=1) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.allclose(once, explain(SmoothGrad(samples=2), CUBIC, X, BOTH, seed=2))
    turned = explain(SmoothGrad(samples=2), CUBIC, X.flip(0), BOTH, seed=1)
    assert torch.allclose(turned.flip(0), once, atol=1e-12)
    grey = torch.full_like(X, 0.5)  # no range, no noise
    found = explain(SmoothGrad(samples=2), CUBIC, grey, BOTH)
    assert torch.allclose(found, explain(Gradient(), CUBIC, grey, BOTH), atol=1e-12)


# Settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (IntegratedGradients, {"steps": 0}),
        (IntegratedGradients, {"steps": 1, "rule": "trapezoid"}),
        (IntegratedGradients, {"rule": "left"}),
        (IntegratedGradients, {"baseline": 2.0}),
        (SmoothGrad, {"samples": 0}),
        (SmoothGrad, {"noise": -0.1}),
        (SmoothGrad, {"noise": math.inf}),
    ],
)
def test_settings_that_make_no_sense(method, wrong):
    with pytest.raises((InputError, UnknownName)):
        method(**wrong)
