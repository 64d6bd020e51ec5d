"""Attribution: which pixels of an image move a unit.

`explain(method, classifier, images, units)` gives maps (N, U, C, H, W). A method is a frozen
dataclass of settings with `explain(question)`; a new one is one file and its line in EXPLAINERS.
"""

from ostrich.attribution.deconvnet import Deconvnet
from ostrich.attribution.gradcam import GradCAM
from ostrich.attribution.gradient import Gradient
from ostrich.attribution.gradient_x_input import GradientXInput
from ostrich.attribution.guided import Guided
from ostrich.attribution.guided_gradcam import GuidedGradCAM
from ostrich.attribution.integrated_gradients import IntegratedGradients
from ostrich.attribution.occlusion import Occlusion
from ostrich.attribution.question import EXPLAINERS, Explainer, Question, explain, figures, paired
from ostrich.attribution.rollout import Rollout
from ostrich.attribution.smoothgrad import SmoothGrad

_METHODS: tuple[type[Explainer], ...] = (
    Gradient,
    GradientXInput,
    Deconvnet,
    Guided,
    IntegratedGradients,
    SmoothGrad,
    GradCAM,
    GuidedGradCAM,
    Occlusion,
    Rollout,
)
EXPLAINERS.update({method.name: method for method in _METHODS})

__all__ = [
    "EXPLAINERS",
    "Deconvnet",
    "Explainer",
    "GradCAM",
    "Gradient",
    "GradientXInput",
    "Guided",
    "GuidedGradCAM",
    "IntegratedGradients",
    "Occlusion",
    "Question",
    "Rollout",
    "SmoothGrad",
    "explain",
    "figures",
    "paired",
]
