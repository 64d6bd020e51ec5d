"""Attribution: which pixels of an image move a unit.

`explain(method, classifier, images, units)` gives maps (N, U, C, H, W). A method is a frozen
dataclass of settings with `explain(question)`; a new one is one file and its line in EXPLAINERS.
"""

from ostrich.attribution.deconvnet import Deconvnet, deconvnet
from ostrich.attribution.gradient import Gradient, gradient
from ostrich.attribution.guided import Guided, guided
from ostrich.attribution.question import Explainer, Question, explain

EXPLAINERS: dict[str, type[Explainer]] = {m.name: m for m in (Gradient, Deconvnet, Guided)}

__all__ = [
    "EXPLAINERS",
    "Deconvnet",
    "Explainer",
    "Gradient",
    "Guided",
    "Question",
    "deconvnet",
    "explain",
    "gradient",
    "guided",
]
