"""A score of minus infinity is a class that is switched off, not a broken answer."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from ostrich.diagnosis import outputs
from ostrich.diagnosis.model_under_test import ModelUnderTest
from ostrich.models import Classifier


class Masked(nn.Module):
    """The means of three channels, and two classes that are switched off."""

    def forward(self, x: Tensor) -> Tensor:
        scores = 20 * x.mean((2, 3))
        return torch.cat([scores, torch.full_like(scores[:, :2], -torch.inf)], 1)


def test_classes_that_are_switched_off_are_no_fault():
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = ModelUnderTest(classifier=Classifier(Masked(), size=(8, 8), channels=3), images=images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for check in (
            outputs.finite,
            outputs.stochastic,
            outputs.batch_dependent,
            outputs.constant,
            outputs.probabilities,
        ):
            assert [finding.code for finding in check(model)] == []
    assert len(model.images) == 20
