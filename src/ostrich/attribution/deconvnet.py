"""Deconvnet: back through a ReLU passes what is positive, whether or not the ReLU was open.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1:
unpooling with the switches of the image's own forward, a ReLU on the way back, transposed filters.
The rule and what it reaches: `relu_rules.py`. As in every implementation by gradients, a layer of
normalisation passes its derivative, where the paper's network had local contrast normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ostrich.attribution.relu_rules import DECONVNET, backpropagated_by
from ostrich.models.classifier import Classifier
from ostrich.units import Unit


def deconvnet(classifier: Classifier, images: Tensor, units: Sequence[Unit | str]) -> Tensor:
    """The deconvnet's projection (N, C, H, W) of units[i] to images[i]; signed.

    Raises InputError for a prediction function, and for a network whose activations are no ReLUs.
    """
    return backpropagated_by(DECONVNET, classifier, images, units)
