"""Attributions as pictures.

An attribution has no natural scale, so each picture is scaled by itself: at the size that only one
value in two hundred, zeros apart, exceeds it is white, or full colour.
"""

from __future__ import annotations

from torch import Tensor

COLOURED = ("guided", "deconvnet")  # shown in colour by their papers; the gradient by its size
SATURATED = 0.005


def picture(explainer: str, found: Tensor) -> Tensor:
    """The picture (C, H, W) or (1, H, W) in [0, 1] in which the method's paper shows a map (C, H, W)."""
    return signed(found) if explainer in COLOURED else magnitude(found)


def magnitude(found: Tensor) -> Tensor:
    """The largest absolute value of the channels, (1, H, W): black is zero (Simonyan 2014, section 3.1)."""
    size = found.abs().amax(0, keepdim=True)
    return (size / _scale(size)).clamp(0, 1)


def signed(found: Tensor) -> Tensor:
    """The map itself, (C, H, W), around middle grey."""
    return (0.5 + 0.5 * found / _scale(found)).clamp(0, 1)


def _scale(found: Tensor) -> Tensor:
    sizes = found.abs()
    ordered = sizes[sizes > 0].sort().values  # a neuron sees a part of the image only: zeros do not count
    return ordered[int((1 - SATURATED) * (len(ordered) - 1))] if len(ordered) else found.new_ones(())
