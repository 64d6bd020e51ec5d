"""Deconvnet: back through a ReLU passes what is positive, whether or not the ReLU was open.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1:
unpooling with the switches of the image's own forward, a ReLU on the way back, transposed filters.
The rule and what it reaches: `relu_rules.py`. As in every implementation by gradients, a layer of
normalisation passes its derivative, where the paper's network had local contrast normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ostrich.attribution.question import COLOUR, Explainer, Question
from ostrich.attribution.relu_rules import DECONVNET, by_rule, other_nonlinearities, rule_remarks


@dataclass(frozen=True, kw_only=True)
class Deconvnet(Explainer):
    """The projection of a unit to the image through the transposed network; signed.

    Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1.
    """

    name: ClassVar[str] = "deconvnet"
    relus: ClassVar[bool] = True
    reading: ClassVar[str] = COLOUR

    def explain(self, question: Question) -> Tensor:
        return by_rule(DECONVNET, question)

    def figures(self, question: Question, maps: Tensor) -> list[list[dict[str, Any]]]:
        found = other_nonlinearities(DECONVNET, question)
        return [[{"beside_rectifiers": found} for _ in own] for own in maps]

    def remarks(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        return super().remarks(rows) + rule_remarks(rows)
