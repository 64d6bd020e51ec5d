"""Randomised smoothing: what a network says of noisy copies of an image holds within an L2 radius.

Cohen, Rosenfeld, Kolter 2019, "Certified adversarial robustness via randomized smoothing", algorithm
CERTIFY: the class that most of `select` noisy copies get is tried on `draws` others; with p a lower bound of
its probability (Clopper and Pearson 1934, one-sided, confidence 1 - alpha) the radius is sigma * Phi^-1(p);
at p <= 1/2 it abstains. The statement is about the smoothed network, not about the bare one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.models import Classifier
from ostrich.models.answers import NO_ANSWER, predictions
from ostrich.runtime.randomness import keyed

ABSTAINED = -1
NOISE = 41  # of the random numbers that are keyed by seed, image and part


def smoothed(
    classifier: Classifier,
    image: Tensor,
    key: int,
    *,
    sigma: float,
    draws: int,
    select: int,
    alpha: float,
    seed: int,
    batch_size: int = 200,
) -> tuple[int, float]:
    """The class of the smoothed network for one image (C, H, W), and the radius within which it holds.

    ABSTAINED and 0 where that cannot be said with confidence 1 - alpha. `key` is the image's own: whatever
    stands beside it, its noise is the same.
    """

    def counts(part: int, count: int) -> Tensor:
        return _counts(classifier, image, count, sigma, keyed(seed, NOISE, key, part), batch_size)

    chosen = int(counts(0, select).argmax())
    hits = int(counts(1, draws)[chosen])
    share = lower_share(hits, draws, alpha)
    return (chosen, sigma * _quantile(share)) if share > 0.5 else (ABSTAINED, 0.0)


def lower_share(hits: int, count: int, alpha: float) -> float:
    """A probability that is above this with confidence 1 - alpha (Clopper and Pearson, one-sided)."""
    from scipy.special import betaincinv

    return 0.0 if hits == 0 else float(betaincinv(hits, count - hits + 1, alpha))


def _quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


def _counts(
    classifier: Classifier, image: Tensor, count: int, sigma: float, draw: torch.Generator, batch_size: int
) -> Tensor:
    """How often each class is said of `count` noisy copies, (K,); no answer counts for none."""
    found = torch.zeros(classifier.num_classes, dtype=torch.int64)
    for start in range(0, count, batch_size):
        noise = torch.randn(min(batch_size, count - start), *image.shape, generator=draw)
        said = predictions(classifier.predict(image + sigma * noise.to(image))).cpu()
        found += torch.bincount(said[said != NO_ANSWER], minlength=len(found))
    return found
