"""Maps that know nothing of the network, to hold beside those of a method.

An edge detector looks like an explanation and is none: a method whose curves are an edge detector's
says what is in the image, not what the network makes of it (Adebayo 2018, section 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.attribution.question import Explainer, Question, keys
from ostrich.runtime.randomness import keyed

PURPOSE = 0x434F  # of random numbers
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Edges(Explainer):
    """The size of the Sobel gradient of the grey image; the same for every unit and every network."""

    name: ClassVar[str] = "edges"
    needs: ClassVar[str] = "scores"

    def explain(self, question: Question) -> Tensor:
        grey = F.pad(question.images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across = grey.new_tensor(SOBEL)
        slopes = F.conv2d(grey, torch.stack([across, across.T])[:, None])
        return _for_all(question, slopes.norm(dim=1))


@dataclass(frozen=True, kw_only=True)
class Noise(Explainer):
    """Random numbers, keyed by seed and image; the same for every unit."""

    name: ClassVar[str] = "noise"
    needs: ClassVar[str] = "scores"

    def explain(self, question: Question) -> Tensor:
        size = question.images.shape[2:]
        drawn = [
            torch.rand(size, generator=keyed(question.seed, PURPOSE, key)) for key in keys(question.images)
        ]
        return _for_all(question, torch.stack(drawn).to(question.images))


def _for_all(question: Question, maps: Tensor) -> Tensor:
    """Maps (N, H, W) for every unit and channel."""
    images, units = question.images, question.rows.shape[1]
    return maps[:, None, None].expand(-1, units, images.shape[1], -1, -1).clone()
