"""How alike two maps are: rank correlation with and without sign, and structural similarity.

As Adebayo 2018, "Sanity checks for saliency maps", section 3, compares them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ostrich.statistics import Z


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over `n` maps with its 95 % interval, by the standard error; one map has no interval.

    Of no map nothing is known: `mean` is None.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, found: Tensor) -> Mean:
        """Of those of the numbers (N,) that are finite: `n` counts them."""
        found = found[found.isfinite()].double()
        mean, count = found.mean().item() if len(found) else None, len(found)
        if mean is None or count < 2:
            return cls(mean=mean, low=None, high=None, n=count)
        wide = Z * found.std().item() / math.sqrt(count)
        return cls(mean=mean, low=mean - wide, high=mean + wide, n=count)


def ranks(values: Tensor) -> Tensor:
    """Ranks (R, P) of the values of each row, from 0; equal values share the mean of theirs. float64."""
    ordered, order = values.sort(dim=1)
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    fresh = torch.ones_like(ordered, dtype=torch.bool)  # begins a run of equal values
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    run = fresh.cumsum(1) - 1
    zeros = torch.zeros(values.shape, dtype=torch.float64, device=values.device)
    total = zeros.scatter_add(1, run, places.double())
    count = zeros.scatter_add(1, run, torch.ones_like(zeros))
    mean = (total / count.clamp_min(1)).gather(1, run)
    return torch.empty_like(mean).scatter_(1, order, mean)


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation (R,) of the rows of a and b (R, P).

    NaN where one is constant, or not finite.
    """
    ranked = [ranks(one.flatten(1)) for one in (a, b)]
    x, y = (one - one.mean(1, keepdim=True) for one in ranked)
    found = (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()
    ranking = a.flatten(1).isfinite().all(1) & b.flatten(1).isfinite().all(1)
    return found.where(ranking, math.nan)


def structure(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (R,) of maps (R, H, W), each brought to [0, 1] by itself; NaN where one is constant,
    or not finite.

    Wang, Bovik, Sheikh, Simoncelli 2004, with scikit-image's 7x7 window, or the largest odd one that
    fits.
    """
    from skimage.metrics import structural_similarity

    window = min(7, *a.shape[1:])
    window -= 1 - window % 2
    found = []
    for one, other in zip(_unit(a), _unit(b)):
        if one.isnan().any() or other.isnan().any() or window < 3:
            found.append(math.nan)
        else:
            pair = (one.cpu().numpy(), other.cpu().numpy())
            found.append(float(structural_similarity(*pair, data_range=1.0, win_size=window)))
    return torch.tensor(found, dtype=torch.float64)


def _unit(maps: Tensor) -> Tensor:
    """Maps (R, H, W) in [0, 1], NaN where constant."""
    low, high = (bound.view(-1, 1, 1) for bound in (maps.flatten(1).amin(1), maps.flatten(1).amax(1)))
    return (maps.double() - low) / (high - low)
