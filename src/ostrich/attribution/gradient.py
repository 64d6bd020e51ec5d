"""The gradient of a unit with respect to the image.

Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.networks import untouched
from ostrich.units import Unit, parse, resolve, values

Compute = Callable[[Tensor, list[Unit]], Tensor]  # images (N, C, H, W), U units: their values (U, N)


def gradient(classifier: Classifier, images: Tensor, units: Sequence[Unit | str]) -> Tensor:
    """The derivative (N, C, H, W) of units[i] at images[i]; one unit for each of the N images.

    Raises InputError for a prediction function, which has no gradient.
    """
    return backpropagated(
        classifier, images, units, lambda inputs, distinct: values(classifier, inputs, distinct)
    )


def backpropagated(
    classifier: Classifier, images: Tensor, units: Sequence[Unit | str], compute: Compute
) -> Tensor:
    """What comes back (N, C, H, W) from units[i] to images[i] through the graph that `compute` builds.

    The network is as it was afterwards. Raises InputError for units that do not exist, or on which
    the image has no differentiable effect.
    """
    pictures.check(images)
    parsed = [parse(unit) if isinstance(unit, str) else unit for unit in units]
    if len(parsed) != len(images):
        raise InputError(f"{len(images)} images need as many units; got {len(parsed)}.")
    if classifier.access != "gradient":
        raise InputError(f"{classifier.name} is only a prediction function: it has no gradient.")
    if not parsed:
        return images.clone()
    distinct = list(dict.fromkeys(parsed))
    with untouched(classifier.network), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        try:
            computed = compute(leaf.clone(), distinct)  # a clone: a network may change its input in place
        except (AttributeError, IndexError):
            for unit in distinct:  # an unknown layer or channel is answered in words
                resolve(classifier, unit)
            raise
        rows = torch.tensor([distinct.index(unit) for unit in parsed], device=images.device)
        total = computed[rows, torch.arange(len(images), device=images.device)].sum()
        found = None
        if total.requires_grad:
            (found,) = torch.autograd.grad(total, leaf, allow_unused=True)
    if found is None:
        raise InputError(
            f"{classifier.name} cuts the gradient between the image and {', '.join(map(str, distinct[:3]))}: "
            "nothing differentiable leads there."
        )
    return found
