"""What a network's scores say: an answer, or none.

A score of minus infinity, or what a mask writes in its place, is a class that is switched off. NaN, plus
infinity, or no finite score at all is no answer: such an image is neither right nor unbroken.
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_ANSWER = -1  # in the place of a class
MASKED = -9999.0  # masks write -1e4, -65504, -1e9 or the type's least number where they do not write -inf
_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
WRITTEN = torch.tensor(  # what masks write, also where it has been through a smaller type
    sorted(
        {
            torch.tensor(number, dtype=torch.float64).to(kind).double().item()
            for number in (*(-(10.0**k) for k in range(4, 38)), *(torch.finfo(kind).min for kind in _TYPES))
            for kind in _TYPES
        }
    ),
    dtype=torch.float64,
)
FAR = 100.0  # of the largest score, or of 1: a mask lies farther below it


def answered(logits: Tensor) -> Tensor:
    """Whether the scores (N, K) are an answer, (N,) bool."""
    wrong = logits.isnan() | logits.isposinf()
    return ~wrong.any(1) & logits.isfinite().any(1)


def switched_off(logits: Tensor) -> Tensor:
    """Which classes of the scores (N, K) are switched off, (N, K) bool."""
    off = logits.isneginf()
    if not (logits <= MASKED).any():
        return off
    top = logits.amax(1, keepdim=True)
    return off | ((logits <= MASKED) & (top - logits > FAR * top.abs().clamp_min(1)))


def alone(logits: Tensor) -> Tensor:
    """Whether one class stands alone, (N,) bool: all others are switched off, by -inf or by a mask's number.

    Scores that are far below may tie too, as those of a saturated network: at a number that no mask writes,
    or below a log probability of 0.
    """
    others = logits.scatter(1, logits.argmax(1, keepdim=True), -torch.inf)
    best = others.amax(1, keepdim=True)
    mask = (others == best).sum(1, keepdim=True) == logits.shape[1] - 1
    mask &= torch.isin(best.double(), WRITTEN.to(best.device)) & (logits.amax(1, keepdim=True) != 0)
    return (best.isneginf() | (mask & (logits.shape[1] > 2)))[:, 0]


def predictions(logits: Tensor) -> Tensor:
    """The class with the largest score, int64 (N,); NO_ANSWER where there is none."""
    return torch.where(answered(logits), logits.argmax(1), NO_ANSWER)


def confidence(logits: Tensor) -> Tensor:
    """The softmax probability (N,) of the prediction; 0 where there is none."""
    return torch.where(answered(logits), logits.softmax(1).amax(1), 0.0)


def right(predictions: Tensor, labels: Tensor) -> Tensor:
    """Which predictions (N,) are the labels (N,), (N,) bool; no answer is never right."""
    return (predictions == labels) & (predictions != NO_ANSWER)
