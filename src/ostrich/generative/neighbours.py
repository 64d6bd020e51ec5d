"""The nearest training images of samples, exactly, and whether the generator has memorised them.

Two questions, asked of the samples and of held-out real images alike, so that the second answer
says what the first one means:

- How far is the nearest training image? (distribution of distances)
- Is it nearer than that training image is to any other? AuthPct (Alaa et al. 2022, section 3.4) is the
  share of samples for which it is not.

The verdict, fixed before any generator was judged by it. A sample is a copy when it is nearer to a
training image than half the distance from there to the next training image, and nearer than 99 % of
held-out images are to theirs. Of held-out images 1 % at most can be that; memorised is a generator
whose share of copies is above 1 % beyond its 95 % interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.statistics import wilson

COPY = 0.5  # of the distance between the training image and its nearest other
QUANTILE = 0.01  # of the held-out images' distances, and the share of copies that is no surprise
CHUNK = 2**26  # numbers of the reference at a time, in whole rows


def nearest(
    queries: Tensor,
    reference: Tensor,
    k: int = 1,
    *,
    chunk: int | None = None,
    leave_out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Distances and indices (N, k), nearest first, of the rows of `reference` (M, D) nearest to each query.

    Euclidean, in float64, every row compared, `chunk` at a time. Of equal distances the first row comes
    first. `leave_out` (N, L) names rows that each query is not compared with: itself, for instance.
    """
    if queries.ndim != 2 or reference.ndim != 2 or queries.shape[1] != reference.shape[1]:
        raise InputError(f"Rows of one length are compared; got {queries.shape} and {reference.shape}.")
    available = len(reference) - (0 if leave_out is None else leave_out.shape[1])
    if not 1 <= k <= available:
        raise InputError(f"There are {available} neighbours to choose from; k={k} is outside 1 to that.")
    chunk = chunk or max(1, CHUNK // max(1, reference.shape[1]))
    queries = queries.double()
    squares = queries.square().sum(1, keepdim=True)
    best = queries.new_full((len(queries), 0), 0.0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(reference), chunk):
        part = reference[start : start + chunk].double()
        found = squares + part.square().sum(1) - 2 * queries @ part.T  # (N, M')
        for left in () if leave_out is None else leave_out.unbind(1):
            inside = (left >= start) & (left < start + len(part))
            found[inside, left[inside] - start] = float("inf")
        here = torch.arange(start, start + len(part), device=queries.device).expand(len(queries), -1)
        found, here = torch.cat([best, found], 1), torch.cat([rows, here], 1)
        order = found.sort(dim=1, stable=True).indices[:, :k]
        best, rows = found.gather(1, order), here.gather(1, order)
    # The products above lose what the squares have in common; the distances themselves do not.
    each = [(queries - reference[rows[:, place]].double()).norm(dim=1) for place in range(k)]
    distance, order = torch.stack(each, 1).sort(dim=1, stable=True)
    return distance, rows.gather(1, order)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest training image of each sample: `distance` (N,), `index` (N,), `ratio` (N,).

    `ratio` is the distance over that from the training image to its nearest other training image.
    """

    distance: Tensor
    index: Tensor
    ratio: Tensor

    @property
    def authenticity(self) -> float:
        """AuthPct: percentage of samples that lie farther off than the training image's own neighbour."""
        return 100 * (self.ratio > 1).double().mean().item()


def neighbours(samples: Tensor, training: Tensor, mirrored: Tensor | None = None) -> Neighbours:
    """Nearest training rows (M, D), no two of the same image, of sample rows (N, D).

    `mirrored` (M, D) are those of the mirrored training images, where these were trained on too: then the
    nearer of both counts. The nearest other training image is neither the image nor its mirror image.
    """
    every = training if mirrored is None else torch.cat([training, mirrored])
    distance, found = (one[:, 0] for one in nearest(samples, every))
    which, place = found.unique(return_inverse=True)
    same = torch.arange(0, len(every), len(training), device=which.device)
    own = nearest(every[which], every, leave_out=which[:, None] % len(training) + same)[0][:, 0][place]
    # Rows of two images can be equal, as features: a copy has 0 / 0.
    ratio = torch.where(distance == 0, torch.zeros_like(distance), distance / own)
    return Neighbours(distance=distance, index=found % len(training), ratio=ratio)


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """The verdict in one space of distances, with what it rests on."""

    memorised: bool
    copies: list[int]  # the samples that are copies
    samples: int
    share: float
    interval: tuple[float, float]
    authenticity: float
    authenticity_held_out: float
    median_distance: float
    median_distance_held_out: float
    nearer: float  # probability that a sample is nearer to the training set than a held-out image is


def memorisation(samples: Neighbours, held_out: Neighbours) -> Memorisation:
    """Judge samples by held-out real images, each with its nearest training images."""
    limit = held_out.distance.quantile(QUANTILE)
    copied = (samples.ratio < COPY) & (samples.distance < limit)
    count, total = int(copied.sum()), len(copied)
    low, high = wilson(count, total)
    a, b = samples.distance[:, None], held_out.distance
    return Memorisation(
        memorised=low > QUANTILE,
        copies=copied.nonzero()[:, 0].tolist(),
        samples=total,
        share=count / total,
        interval=(low, high),
        authenticity=samples.authenticity,
        authenticity_held_out=held_out.authenticity,
        median_distance=samples.distance.median().item(),
        median_distance_held_out=held_out.distance.median().item(),
        nearer=((a < b).double() + 0.5 * (a == b).double()).mean().item(),
    )


def sentence(space: str, found: Memorisation) -> str:
    """The verdict in words."""
    low, high = found.interval
    share = (
        f"{len(found.copies)} of {found.samples} samples ({found.share:.1%}, 95 %: {low:.1%} to {high:.1%})"
    )
    verdict = "memorised" if found.memorised else "not memorised" if not found.copies else "single copies"
    return (
        f"In {space}: {verdict}. {share} copy a training image; AuthPct {found.authenticity:.0f}, "
        f"of held-out images {found.authenticity_held_out:.0f}."
    )
