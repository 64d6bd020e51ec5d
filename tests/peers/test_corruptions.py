"""Agreement of the common corruptions with imagecorruptions, pixel by pixel where nothing is random."""

from __future__ import annotations

import corruption_peer
import pytest
import torch

from benchmarks import corruptions as peers
from ostrich.corruptions import NAMES, SEVERITIES, corrupt, digital
from ostrich.corruptions.draws import Draws

pytestmark = pytest.mark.peers

try:
    peers.peer()
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    return peers.photographs()


@pytest.mark.parametrize("name", peers.EXACT)
def test_what_is_not_random_is_equal(name, photographs):
    for severity in SEVERITIES:
        theirs = peers.corrupted(photographs, name, severity)
        difference = 255 * (corrupt(photographs, name, severity) - theirs).abs()
        assert difference.mean() < 0.1, severity


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "glass_blur"])
def test_random_pixels_have_one_distribution(name, photographs):
    """The mean and the root mean square of the change, over all pixels of two photographs."""
    corruption_peer.seed(0)
    for severity in SEVERITIES:
        images = photographs[:2]
        changes = [
            255 * (found - images)
            for found in (corrupt(images, name, severity), peers.corrupted(images, name, severity))
        ]
        ours, theirs = ([float(c.mean()), float(c.square().mean().sqrt())] for c in changes)
        assert ours == pytest.approx(theirs, abs=0.5), severity


@pytest.mark.parametrize(("name", "level"), [("motion_blur", 2), ("snow", 4), ("fog", 12), ("frost", 12)])
def test_random_layers_have_one_distribution(name, level, photographs):
    """The same over five draws of eight photographs; `level` is what the means may differ by, of 255."""
    corruption_peer.seed(0)
    for severity in (1, 3, 5):
        theirs = torch.cat([peers.corrupted(photographs, name, severity) for _ in range(5)])
        ours = torch.cat([corrupt(photographs, name, severity, seed=seed) for seed in range(5)])
        assert 255 * ours.mean() == pytest.approx(255 * theirs.mean(), abs=level)
        spread = [255 * float(one.std((2, 3)).mean()) for one in (ours, theirs)]
        assert spread[0] == pytest.approx(spread[1], abs=level / 2)


def test_elastic_transform_with_their_settings(photographs):
    """Theirs has other settings than ImageNet-C, and no affine part. With these it is one distribution."""
    corruption_peer.seed(0)
    for severity, share in zip(SEVERITIES, (0.05, 0.065, 0.085, 0.1, 0.12), strict=True):
        theirs = peers.corrupted(photographs, "elastic_transform", severity)
        draws = Draws(0, 0, range(len(photographs)), photographs)
        alpha = 250 * share * 224 * 0.005
        ours = digital.elastic_transform(photographs, draws, alpha=alpha, sigma=2.24, affine=0)
        changes = [255 * float((found - photographs).square().mean().sqrt()) for found in (ours, theirs)]
        assert changes[0] == pytest.approx(changes[1], rel=0.05)


def test_every_corruption_has_its_peer():
    assert all(hasattr(peers.peer(), name) for name in NAMES)
