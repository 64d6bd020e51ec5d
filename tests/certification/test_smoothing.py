"""Randomised smoothing: what it says holds as often as it says."""

from __future__ import annotations

from math import sqrt

import nets
import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

from ostrich.certification.smoothing import ABSTAINED, lower_share, smoothed
from ostrich.models import Classifier

SETTINGS = {"sigma": 0.25, "draws": 400, "select": 50, "alpha": 0.001, "seed": 0}


def two_classes(margin: float):
    """A linear network of two classes, its boundary `margin` in L2 from the grey image: Phi(margin/sigma)."""
    weights = torch.zeros(2, 3 * 4 * 4)
    weights[0] = 1.0
    length = sqrt(weights.shape[1])
    bias = torch.tensor([margin * length - 0.5 * weights.shape[1], 0.0])
    return nets.linear(weights, (4, 4), 3, bias)


def test_the_bound_covers_the_truth_as_often_as_it_says():
    """Clopper and Pearson's is exact: over all outcomes it is missed with probability alpha at most."""
    alpha, count = 0.001, 1000
    for share in (0.51, 0.8, 0.97):
        misses = [
            binom.pmf(k, count, share) for k in range(count + 1) if lower_share(k, count, alpha) > share
        ]
        assert sum(misses) <= alpha * 1.0001
    assert lower_share(0, 10, alpha) == 0.0
    assert lower_share(10, 10, alpha) == pytest.approx(alpha ** (1 / 10))


def test_what_it_says_holds_in_a_simulation():
    """In 100,000 repetitions, of all probabilities, the bound lies below the truth in at least 99.8 %."""
    draw = np.random.default_rng(0)
    truth = draw.uniform(0.5, 1, 100_000)
    hits = draw.binomial(1000, truth)
    bound = np.array([lower_share(count, 1000, 0.001) for count in range(1001)])[hits]
    assert (bound <= truth).mean() >= 0.998
    assert (bound <= truth).mean() < 1  # of so many, some are missed: the statement is no looser than it says


def test_radii_are_below_the_truth_and_near():
    image, truth = torch.full((3, 4, 4), 0.5), 0.3
    model = two_classes(truth)
    radii = [smoothed(model, image, key, **SETTINGS) for key in range(40)]
    assert {found for found, _ in radii} == {0}
    assert max(radius for _, radius in radii) <= truth
    middle = sum(radius for _, radius in radii) / len(radii)
    share = norm.cdf(truth / 0.25)
    expected = 0.25 * norm.ppf(lower_share(round(400 * share), 400, 0.001))
    assert middle == pytest.approx(expected, abs=0.03)


def test_at_the_boundary_it_abstains():
    found = [smoothed(two_classes(0.0), torch.full((3, 4, 4), 0.5), key, **SETTINGS) for key in range(20)]
    assert set(found) == {(ABSTAINED, 0.0)}


def test_noise_is_the_images_own():
    image = torch.full((3, 4, 4), 0.5)
    once = smoothed(two_classes(0.2), image, 7, **SETTINGS)
    assert smoothed(two_classes(0.2), image, 7, **SETTINGS) == once
    assert len({smoothed(two_classes(0.2), image, key, **SETTINGS)[1] for key in range(5)}) > 1


def test_no_answer_is_said_for_no_class():
    def silent(images):  # all but the grey image itself, whose class is 1, get no answer
        scores = torch.tensor([0.0, 1.0]).repeat(len(images), 1)
        scores[(images != 0.5).flatten(1).any(1)] = torch.nan
        return scores

    model = Classifier(silent, size=(4, 4), channels=3)
    assert smoothed(model, torch.full((3, 4, 4), 0.5), 0, **SETTINGS) == (ABSTAINED, 0.0)
