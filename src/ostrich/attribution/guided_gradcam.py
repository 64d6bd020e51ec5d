"""Guided Grad-CAM: guided backpropagation, seen through Grad-CAM's map.

Selvaraju 2017, section 3.2: fine where guided backpropagation is, and about the unit where Grad-CAM is;
the two are multiplied value by value. It inherits the weakness of the first: what lies inside the
map looks the same for a network whose upper layers are random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ostrich.attribution.gradcam import GradCAM
from ostrich.attribution.guided import Guided
from ostrich.attribution.question import COLOUR, Explainer, Question
from ostrich.attribution.relu_rules import rule_remarks

MISSED = "guided backpropagation brings nothing back where Grad-CAM's map is not zero"


@dataclass(frozen=True, kw_only=True)
class GuidedGradCAM(Explainer):
    """Guided backpropagation times Grad-CAM; signed. The settings are Grad-CAM's.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Grad-CAM: visual explanations from deep networks
    via gradient-based localization", section 3.2.

    layer    the map that is read; found unless given
    grid     rows x columns of a transformer's tokens, such as 14x14; found unless given
    weights  "mean" over the map, or "each" place its own (HiResCAM)
    """

    name: ClassVar[str] = "guided-gradcam"
    relus: ClassVar[bool] = True
    reading: ClassVar[str] = COLOUR

    layer: str | None = None
    grid: str | None = None
    weights: str = "mean"

    def __post_init__(self) -> None:
        self._gradcam()

    def explain(self, question: Question) -> Tensor:
        return self._gradcam().explain(question) * Guided().explain(question)

    def figures(self, question: Question, maps: Tensor) -> list[list[dict[str, Any]]]:
        """What both methods say, and of a map that is zero everywhere which of the two made it so."""
        zero = ~maps.flatten(2).any(2)
        coarse = self._gradcam().explain(question) if zero.any() else maps
        both = self._gradcam().figures(question, coarse), Guided().figures(question, maps)
        found = [[one | other for one, other in zip(*own)] for own in zip(*both)]
        for n, u in (zero & coarse.flatten(2).any(2)).nonzero().tolist():
            found[n][u]["blank"] = MISSED
        return found

    def remarks(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        return self._gradcam().remarks(rows) + rule_remarks(rows)

    def _gradcam(self) -> GradCAM:
        return GradCAM(layer=self.layer, grid=self.grid, weights=self.weights)
