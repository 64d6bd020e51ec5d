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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ostrich.attribution.backward import weighted
from ostrich.attribution.question import SIDES, Explainer, Question
from ostrich.errors import InputError, UnknownName
from ostrich.inspection.units import values

GAP = 0.05  # of completeness, from which on it is said
ROUNDED = 1e-4  # of a unit's value: a sum so near to 0 is no miss where the unit does not change
FIGURES = ("sum", "change", "completeness_gap")
RULES = ("gauss-legendre", "trapezoid", "right")


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Explainer):
    """(x - b) times the mean gradient on the straight way from a baseline b to x.

    Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", section 3.

    steps     gradients an image; the paper: 20 to 300
    baseline  grey level of b, in [0, 1]; 0 is black, the paper's choice for images
    rule      of the sum in the place of the integral: "gauss-legendre", "trapezoid" or "right"

    Raises UnknownName for another rule, InputError for too few steps and for a baseline that is no grey
    level.
    """

    name: ClassVar[str] = "integrated-gradients"
    reading: ClassVar[str] = SIDES

    steps: int = 50
    baseline: float = 0.0
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

    @torch.no_grad()
    def figures(self, question: Question, maps: Tensor) -> list[list[dict[str, Any]]]:
        """By how much the sum of a map misses the unit's change from the baseline, as a part of that.

        None where the unit does not change, or where one of them is not finite; that is None itself.
        """
        images, rows = question.images, question.rows
        baseline = torch.full_like(images[:1], self.baseline)
        start = values(question.classifier, baseline, question.units)[:, 0]  # (D,)
        parts = [values(question.classifier, part.images.clone(), part.units) for part in question.parts()]
        change = torch.cat(parts, 1).T.gather(1, rows).double() - start[rows].double()  # (N, U)
        total = maps.flatten(2).double().sum(2)
        gap = (total - change).abs() / change.abs()
        return [
            [
                {name: value if isfinite(value) else None for name, value in zip(FIGURES, one)}
                for one in zip(*own)
            ]
            for own in zip(total.tolist(), change.tolist(), gap.tolist())
        ]

    def remarks(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        each = [[row["figures"][name] for name in FIGURES] for row in rows]
        wide = [gap for _, _, gap in each if gap is not None and gap > GAP]
        unmoved = sum(change == 0 and total is not None and abs(total) > ROUNDED for total, change, _ in each)
        unknown = sum(total is None or change is None for total, change, _ in each)
        raised = f"raise the steps, --set steps={4 * self.steps}."
        said = super().remarks(rows)
        if wide:
            said.append(
                f"{len(wide)} of {len(rows)} maps miss completeness by more than {100 * GAP:.0f} % of the "
                f"unit's change from the baseline, at most by {100 * max(wide):.0f} %: {raised}"
            )
        if unmoved:
            said.append(
                f"{unmoved} of {len(rows)} maps miss completeness: their sum is not 0, while the unit has at "
                f"the image the value that it has at the baseline: {raised}"
            )
        if unknown:
            said.append(
                f"Whether {unknown} of {len(rows)} maps are complete is not known: their sum, or the unit at "
                "the image or at the baseline, is not finite."
            )
        return said

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
