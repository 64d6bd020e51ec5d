"""Guided backpropagation: back through a ReLU passes what is positive, where the ReLU was open.

Springenberg, Dosovitskiy, Brox, Riedmiller 2015, "Striving for simplicity: the all convolutional
net", section 3.4. The rule and what it reaches: `relu_rules.py`. Its pictures are sharp, and say
less of the class than they seem to: they hardly change when the upper layers are made random
(Adebayo 2018, "Sanity checks for saliency maps").
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ostrich.attribution.relu_rules import GUIDED, backpropagated_by
from ostrich.models.classifier import Classifier
from ostrich.units import Unit


def guided(classifier: Classifier, images: Tensor, units: Sequence[Unit | str]) -> Tensor:
    """Guided backpropagation (N, C, H, W) of units[i] to images[i]; signed.

    Raises InputError for a prediction function, and for a network whose activations are no ReLUs.
    """
    return backpropagated_by(GUIDED, classifier, images, units)
