"""Calibration, of networks whose true calibration is known: labels are drawn from their own probabilities."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch

import ostrich
from ostrich.diagnosis.calibration import (
    calibration_error,
    energy,
    max_softmax,
    negative_log_likelihood,
    reliability,
    roc_area,
    temperature,
)
from ostrich.statistics import wilson


def logits_of(count: int, generator: torch.Generator, classes: int = 10) -> torch.Tensor:
    return 2 * torch.randn(count, classes, generator=generator, dtype=torch.float64)


def calibrated(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, K) and labels (N,) that are drawn from their softmax."""
    generator = torch.Generator().manual_seed(seed)
    logits = logits_of(count, generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


@cache
def true_error(scale: float) -> float:
    """E |P(right | confidence) - confidence|, in 200 bins of many images; P(right) is known of each."""
    logits = logits_of(400_000, torch.Generator().manual_seed(99))
    chance = logits.softmax(1).amax(1)
    confidence = (scale * logits).softmax(1).amax(1)
    gap = (confidence - chance)[confidence.argsort()]
    return float(gap.view(200, -1).mean(1).abs().mean())


def error_of(logits, labels, seed=0):
    return calibration_error(logits.softmax(1).amax(1), logits.argmax(1) == labels, seed=seed)


def test_of_a_network_that_is_twice_too_sure_the_temperature_is_found():
    logits, labels = calibrated(4000, seed=1)
    assert temperature(2 * logits, labels) == pytest.approx(2, rel=0.05)
    assert temperature(logits, labels) == pytest.approx(1, rel=0.05)
    found = temperature(2 * logits, labels)
    least = negative_log_likelihood(2 * logits / found, labels)
    for other in (0.9, 0.99, 1.01, 1.1):
        assert negative_log_likelihood(2 * logits / (other * found), labels) > least


def test_a_class_that_is_switched_off_changes_no_temperature():
    logits, labels = calibrated(400, seed=1)
    off = torch.nn.functional.pad(logits, (0, 2), value=-math.inf)
    assert temperature(2 * off, labels) == pytest.approx(temperature(2 * logits, labels))


@pytest.mark.parametrize("count", [100, 500])
@pytest.mark.parametrize("scale", [1, 2, 0.5])
def test_the_interval_covers_the_true_error(scale, count):
    """In 93 of 100 resamples where the network is too sure; of 200, for chance is 2 of 100 there."""
    truth = true_error(scale) if scale != 1 else 0.0
    found = [error_of(scale * z, y) for z, y in (calibrated(count, seed) for seed in range(200))]
    covered = sum(one.low <= truth <= one.high for one in found) / len(found)
    assert covered >= (0.93 if scale == 2 else 0.90)
    mean = sum(one.value for one in found) / len(found)
    assert mean == pytest.approx(truth, abs=0.04 if scale == 1 else 0.02)  # it is never below 0
    assert sum(one.binned for one in found) / len(found) > mean  # what is too large


def test_the_error_by_hand():
    """One bin: the network is 90 % sure and right on half of the images."""
    confidence = torch.full((40,), 0.9)
    correct = torch.arange(40) % 2 == 0
    found = calibration_error(confidence, correct)
    assert found.value == pytest.approx(0.4)
    assert found.binned == pytest.approx(0.4)
    assert found.bins == 1
    assert found.high - found.value == pytest.approx(1.96 * 0.5064 / math.sqrt(40), rel=1e-3)
    assert [(b.count, b.accuracy) for b in reliability(confidence, correct)] == [(40, 0.5)]
    with pytest.raises(ostrich.InputError, match="two images"):
        calibration_error(confidence[:1], correct[:1])


@pytest.mark.parametrize("sure", [0.6, 0.9999, 1.0])
@pytest.mark.parametrize("right", [True, False])
def test_where_all_or_none_are_right_the_error_may_be_what_the_share_right_may_be(sure, right):
    confidence, correct = torch.full((16,), sure), torch.full((16,), right)
    found = calibration_error(confidence, correct)
    assert found.value == pytest.approx(abs(sure - right), abs=1e-6)
    shares = torch.linspace(*wilson(16 * right, 16), 10_001, dtype=torch.float64)
    errors = (sure - shares).abs()
    assert (found.low, found.high) == pytest.approx((float(errors.min()), float(errors.max())), abs=1e-4)
    assert found.high - found.low > 0.15


def test_the_reliability_diagram_counts_every_image_once():
    confidence = torch.tensor([0.0, 0.05, 0.5, 0.51, 1.0])
    correct = torch.tensor([False, True, True, False, True])
    found = reliability(confidence, correct, bins=10)
    assert [one.count for one in found] == [2, 2, 1]
    assert [one.accuracy for one in found] == [0.5, 0.5, 1.0]
    assert found[0].confidence == pytest.approx(0.025)


def test_without_a_wrong_image_it_may_be_as_sure_as_it_likes():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert temperature(logits, torch.tensor([0, 1])) == pytest.approx(1e-3)
    assert temperature(logits, torch.tensor([1, 0])) == pytest.approx(1e3)
    with pytest.raises(ostrich.InputError, match="got none"):
        temperature(logits[:0], torch.tensor([], dtype=torch.int64))


def test_scores_of_what_is_known():
    logits = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    assert max_softmax(logits).tolist() == pytest.approx([1 / (1 + math.exp(-3)), 0.5])
    assert energy(logits).tolist() == pytest.approx([math.log(math.exp(3) + 1), math.log(2)])


def test_area_under_roc_is_the_share_of_pairs_in_order():
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(40, generator=generator).round(decimals=1) + 1
    unknown = torch.randn(30, generator=generator).round(decimals=1)
    pairs = [(a > b) + 0.5 * (a == b) for a in known.tolist() for b in unknown.tolist()]
    area, low, high = roc_area(known, unknown)
    assert area == pytest.approx(sum(pairs) / len(pairs))
    assert 0 < low < area < high < 1
    assert roc_area(unknown, known)[0] == pytest.approx(1 - area)
    best = roc_area(known + 100, unknown)
    assert (best[0], best[2]) == (1, 1)
    assert best[1] < 0.95  # thirty that are apart do not prove it of all
    same = roc_area(torch.ones(16), torch.ones(30))  # as of a softmax that is 1 of everything
    assert same == (0.5, *wilson(8, 16))
    with pytest.raises(ostrich.InputError, match="two scores a side"):
        roc_area(known[:1], unknown)


def test_its_interval_covers_the_true_area():
    """Of normal scores a deviation apart, Phi(1 / sqrt 2) = 0.7602."""
    covered = 0
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        known, unknown = torch.randn(2, 60, generator=generator, dtype=torch.float64)
        _, low, high = roc_area(known + 1, unknown)
        covered += low <= 0.76025 <= high
    assert covered >= 184
