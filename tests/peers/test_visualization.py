"""Agreement of the Fourier parametrisation and of an ascent with lucent, where lucent is right.

`make test-peers` runs this where it is installed. Odd widths and other shapes than squares are compared
with numpy instead (tests/visualization/test_parametrisations.py).
"""

from __future__ import annotations

import copy
import importlib
import warnings
from types import SimpleNamespace

import nets
import pytest
import torch

import ostrich
from ostrich.visualization import Adam, Ascent, Fourier, ascend
from ostrich.visualization.parametrisations import Canvas

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def lucent() -> SimpleNamespace:
    """Its parts, or a skip. Its own warnings, at import and at every step, are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lucent", reason="torch-lucent is not installed here: make test-peers")
        names = ("objectives", "param.color", "param.spatial", "render")
        parts = {name.split(".")[-1]: importlib.import_module(f"lucent.optvis.{name}") for name in names}
    return SimpleNamespace(**parts)


def spectrum(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("power", [1.0, 1.5])
def test_the_same_spectrum_is_the_same_image(lucent, size, power):
    (theirs,), image = lucent.spatial.fft_image((2, 3, size, size), decay_power=power)
    theirs.data = spectrum(*theirs.shape)
    expected = lucent.color.to_valid_rgb(image, decorrelate=True)().detach()
    canvas = Canvas((3, size, size), torch.full((1, 3, 1, 1), 0.5))
    found = Fourier(decay_power=power).images(canvas, theirs.detach())
    assert (found - expected).abs().max() < 1e-6
    assert expected.std() > 0.01


def test_steps_of_several_channels_at_once_are_lucents(lucent, monkeypatch):
    """Two channels in a batch, six steps of Adam, the same start, no transformations."""
    network = nets.small().network
    classifier = ostrich.Classifier(copy.deepcopy(network), size=(16, 16), channels=3, name="small")
    start = spectrum(2, 3, 16, 9, 2)

    def parametrised():
        (theirs,), image = lucent.spatial.fft_image((2, 3, 16, 16))
        theirs.data = start.clone()
        return [theirs], lucent.color.to_valid_rgb(image, decorrelate=True)

    wanted = [lucent.objectives.channel("layer2", channel, batch=channel) for channel in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = lucent.render.render_vis(
            network,
            lucent.objectives.Objective.sum(wanted),
            parametrised,
            transforms=[],
            thresholds=(6,),
            preprocess=False,
            progress=False,
            show_image=False,
            fixed_image_size=16,
        )[-1]
    monkeypatch.setattr(Fourier, "start", lambda self, canvas, seeds: start.clone())
    settings = Ascent(steps=7, keep="last", parametrisation=Fourier(), optimiser=Adam(step_size=0.05))
    found = ascend(classifier, ["layer2:0", "layer2:1"], settings).images
    assert (found.permute(0, 2, 3, 1).numpy() - expected).__abs__().max() < 1e-4
