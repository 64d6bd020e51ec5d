"""Agreement of the measures and of the great circle with torch-fidelity, on the same numbers.

    torch-fidelity 0.4   the statistics behind FID, KID, precision and recall; slerp

Before 0.4.0 its precision and recall were swapped in git versions; input 1 is the generated side.
`make test-peers` runs this where it is installed.
"""

from __future__ import annotations

import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor

from ostrich.generative.codes import great_circle
from ostrich.generative.frechet import (
    classifier_score,
    frechet_distance,
    kernel_distance,
    precision_recall,
)

pytestmark = pytest.mark.peers


def peer(part: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own are not ours to mend
        return pytest.importorskip(f"torch_fidelity.{part}", reason="torch-fidelity is not installed here")


def features(count: int, width: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=draw, dtype=torch.float64) * (1 + seed) + 0.2 * seed


@pytest.mark.parametrize("count", [300, 20])  # 20 points in 30 dimensions: singular covariances
def test_frechet_distance(count):
    library = peer("metric_fid")
    a, b = features(count, 30, 0), features(count, 30, 1)
    stats = [library.fid_features_to_statistics(x) for x in (a, b)]
    expected = library.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance():
    """Of one subset that is the whole: the estimate ours makes."""
    library = peer("metric_kid")
    a, b = features(150, 12, 0), features(150, 12, 1)
    found = library.kid_features_to_metric(
        a, b, kid_subsets=1, kid_subset_size=150, rng_seed=2020, verbose=False
    )
    assert kernel_distance(a, b) == pytest.approx(found["kernel_inception_distance_mean"], rel=1e-9)


def test_precision_and_recall():
    library = peer("metric_prc")
    generated, real = features(200, 8, 0), features(250, 8, 1)
    found = library.prc_features_to_metric(generated, real, prc_neighborhood=3, verbose=False)
    expected = (found["precision"], found["recall"])  # shares of 200 and 250, in its fp32
    assert precision_recall(generated, real) == pytest.approx(expected, abs=1e-6)


def test_classifier_score():
    library = peer("metric_isc")
    logits = features(100, 6, 1)
    found = library.isc_features_to_metric(logits, splits=10, shuffle=False)
    mean, deviation = classifier_score(logits, 10)
    assert mean == pytest.approx(found["inception_score_mean"], rel=1e-6)
    assert deviation == pytest.approx(found["inception_score_std"], rel=1e-6)


def test_the_great_circle():
    library = peer("noise")
    a, b = features(40, 9, 0), features(40, 9, 1)
    b[:3] = 2 * a[:3]  # parallel: a straight line
    for share in (0.0, 0.2, 0.5, 1.0):
        assert torch.allclose(great_circle(a, b, share), library.batch_slerp_any(a, b, share), atol=1e-6)
