"""How much each pixel counts in a map: one number a pixel, as the method's own reading has it."""

from __future__ import annotations

from torch import Tensor

from ostrich.attribution.question import SIDES, Explainer


def importance(method: Explainer, maps: Tensor) -> Tensor:
    """Maps (..., C, H, W) as (..., H, W).

    Where values speak for the unit or against it, their sum over the channels, signed; else the largest
    absolute value of the channels (Simonyan 2014, section 3.1).
    """
    return maps.sum(-3) if method.reading == SIDES else maps.abs().amax(-3)
