"""The gradient of a unit with respect to the image: what the smallest change would do.

Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ostrich.attribution.backward import gradients
from ostrich.attribution.question import Explainer, Question


@dataclass(frozen=True, kw_only=True)
class Gradient(Explainer):
    """The derivative of the unit by each value of the image.

    Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", section 3.
    """

    name: ClassVar[str] = "gradient"

    def explain(self, question: Question) -> Tensor:
        return torch.cat([gradients(part) for part in question.parts()])
