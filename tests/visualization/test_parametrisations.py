"""The pieces of an ascent, each against a formula or a library that is not ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ostrich.errors import InputError, UnknownName
from ostrich.visualization import PRESETS, Adam, Fourier, Pixels, Regularisers, Transformations
from ostrich.visualization.parametrisations import Canvas
from ostrich.visualization.presets import configure, describe
from ostrich.visualization.regularisers import gaussian, total_variation

SIZES = [(8, 8), (7, 9), (6, 11), (9, 4)]


def canvas(size: tuple[int, int], channels: int = 3) -> Canvas:
    mean = torch.linspace(0.3, 0.6, channels, dtype=torch.float64).view(1, -1, 1, 1)
    return Canvas((channels, *size), mean)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("power", [1.0, 1.5])
def test_the_fourier_image_is_numpys(size, power):
    height, width = size
    drawing = Fourier(deviation=1.0, decay_power=power)
    spectrum = drawing.start(canvas(size), [3])
    numbers = spectrum[0].numpy()
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    scaled = (numbers[..., 0] + 1j * numbers[..., 1]) / np.maximum(frequency, 1 / max(size)) ** power
    plain = np.fft.irfft2(scaled, s=size) * np.sqrt(height * width) / 4
    mixing = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
    mixing = mixing / np.sqrt((mixing**2).sum(0)).max()
    expected = 1 / (1 + np.exp(-np.einsum("ij,jhw->ihw", mixing, plain)))
    assert np.abs(drawing.images(canvas(size), spectrum)[0].numpy() - expected).max() < 1e-12
    assert spectrum.std() == pytest.approx(1, abs=0.3)


def test_a_grey_image_has_no_colours_to_mix():
    drawing, place = Fourier(), canvas((8, 6), channels=1)
    assert drawing.images(place, drawing.start(place, [0])).shape == (1, 1, 8, 6)


@pytest.mark.parametrize("drawing", [Pixels(), Pixels(draws="numpy"), Fourier()])
def test_a_start_belongs_to_its_seed(drawing):
    place = canvas((6, 7))
    first = drawing.start(place, [4, 9, 4])
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[1:2], drawing.start(place, [9]))


def test_no_transformation_is_the_image_itself_and_jitter_moves_it_by_whole_pixels():
    images = random(5, 3, 10, 12)
    place = canvas((10, 12))
    assert Transformations().view(place, images, [0] * 5, 0) is images
    moved = Transformations(jitter=0.2).view(place, images, range(5), 7)  # up to two pixels of ten
    inside = images[:, :, 2:-2, 2:-2]
    shifts = set()
    for turn in range(5):
        for down in range(5):
            for across in range(5):
                part = moved[turn, :, down : down + 6, across : across + 8]
                if torch.allclose(part, inside[turn], atol=1e-12):
                    shifts.add((turn, down, across))
    assert [turn for turn, *_ in sorted(shifts)] == list(range(5))  # each is found, once
    assert len({shift[1:] for shift in shifts}) > 1


def test_a_border_has_the_mean_colour():
    place = canvas((8, 8))
    seen = Transformations(pad=0.5).view(place, torch.ones(1, 3, 8, 8, dtype=torch.float64), [0], 0)
    expected = place.mean.expand(1, -1, 8, 8).clone()
    expected[:, :, 2:6, 2:6] = 1  # half of its size, in the middle
    assert torch.allclose(seen, expected, atol=1e-12)


def test_views_belong_to_seed_and_step_and_reach_as_far_as_they_say():
    place, images = canvas((16, 16)), random(1, 3, 16, 16).expand(3, -1, -1, -1)
    turning = Transformations(jitter=0.1, rotate=30, scale=0.2, pad=0.1)
    views = turning.view(place, images, [1, 2, 1], 5)
    assert torch.equal(views[0], views[2])
    assert not torch.allclose(views[0], views[1])
    assert not torch.allclose(views[0], turning.view(place, images, [1, 2, 1], 6)[0])
    assert torch.equal(views[1:2], turning.view(place, images[:1], [2], 5))


def test_total_variation_is_numpys():
    images = random(2, 3, 5, 7)
    for found, one in zip(total_variation(images), images.numpy()):
        expected = np.abs(np.diff(one, axis=1)).sum() + np.abs(np.diff(one, axis=2)).sum()
        assert found.item() == pytest.approx(expected / one.size, abs=1e-12)


@pytest.mark.parametrize("sigma", [0.5, 1.3, 4.0])
def test_the_blur_is_scipys(sigma):
    image = random(2, 3, 7, 11, seed=1)
    expected = gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="reflect", truncate=4)
    assert np.allclose(gaussian(image, sigma).numpy(), expected, atol=1e-12)


def test_adam_is_the_papers_algorithm_uphill():
    """Kingma and Ba 2015, algorithm 1, transcribed; the objective is -(x - target)^4."""
    target, method = random(2, 4, seed=1), Adam(step_size=0.05)
    ours, x, first, second = random(2, 4), random(2, 4).numpy(), 0.0, 0.0
    state = method.init(ours)
    for step in range(20):
        slope = 4 * (x - target.numpy()) ** 3  # downhill, of the loss (x - target)^4
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        best, size = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        x = x - 0.05 * best / (np.sqrt(size) + 1e-8)
        ours, state = method.step(ours, -4 * (ours - target) ** 3, state, step)
    assert np.allclose(ours.numpy(), x, atol=1e-12)
    assert not np.allclose(x, random(2, 4).numpy(), atol=0.1)


@pytest.mark.parametrize("name", list(PRESETS))
def test_settings_describe_a_preset_and_make_it_again(name):
    told = {key: str(value) for key, value in describe(PRESETS[name]).items()}
    assert configure(told, "plain") == PRESETS[name]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"stepz": "3"}, "Did you mean steps"),
        ({"noise": "0.1"}, "Unknown setting"),  # of pixels; lucid draws a spectrum
        ({"optimiser": "adan"}, "Did you mean adam"),
        ({"parametrisation": "pixel"}, "Did you mean pixels"),
        ({"rate": "3"}, "Unknown setting"),
        ({"blur_sigma": "1"}, "changes pixels"),
        ({"steps": "0"}, "steps is at least 1"),
        ({"keep": "first"}, "best or last"),
        ({"scale": "1"}, "scale lies between"),
        ({"deviation": "-1"}, "from 0 up"),
        ({"step_size": "0"}, "above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, match):
    with pytest.raises(InputError, match=match):
        configure(given, "lucid")


@pytest.mark.parametrize(
    "wrong",
    [{"decay": 1.0}, {"blur_every": 0}, {"blur_sigma": -1.0}, {"small_norm": 100.0}, {"tv": float("nan")}],
)
def test_regularisers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        Regularisers(**wrong)


def test_an_unknown_preset_is_refused():
    with pytest.raises(UnknownName, match="lucid"):
        configure({}, "lucit")
