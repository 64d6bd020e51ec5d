"""The common corruptions: against slow and plain expressions of them, and figures of another library."""

from __future__ import annotations

import colorsys
import json

import corruption_peer
import numpy as np
import pytest
import torch
from scipy import ndimage

import ostrich
from ostrich.corruptions import FAMILIES, NAMES, SEVERITIES, blur, corrupt, digital, noise, sampling, weather
from ostrich.corruptions.draws import Draws
from ostrich.corruptions.severity import Settings

RANDOM = [name for name in NAMES if name not in corruption_peer.EXACT]
SHAPES = [(3, 40, 33), (1, 8, 8), (4, 16, 16), (11, 9, 20), (2, 1, 1), (3, 96, 100)]


def some(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    levels = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed))
    return levels.float() / 255


def smooth(side: int) -> torch.Tensor:
    """One image (1, 3, side, side) without fine detail."""
    return sampling.smoothed(some(1, 3, side, side, seed=3), side / 12).mul(1.5).clamp(0, 1)


def draws(images: torch.Tensor, seed: int = 0) -> Draws:
    return Draws(seed, 0, range(len(images)), images)


def test_there_are_the_fifteen_of_the_paper():
    assert len(NAMES) == 15
    assert [len(names) for names in FAMILIES.values()] == [3, 4, 4, 4]
    assert ostrich.corruptions.NAMES is NAMES


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_any_size_and_any_number_of_channels(name, shape):
    images = some(2, *shape)
    for severity in SEVERITIES:
        found = corrupt(images, name, severity)
        assert (found.shape, found.dtype) == (images.shape, images.dtype)
        assert found.min() >= 0
        assert found.max() <= 1
        assert torch.equal(found, found.mul(255).round().div(255))
    if min(shape[1:]) > 16:
        assert not torch.equal(found, images)


@pytest.mark.parametrize("name", NAMES)
def test_neither_place_nor_neighbours_nor_severity_decide_the_random_numbers(name):
    images = some(4, 3, 30, 36)
    whole = corrupt(images, name, 3, seed=5)
    assert torch.equal(corrupt(images[[2, 0]], name, 3, seed=5), whole[[2, 0]])
    assert torch.equal(corrupt(images[1:2], name, 3, seed=5), whole[1:2])
    assert torch.equal(corrupt(images, name, 3, seed=6), whole) == (name not in RANDOM)
    twins = images[:1].expand(2, -1, -1, -1)
    assert torch.equal(*corrupt(twins, name, 4).split(1))
    assert torch.equal(*corrupt(twins, name, 4, keys=[1, 2]).split(1)) == (name not in RANDOM)
    assert torch.equal(images, some(4, 3, 30, 36))


@pytest.mark.parametrize("name", NAMES)
def test_more_severe_is_further_from_the_image(name):
    """Fog and the two kinds of elastic transform are not ordered by their distance, by their design."""
    images = corruption_peer.photograph()
    steps = [float((corrupt(images, name, s) - images).square().mean()) for s in SEVERITIES]
    assert steps[4] > steps[0] or name == "elastic_transform"
    if name not in ("elastic_transform", "fog", "snow", "frost", "glass_blur"):
        assert steps == sorted(steps)


def test_settings_by_size():
    found = Settings(names=("a", "b"), lengths=frozenset("b"), photograph=((1, 14),), thumbnail=((2, 4),))
    assert found.at(1, (224, 300)) == {"a": 1, "b": 14}
    assert found.at(1, (500, 448)) == {"a": 1, "b": 28}
    assert found.at(1, (85, 85)) == {"a": 1, "b": pytest.approx(14 * 85 / 224)}
    assert found.at(1, (84, 300)) == {"a": 2, "b": pytest.approx(4 * 84 / 32)}
    assert found.at(1, (32, 32)) == {"a": 2, "b": 4}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "blurr"}, "zoom_blur or glass_blur"),
        ({"severity": 0}, "1, 2, 3, 4 or 5"),
        ({"severity": 6}, "got 6"),
        ({"images": some(2, 3, 8, 8) * 255}, "Divide 0..255"),
        ({"images": some(3, 8, 8)}, r"\(N, C, H, W\)"),
        ({"keys": [1]}, "1 keys for 2 images"),
    ],
)
def test_what_cannot_be_corrupted_is_said(change, said):
    asked = {"images": some(2, 3, 8, 8), "name": "fog", "severity": 1} | change
    with pytest.raises(ostrich.InputError, match=said):
        corrupt(**asked)


def test_no_image_stays_none():
    assert corrupt(torch.zeros(0, 3, 8, 8), "fog", 1).shape == (0, 3, 8, 8)


# Against other expressions ---------------------------------------------------------------------


def test_noise_has_its_distribution():
    grey = torch.full((4, 3, 100, 100), 0.5)
    assert noise.gaussian_noise(grey, draws(grey), deviation=0.2).std() == pytest.approx(0.2, rel=0.02)
    shot = noise.shot_noise(grey, draws(grey), photons=10)
    assert shot.mean() == pytest.approx(0.5, rel=0.02)
    assert shot.var() == pytest.approx(0.05, rel=0.04)  # a Poisson count's variance is its mean
    impulse = noise.impulse_noise(grey, draws(grey), share=0.2)
    assert (impulse == 0).double().mean() == pytest.approx(0.1, rel=0.05)
    assert (impulse == 1).double().mean() == pytest.approx(0.1, rel=0.05)
    pixels = (impulse != 0.5).double()
    assert pixels.prod(1).mean() == pytest.approx(0.2**3, rel=0.3)  # channels each by itself


@pytest.mark.parametrize("edge", ["nearest", "reflect"])
def test_smoothing_is_that_of_scipy(edge):
    images = some(1, 2, 20, 13)
    for sigma in (0.3, 1.7, 9.0):
        found = sampling.smoothed(images, sigma, truncate=3.0, edge=edge)[0].numpy()
        wanted = [ndimage.gaussian_filter(one, sigma, mode=edge, truncate=3.0) for one in images[0].numpy()]
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_defocus_is_a_disk():
    images = some(1, 2, 40, 30)
    y, x = np.mgrid[-5:6, -5:6]
    disk = (x**2 + y**2 <= 9).astype(float)
    found = blur.defocus_blur(images, draws(images), radius=3, edge=0.1)
    wanted = [ndimage.correlate(one, disk / disk.sum(), mode="mirror") for one in images[0].numpy()]
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=2e-6)


@pytest.mark.parametrize("factor", [1.0, 1.07, 1.3, 3.0])
def test_zoom_is_that_of_scipy(factor):
    images = some(1, 1, 32, 32)
    side = int(np.ceil(32 / factor))
    top = (32 - side) // 2
    large = ndimage.zoom(images[0, 0, top : top + side, top : top + side].numpy(), factor, order=1)
    trim = (len(large) - 32) // 2
    wanted = large[trim : trim + 32, trim : trim + 32]
    np.testing.assert_allclose(sampling.zoomed(images, factor)[0, 0].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize(("angle", "step"), [(0.0, (0, 1)), (90.0, (1, 0)), (45.0, None), (-135.0, None)])
def test_motion_is_a_weighted_line(angle, step):
    images = some(1, 1, 24, 24)
    found = sampling.moved(images, torch.tensor([angle]), 4, 2.0)[0, 0]
    weights = np.exp(-0.5 * (np.arange(9) / 2.0) ** 2)
    weights /= weights.sum()
    if step is None:
        down, along = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        steps = [(np.ceil(i * down - 0.5), np.ceil(i * along - 0.5)) for i in range(9)]
    else:
        steps = [(i * step[0], i * step[1]) for i in range(9)]
    for y, x in ((0, 0), (11, 13), (23, 5)):
        places = [(np.clip(y + a, 0, 23), np.clip(x + b, 0, 23)) for a, b in steps]
        wanted = sum(
            w * float(images[0, 0, int(a), int(b)]) for w, (a, b) in zip(weights, places, strict=True)
        )
        assert float(found[y, x]) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_glass_changes_one_pixel_after_the_other(reach):
    """The groups of pixels that change at once give what a loop over all pixels gives."""
    height, width = 17, 14
    images = some(2, 1, height, width)
    found = blur.glass_blur(images, draws(images), sigma=0.05, reach=reach, times=2)
    order, _ = blur._order(height, width, reach)
    again = draws(images)
    wanted = images.clone()
    for _ in range(2):
        steps = again.integers(2, len(order), low=-reach, high=reach)
        by_pixel = {int(place): steps[:, :, i] for i, place in enumerate(order)}
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                for n, (down, along) in enumerate(by_pixel[y * width + x].tolist()):
                    wanted[n, :, y, x] = wanted[n, :, y + down, x + along]
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_fog_is_a_height_map_by_squares_and_diamonds():
    """Against loops over the points, with the random part left out after the first step."""

    class Once(Draws):
        calls = 0

        def uniform(self, *shape, low=0.0, high=1.0):
            self.calls += 1
            return super().uniform(*shape, low=low, high=high) * (self.calls <= 6)

    images = some(1, 1, 16, 16)
    found = weather.plasma(Once(0, 0, [7], images), 16, 2.0)[0].double().numpy()
    again, size = Once(0, 0, [7], images), 16
    points = np.zeros((size, size))
    step, wobble = size, 1e4
    while step >= 2:
        half, cells = step // 2, size // step
        kicks = [again.uniform(cells, cells, low=-wobble, high=wobble)[0].numpy() for _ in range(3)]
        for kick, (down, along) in zip(kicks, ((half, half), (0, half), (half, 0)), strict=True):
            for i in range(cells):
                for j in range(cells):
                    y, x = i * step + down, j * step + along
                    around = ((-half, -half), (-half, half), (half, -half), (half, half))
                    if (down, along) != (half, half):
                        around = ((-half, 0), (half, 0), (0, -half), (0, half))
                    mean = sum(points[(y + a) % size, (x + b) % size] for a, b in around) / 4
                    points[y, x] = mean + kick[i, j]
        step, wobble = half, wobble / 4
    wanted = (points - points.min()) / (points.max() - points.min())
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_fog_keeps_the_brightest_value():
    images = 0.6 * some(3, 3, 32, 32)
    found = weather.fog(images, draws(images), fog=1.5, decay=2)
    assert (found.amax((1, 2, 3)) <= images.amax((1, 2, 3)) + 1e-6).all()


def test_brightness_is_the_value_of_hsv():
    images = some(1, 3, 6, 6)
    images[..., 0, 0] = 0  # black becomes grey
    found = weather.brightness(images, draws(images), more=0.3)
    for y in range(6):
        for x in range(6):
            hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, y, x].tolist())
            wanted = colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.3))
            assert found[0, :, y, x].tolist() == pytest.approx(wanted, abs=1e-6)


def test_contrast_keeps_the_mean_of_each_channel():
    images = some(2, 3, 16, 16)
    found = digital.contrast(images, draws(images), share=0.25)
    torch.testing.assert_close(found.mean((2, 3)), images.mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3)), 0.25 * images.std((2, 3)))


def test_elastic_transform_moves_what_it_says(monkeypatch):
    """Three corners of a ramp's middle go where they were sent; without an affine part the noise decides."""
    side = 60
    ramp = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")[::-1]).float()
    moves = torch.tensor([[[3.0, -2.0], [1.0, 4.0], [-2.0, 1.5]]])
    back = digital._back(moves, side, side)[0]
    middle, size = side // 2, side // 3
    corners = middle + size * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).double()
    for corner, move in zip(corners, moves[0].double(), strict=True):
        torch.testing.assert_close(back @ torch.cat([corner + move, torch.ones(1)]).double(), corner)
    images = ramp[None] / side
    found = digital.elastic_transform(images, draws(images), alpha=20, sigma=2.0, affine=0)
    uniform = draws(images).uniform(2, side, side, low=-1.0, high=1.0)[0].numpy()
    shift = [20 * ndimage.gaussian_filter(one, 2.0, mode="reflect", truncate=3.0) for one in uniform]
    moved = (found - images)[0].numpy() * side
    inside = slice(10, -10)  # no mirror near
    np.testing.assert_allclose(moved[:, inside, inside], np.stack(shift)[:, inside, inside], atol=1e-3)


def test_jpeg_of_four_channels_is_four_grey_pictures():
    images = some(1, 4, 24, 24)
    found = corrupt(images, "jpeg_compression", 5)
    assert torch.equal(found[:, 1:2], corrupt(images[:, 1:2], "jpeg_compression", 5))


# Against another library -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("elastic_transform", "frost")])
def test_the_figures_are_those_of_imagecorruptions(name):
    """Means and deviations of a photograph at 224 pixels, of 255.

    Elastic transforms of that library are of another kind (see tests/peers), and its frost is a photograph.
    """
    image = corruption_peer.photograph()
    wanted = json.loads(corruption_peer.FILE.read_text())[name]
    exact = name in corruption_peer.EXACT
    for severity in SEVERITIES:
        keys = [0] if exact else range(corruption_peer.DRAWS)
        found = corrupt(image.expand(len(keys), -1, -1, -1), name, severity, keys=keys)
        figures = corruption_peer.figures(found, image)
        loose = {"fog": 12, "snow": 4, "motion_blur": 1}.get(name, 0.5)  # draws differ
        assert figures == pytest.approx(wanted[severity - 1], abs=0.2 if exact else loose), severity
