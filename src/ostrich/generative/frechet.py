"""How far samples are from real images, in features (N, D) of a network that must be named with the figure.

Only with the Inception network's features and weights of Heusel et al. 2017 is the Frechet distance
called FID; here it never is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.generative.neighbours import nearest


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of features (N, D) and (M, D) (Heusel 2017, eq. 6)."""
    return frechet(*moments(a), *moments(b))


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D), in float64, divisor N - 1."""
    if len(features) < 2:
        raise InputError("A covariance takes at least two images.")
    features = features.double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], features.shape[1])


def frechet(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """The distance of two normal distributions.

    tr (A B)^(1/2) is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric:
    so it is exact for singular covariances too, without a matrix root of a product.
    """
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(0.0, distance.item())


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """The unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski 2018, section 4)."""
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        values = kernel(x, x)
        return (values.sum() - values.trace()) / (len(x) * (len(x) - 1))

    return (within(a) + within(b) - 2 * kernel(a, b).mean()).item()


def precision_recall(generated: Tensor, real: Tensor, k: int = 3) -> tuple[float, float]:
    """Share of samples inside the real images' k-nearest-neighbour balls, and the reverse.

    Kynkaanniemi et al. 2019, eq. 1 and 2, their k; the ball's surface belongs to it.
    """
    if min(len(generated), len(real)) <= k:
        raise InputError(f"Precision and recall with k={k} take more than {k} images on both sides.")
    return _covered(generated, real, k), _covered(real, generated, k)


def classifier_score(logits: Tensor, splits: int = 10) -> tuple[float, float]:
    """exp E KL(p(y|x) | p(y)) of a classifier's logits (N, K): mean and deviation over parts of the samples.

    Salimans et al. 2016, section 4, who take the Inception network; of another it must be named with it.
    It lies between 1 and K; a class that is switched off, of logit -inf, adds nothing.
    """
    if not 1 <= splits <= max(1, len(logits) // 2):
        raise InputError(
            f"{len(logits)} samples are not divided into {splits} parts of at least two: the score of one "
            "image is 1, whatever it shows."
        )
    scores = []
    for part in logits.double().log_softmax(1).tensor_split(splits):
        mean = part.logsumexp(0) - math.log(len(part))  # log p(y)
        each = torch.where(part.isneginf(), 0.0, part.exp() * (part - mean))  # 0 log 0 = 0
        scores.append(each.sum(1).mean().exp())
    found = torch.stack(scores)
    return found.mean().item(), found.std(correction=0).item()


def doubts(samples: int, real: int, features: int, parts: int, classes: int) -> list[str]:
    """Sentences on what too few images make of the Frechet distance and the classifier score.

    A covariance of n images has at most rank n - 1; a score of n images is at most n.
    """
    said = []
    if (fewest := min(samples, real)) <= features:
        said.append(
            f"{samples} samples and {real} real images in {features} features: at least one covariance is "
            f"singular with {fewest}, and the Frechet distance too large, by how much depends on both "
            f"numbers. Take more than {features} of each, or compare only figures of the same numbers."
        )
    if (each := samples // parts) < classes:
        said.append(
            f"The classifier score is of {each} samples a part, with {classes} classes: it cannot exceed "
            f"{each}. Take at least {classes} samples."
        )
    return said


def _covered(points: Tensor, others: Tensor, k: int, chunk: int = 1024) -> float:
    """Share of points within the distance from some other to its k-th nearest neighbour among the others."""
    radius = nearest(others, others, k + 1)[0][:, k]  # the nearest is itself
    inside = 0
    for some in points.double().split(chunk):
        distance = torch.cdist(some, others.double(), compute_mode="donot_use_mm_for_euclid_dist")
        inside += int((distance <= radius).any(1).sum())
    return inside / len(points)
