"""Attribution: which pixels of an image move a unit.

Every explainer is `explain(classifier, images, units)`: for N images (N, C, H, W) and as many units
it gives a map (N, C, H, W). A new one is one file and its line in `EXPLAINERS`.
"""

from ostrich.attribution.deconvnet import deconvnet
from ostrich.attribution.gradient import gradient
from ostrich.attribution.guided import guided

EXPLAINERS = {"gradient": gradient, "guided": guided, "deconvnet": deconvnet}

__all__ = ["EXPLAINERS", "deconvnet", "gradient", "guided"]
