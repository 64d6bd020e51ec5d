"""Gradient times input: what each value of the image adds to the unit, if the unit were linear.

Shrikumar, Greenside, Shcherbina, Kundaje 2016, "Not just a black box". The input is the image in
[0, 1], so black can add nothing, whatever the network's normalisation makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attribution.backward import gradients
from ostrich.attribution.question import SIDES, Explainer, Question


@dataclass(frozen=True, kw_only=True)
class GradientXInput(Explainer):
    """The gradient, each value times that of the image.

    Shrikumar, Greenside, Shcherbina, Kundaje 2016, "Not just a black box".
    """

    name: ClassVar[str] = "gradient-x-input"
    reading: ClassVar[str] = SIDES

    def explain(self, question: Question) -> Tensor:
        return torch.cat([gradients(part) * part.images[:, None] for part in question.parts()])
