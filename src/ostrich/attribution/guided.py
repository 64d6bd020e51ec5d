"""Guided backpropagation: back through a ReLU passes what is positive, where the ReLU was open.

Springenberg, Dosovitskiy, Brox, Riedmiller 2015, "Striving for simplicity: the all convolutional
net", section 3.4. The rule and what it reaches: `relu_rules.py`. Its pictures are sharp, and say
less of the class than they seem to: they hardly change when the upper layers are made random
(Adebayo 2018, "Sanity checks for saliency maps"). Negative values come from the layer below the
lowest ReLU, behind which no rule is applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ostrich.attribution.question import COLOUR, Explainer, Question
from ostrich.attribution.relu_rules import GUIDED, by_rule, other_nonlinearities, rule_remarks


@dataclass(frozen=True, kw_only=True)
class Guided(Explainer):
    """What comes back to the image where only support passes the ReLUs; signed.

    Springenberg, Dosovitskiy, Brox, Riedmiller 2015, "Striving for simplicity: the all convolutional net",
    section 3.4.
    """

    name: ClassVar[str] = "guided"
    relus: ClassVar[bool] = True
    reading: ClassVar[str] = COLOUR

    def explain(self, question: Question) -> Tensor:
        return by_rule(GUIDED, question)

    def figures(self, question: Question, maps: Tensor) -> list[list[dict[str, Any]]]:
        found = other_nonlinearities(GUIDED, question)
        return [[{"beside_rectifiers": found} for _ in own] for own in maps]

    def remarks(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        return super().remarks(rows) + rule_remarks(rows)
