"""The gradient of a unit with respect to the image: what the smallest change would do.

Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attribution.backward import gradients
from ostrich.attribution.question import Explainer, Question, paired
from ostrich.inspection.units import Unit
from ostrich.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Gradient(Explainer):
    """The derivative of the unit by each value of the image."""

    name: ClassVar[str] = "gradient"

    def explain(self, question: Question) -> Tensor:
        return torch.cat([gradients(part) for part in question.parts()])


def gradient(classifier: Classifier, images: Tensor, units: Sequence[Unit | str]) -> Tensor:
    """The derivative (N, C, H, W) of units[i] at images[i]; one unit for each of the N images."""
    return paired(Gradient(), classifier, images, units)
