"""Attributions as pictures.

An attribution has no natural scale, so each picture is scaled by itself: at the size that only one
value in two hundred, zeros apart, exceeds it is white, or full colour.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attribution.question import COLOUR, SIDES, Explainer

SATURATED = 0.005
FOR, AGAINST = (0.85, 0.1, 0.1), (0.1, 0.25, 0.85)  # red and blue
DIM = 0.35, 0.5  # of the grey image under the colours: its black, and what white adds


def picture(method: Explainer | type[Explainer], found: Tensor, image: Tensor) -> Tensor:
    """The picture (1 or 3, H, W) in [0, 1] of a map (C, H, W), in the form that the method's papers use.

    Gradients by their size; what looks like a picture in its colours; what speaks for or against the
    unit in red and blue over the image. What is not finite is drawn as zero.
    """
    found = torch.where(found.isfinite(), found, 0)
    if method.reading == SIDES:
        return sides(found, image)
    return signed(found) if method.reading == COLOUR else magnitude(found)


def magnitude(found: Tensor) -> Tensor:
    """The largest absolute value of the channels, (1, H, W): black is zero (Simonyan 2014, section 3.1)."""
    size = found.abs().amax(0, keepdim=True)
    return (size / _scale(size)).clamp(0, 1)


def signed(found: Tensor) -> Tensor:
    """The map itself, (C, H, W), around middle grey."""
    return (0.5 + 0.5 * found / _scale(found)).clamp(0, 1)


def sides(found: Tensor, image: Tensor) -> Tensor:
    """The sum over the channels in colour, (3, H, W), over the grey image: red for the unit, blue against."""
    total = found.sum(0, keepdim=True)
    share = (total / _scale(total)).clamp(-1, 1)
    red, blue = (share.new_tensor(side).view(3, 1, 1) for side in (FOR, AGAINST))
    colour = torch.where(share > 0, red, blue)
    grey = DIM[0] + DIM[1] * image.to(share).mean(0, keepdim=True)
    return grey + share.abs() * (colour - grey)


def _scale(found: Tensor) -> Tensor:
    sizes = found.abs()
    ordered = sizes[sizes > 0].sort().values  # a neuron sees a part of the image only: zeros do not count
    return ordered[int((1 - SATURATED) * (len(ordered) - 1))] if len(ordered) else found.new_ones(())
