"""The gradient of a unit with respect to the image.

Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier, untouched
from ostrich.units import Unit, parse, values


def gradient(classifier: Classifier, images: Tensor, units: Sequence[Unit | str]) -> Tensor:
    """The derivative (N, C, H, W) of units[i] at images[i]; one unit for each of the N images.

    Raises InputError for a prediction function, which has no gradient.
    """
    pictures.check(images)
    parsed = [parse(unit) if isinstance(unit, str) else unit for unit in units]
    if len(parsed) != len(images):
        raise InputError(f"{len(images)} images need as many units; got {len(parsed)}.")
    if classifier.access != "gradient":
        raise InputError(f"{classifier.name} is only a prediction function: it has no gradient.")
    distinct = list(dict.fromkeys(parsed))
    with untouched(classifier), torch.enable_grad():
        inputs = images.detach().clone().requires_grad_(True)
        computed = values(classifier, inputs, distinct)  # (U, N)
        rows = torch.tensor([distinct.index(unit) for unit in parsed], device=images.device)
        total = computed[rows, torch.arange(len(images), device=images.device)].sum()
        (found,) = torch.autograd.grad(total, inputs)
    return found
