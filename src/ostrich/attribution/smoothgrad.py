"""SmoothGrad: the gradient, averaged over noisy copies of the image.

Smilkov, Thorat, Kim, Viegas, Wattenberg 2017, "SmoothGrad: removing noise by adding noise": normal
noise whose standard deviation is a part of the image's own range (its largest value less its
smallest), 10 to 20 %, and 50 samples. The mean is signed; noisy copies may leave [0, 1]. The noise
is keyed by seed, image and sample, so it is the same for every unit and in every batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from ostrich.attribution.backward import weighted
from ostrich.attribution.question import Explainer, Question, keys
from ostrich.errors import InputError
from ostrich.runtime.randomness import keyed

PURPOSE = 0x5346  # of the random numbers: they are others than those of other methods


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(Explainer):
    """The mean gradient of noisy copies.

    Smilkov, Thorat, Kim, Viegas, Wattenberg 2017, "SmoothGrad: removing noise by adding noise".

    noise    standard deviation, as a part of the image's range
    samples  noisy copies

    Raises InputError for no sample, and for noise below 0.
    """

    name: ClassVar[str] = "smoothgrad"

    noise: float = 0.15
    samples: int = 50

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples is at least 1; got {self.samples}.")
        if not 0 <= self.noise < math.inf:
            raise InputError(f"noise is a part of the image's range, from 0 up; got {self.noise}.")

    def explain(self, question: Question) -> Tensor:
        images, own = question.images, keys(question.images)
        sigma = self.noise * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))

        def noisy(n: int, k: int) -> Tensor:
            noise = torch.randn(images.shape[1:], generator=keyed(question.seed, PURPOSE, own[n], k))
            return images[n] + sigma[n] * noise.to(images)

        return weighted(question, [1 / self.samples] * self.samples, noisy)

    def brief(self) -> Self:
        return replace(self, samples=1)
