"""Deletion and insertion: does the unit follow when the pixels that a map names go, or come?

Petsiuk, Das, Saenko 2018, "RISE: randomized input sampling for explanation of black-box models",
section 4.2: pixels go in the order of their importance, the most important first, and are replaced by
the mean colour (deletion; the unit should fall at once, the area under the curve be small), or they
come into a blurred image (insertion; the area should be large). A class is followed by its
probability, another unit by its value. Beside each map its image's edges and a random order are
followed, since a network may answer to any change of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ostrich.attribution.importance import importance
from ostrich.attribution.question import Explainer, explain, images_per_batch, keys
from ostrich.attribution.sanity.controls import Edges, Noise
from ostrich.attribution.sanity.similarity import Mean
from ostrich.inspection.units import AnyUnit, Unit, parse_sum, values
from ostrich.models.classifier import Classifier
from ostrich.models.untouched import untouched
from ostrich.runtime.events import counted
from ostrich.runtime.randomness import keyed
from ostrich.runtime.resumable import Content, mapped

STEPS = 25  # points of a curve after the first
BLUR = 5 / 224  # standard deviation as a part of the image's longer side: RISE's 5 pixels of 224
PURPOSE = 0x4449  # of random numbers


@dataclass(frozen=True, kw_only=True)
class Fading:
    """Curves (steps + 1,) over `fractions` of the pixels, and the areas under them with their intervals.

    A curve is the mean over those of the `images` for which the method has a map, and the unit a value at
    every point of the method's curve, of that of the edges and of the random one; empty where there are none.
    An area's `n` counts them.
    """

    images: int
    fractions: tuple[float, ...]
    deletion: dict[str, tuple[float, ...]]  # of the method, "edges" and "random"
    insertion: dict[str, tuple[float, ...]]
    deletion_area: dict[str, Mean]
    insertion_area: dict[str, Mean]


def fading(
    method: Explainer,
    classifier: Classifier,
    images: Tensor,
    units: Sequence[str],
    *,
    seed: int = 0,
    steps: int = STEPS,
) -> Fading:
    """Both curves for images (N, C, H, W), of units[i] for images[i]."""
    lists = [[unit] for unit in units]
    ranked = {
        name: importance(of, explain(of, classifier, images, lists, seed=seed))[:, 0]
        for name, of in ((method.name, method), ("edges", Edges()), ("random", Noise()))
    }
    explained = _finite(list(ranked.values())).cpu()
    grey = images.new_tensor(classifier.mean or (0.5,)).view(1, -1, 1, 1).clamp(0, 1).expand_as(images)
    soft = blurred(images)
    asked = [
        (name, way, *ends, _places(important, images, seed))
        for name, important in ranked.items()
        for way, ends in (("deletion", (images, grey)), ("insertion", (soft, images)))
    ]

    def followed(given: tuple[str, str, Tensor, Tensor, Tensor]) -> Content:
        return {"curve": _curve(classifier, *given[2:], units, steps)}

    curves: dict[str, dict[str, Tensor]] = {"deletion": {}, "insertion": {}}
    with counted("deletion and insertion", len(asked), "curves") as advance:
        for (name, way, *_), content in zip(asked, mapped(followed, asked, advance), strict=True):
            curves[way][name] = content["curve"].cpu()
    for own in curves.values():
        known = explained & _finite(list(own.values()))
        own |= {name: curve[known] for name, curve in own.items()}
    return Fading(
        images=len(images),
        fractions=tuple(step / steps for step in range(steps + 1)),
        deletion={name: _mean(c) for name, c in curves["deletion"].items()},
        insertion={name: _mean(c) for name, c in curves["insertion"].items()},
        deletion_area={name: Mean.of(area(c)) for name, c in curves["deletion"].items()},
        insertion_area={name: Mean.of(area(c)) for name, c in curves["insertion"].items()},
    )


def area(curves: Tensor) -> Tensor:
    """The areas (N,) under curves (N, S + 1) over [0, 1], by the trapezoid rule."""
    return (curves[:, 1:] + curves[:, :-1]).mean(1) / 2


def _finite(found: Sequence[Tensor]) -> Tensor:
    """For which images (N,) all of what was found, each (N, ...), is finite."""
    return torch.cat([one.flatten(1) for one in found], 1).isfinite().all(1)


def _mean(curves: Tensor) -> tuple[float, ...]:
    """The mean (S + 1,) of curves (N, S + 1); of none it is empty."""
    return tuple(curves.mean(0).tolist()) if len(curves) else ()


def blurred(images: Tensor) -> Tensor:
    """The images in which insertion begins."""
    from scipy.ndimage import gaussian_filter

    sigma = BLUR * max(images.shape[2:])
    soft = gaussian_filter(images.cpu().numpy(), (0, 0, sigma, sigma))
    return torch.from_numpy(np.asarray(soft)).to(images)


def _places(important: Tensor, images: Tensor, seed: int) -> Tensor:
    """Of each pixel (N, H * W) the place in its image's order, 0 the most important; ties at random."""
    flat, found = important.flatten(1), []
    for row, key in zip(flat, keys(images)):
        mixed = torch.randperm(len(row), generator=keyed(seed, PURPOSE, key)).to(row.device)
        order = mixed[row[mixed].argsort(descending=True, stable=True)]
        found.append(torch.empty_like(order).scatter_(0, order, torch.arange(len(row), device=row.device)))
    return torch.stack(found)


@torch.no_grad()
def _curve(
    classifier: Classifier, start: Tensor, end: Tensor, place: Tensor, units: Sequence[str], steps: int
) -> Tensor:
    """The units' values (N, steps + 1) while pixel after pixel of `start` becomes that of `end`."""
    parsed = [_followed(parse_sum(unit)) for unit in units]
    distinct = list(dict.fromkeys(parsed))
    rows = torch.tensor([distinct.index(unit) for unit in parsed], device=start.device)
    pixels = place.shape[1]
    gone = torch.tensor([round(pixels * step / steps) for step in range(steps + 1)], device=start.device)
    every = torch.arange(len(start) * (steps + 1), device=start.device)
    found = []
    with untouched(classifier.network):
        for part in every.split(images_per_batch(start)):
            n, step = part // (steps + 1), part % (steps + 1)
            changed = (place[n] < gone[step, None]).view(-1, 1, *start.shape[2:])
            computed = values(classifier, torch.where(changed, end[n], start[n]), distinct)
            found.append(computed[rows[n], torch.arange(len(n), device=start.device)])
    return torch.cat(found).view(len(start), steps + 1)


def _followed(unit: AnyUnit) -> AnyUnit:
    """A class by its probability, so that it cannot rise without the others falling."""
    if not isinstance(unit, Unit) or unit.layer != "class":
        return unit
    return Unit(text=f"probability:{unit.index}", layer="probability", index=unit.index)
