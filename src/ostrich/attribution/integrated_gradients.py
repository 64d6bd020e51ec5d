"""Integrated Gradients: the gradient, averaged on the way from an image that says nothing to the image.

Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", section 3: with the baseline b,

    IG = (x - b) * integral over a from 0 to 1 of the gradient at b + a (x - b)

whose sum is the unit's value at the image less that at the baseline, up to the error of the sum that
takes the integral's place:

    gauss-legendre   exact for polynomials up to degree 2 * steps - 1
    trapezoid        both ends of the way with half the weight
    right            the paper's sum, equation 3: the ends of `steps` equal pieces
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ostrich.attribution.backward import weighted
from ostrich.attribution.question import SIDES, Explainer, Question
from ostrich.errors import InputError, UnknownName

RULES = ("gauss-legendre", "trapezoid", "right")


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Explainer):
    """(x - b) times the mean gradient on the straight way from b to x."""

    name: ClassVar[str] = "integrated-gradients"
    reading: ClassVar[str] = SIDES

    steps: int = 50  # gradients an image; the paper: 20 to 300
    baseline: float = 0.0  # grey level of b, in [0, 1]; 0 is black, the paper's choice for images
    rule: str = "gauss-legendre"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UnknownName("rule of integrated-gradients", self.rule, RULES)
        least = 2 if self.rule == "trapezoid" else 1
        if self.steps < least:
            raise InputError(f"steps is at least {least} for the rule {self.rule}; got {self.steps}.")
        if not 0 <= self.baseline <= 1:
            raise InputError(f"baseline is a grey level from 0 to 1; got {self.baseline}.")

    def explain(self, question: Question) -> Tensor:
        places, weights = points(self.rule, self.steps)
        images = question.images
        way = images - self.baseline
        baseline = torch.full_like(images[0], self.baseline)
        mean = weighted(question, weights, lambda n, k: baseline + places[k] * way[n])
        return mean * way[:, None]

    def brief(self) -> Self:
        return replace(self, steps=1, rule="right")


def points(rule: str, steps: int) -> tuple[list[float], list[float]]:
    """Places in [0, 1] at which a rule takes the gradient, and their weights, whose sum is 1."""
    if rule == "gauss-legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return ((1 + nodes) / 2).tolist(), (weights / 2).tolist()
    if rule == "trapezoid":
        ends = [0.5 if k in (0, steps - 1) else 1.0 for k in range(steps)]
        return [k / (steps - 1) for k in range(steps)], [end / (steps - 1) for end in ends]
    return [(k + 1) / steps for k in range(steps)], [1 / steps] * steps
