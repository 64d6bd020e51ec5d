"""Yosinski's published numbers that need no weights: starts, and a step of each setting in numpy."""

from __future__ import annotations

from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import ostrich
from ostrich.published import published
from ostrich.visualization import PRESETS, ascend
from ostrich.visualization.parametrisations import Canvas

SIZE = (9, 12)
MEAN = (0.4, 0.45, 0.5)
ROWS = [f"yosinski-{row}" for row in (1, 2, 3, 4)]
# decay, blur radius, blur every, small norm %, small contribution %, policy: as the toolbox lists them
TABLE = {
    "yosinski-1": (0, 0.5, 4, 50, 0, ("progress", 100.0, 2.0)),
    "yosinski-2": (0.3, 0, 0, 20, 0, ("constant", 100.0)),
    "yosinski-3": (0.0001, 1.0, 4, 0, 0, ("constant", 100.0)),
    "yosinski-4": (0, 0.5, 4, 0, 90, ("progress", 100000000, 2.0)),
}


def quadratic(strength: float = 1.0) -> tuple[ostrich.Classifier, np.ndarray]:
    """A unit whose slope depends on the image: strength * sum(w * v - v^2 / 50), v = x / 0.25 normalised."""

    class Bowl(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            draw = torch.randn(1, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
            self.weight = torch.nn.Parameter(strength * draw)

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            value = (self.weight * v - strength * v**2 / 50).sum((1, 2, 3))
            return torch.stack([value, -value], 1)

    network = Bowl()
    classifier = ostrich.Classifier(network, size=SIZE, channels=3, mean=MEAN, std=(0.25,), name="bowl")
    return classifier, network.weight.detach()[0].numpy()


def slope(weight: np.ndarray, x: np.ndarray, strength: float) -> np.ndarray:
    """Of that unit, with respect to values of 0..255, at the distance x from the mean colour."""
    return (weight - strength * (x / 255 / 0.25) / 25) / 0.25 / 255


def by_hand(preset: str, x: np.ndarray, weight: np.ndarray, steps: int, strength: float) -> np.ndarray:
    """The published loop on values of 0..255 less the mean, transcribed."""
    decay, radius, every, norm, contribution, policy = TABLE[preset]
    mean = 255 * np.array(MEAN)[:, None, None]
    for step in range(steps):
        x = np.clip(x + mean, 0, 255) - mean
        g = slope(weight, x, strength)
        rate = policy[1] if policy[0] == "constant" else min(policy[1], policy[2] / (g**2).sum())
        x = (x + rate * g) * (1 - decay)
        if every and step % every == 0:
            x = np.stack([gaussian_filter(channel, radius) for channel in x])
        if norm:
            size = np.sqrt((x**2).sum(0))
            x = np.where(size < np.percentile(size, norm), 0, x)
        if contribution:
            size = np.abs((g * -x).sum(0))
            x = np.where(size < np.percentile(size, contribution), 0, x)
    return np.clip(x + mean, 0, 255) / 255


@pytest.mark.parametrize("preset", ROWS)
@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("strength", [0.2, 40.0])  # rates bounded by `most`, and not
def test_steps_follow_the_published_formula(preset, steps, strength):
    classifier, weight = quadratic(strength)
    start = np.random.RandomState(5).normal(0, 10, (3, *SIZE))
    expected = by_hand(preset, start, weight, steps, strength)
    settings = replace(PRESETS[preset], steps=steps + 1, keep="last")
    found = ascend(classifier, ["class:0"], settings, seed=5).images[0].numpy()
    assert np.abs(found - expected).max() < 1e-10
    before = np.clip(start + 255 * np.array(MEAN)[:, None, None], 0, 255) / 255
    assert np.abs(found - before).max() > 1e-3


def test_the_rate_is_bounded_in_one_of_the_two_cases():
    """So that the test above sees both sides of min(most, desired / |g|^2)."""
    rates = []
    for strength in (0.2, 40.0):
        g = slope(quadratic(strength)[1], np.zeros((3, *SIZE)), strength)
        rates.append(2.0 / (g**2).sum())
    assert rates[0] > 100 > rates[1]


@pytest.mark.parametrize("preset", ROWS)
def test_the_start_is_the_published_one(preset):
    classifier = nets.small(size=(227, 227), dtype=torch.float64)
    canvas = Canvas.of(classifier)
    start = PRESETS[preset].parametrisation.start(canvas, [0])
    first = 255 * (start - canvas.mean)[0].flatten()[:2]
    expected = [published(f"yosinski/start-value-{place}").value for place in (1, 2)]
    assert np.allclose(first.numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("preset", ROWS)
def test_the_table_is_the_toolboxs(preset):
    settings = PRESETS[preset]
    decay, radius, every, norm, contribution, policy = TABLE[preset]
    pieces = settings.regularisers
    assert (pieces.decay, pieces.blur_sigma) == (decay, radius)
    assert (pieces.small_norm, pieces.small_contribution) == (norm, contribution)
    assert pieces.blur_every == (every or 1)
    assert settings.optimiser.name == policy[0]
    assert tuple(vars(settings.optimiser).values()) == policy[1:]
    assert settings.steps == {"yosinski-1": 500, "yosinski-2": 750}.get(preset, 1000)
    assert settings.keep == "best"
    assert settings.transformations.are_none
