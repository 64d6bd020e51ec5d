"""What a network's scores say: an answer, or none.

A score of minus infinity is a class that is switched off. NaN, plus infinity, or no finite score at all is no
answer: such an image is neither right nor unbroken.
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_ANSWER = -1  # in the place of a class


def answered(logits: Tensor) -> Tensor:
    """Whether the scores (N, K) are an answer, (N,) bool."""
    wrong = logits.isnan() | logits.isposinf()
    return ~wrong.any(1) & logits.isfinite().any(1)


def predictions(logits: Tensor) -> Tensor:
    """The class with the largest score, int64 (N,); NO_ANSWER where there is none."""
    return torch.where(answered(logits), logits.argmax(1), NO_ANSWER)


def confidence(logits: Tensor) -> Tensor:
    """The softmax probability (N,) of the prediction; 0 where there is none."""
    return torch.where(answered(logits), logits.softmax(1).amax(1), 0.0)


def right(predictions: Tensor, labels: Tensor) -> Tensor:
    """Which predictions (N,) are the labels (N,), (N,) bool; no answer is never right."""
    return (predictions == labels) & (predictions != NO_ANSWER)
