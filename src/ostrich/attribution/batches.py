"""Explanations of many images, batch by batch: the images of one batch are alive at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostrich.attribution.question import Explainer, begun_at, explain, figures
from ostrich.data.dataset import Samples
from ostrich.inspection.unit_names import class_unit
from ostrich.models.answers import NO_ANSWER, predictions
from ostrich.models.classifier import Classifier
from ostrich.runtime.facts import MARK, digest
from ostrich.runtime.resumable import Checkpoint, Computation, Content, Piece

BATCH = 16  # images together
MAPS = 64  # of the units of these images, held together


@dataclass(frozen=True, kw_only=True)
class Batch:
    """N of the images and their maps.

    `start` is the place of the first among all; `images` (N, C, H, W) in [0, 1]; `predictions` N classes,
    NO_ANSWER where there is none; `units` N lists of U; `maps` (N, U, C, H, W), NaN where the predicted class
    is asked for and there is none; `figures` N lists of U, what it says beside each map.
    """

    start: int
    images: Tensor
    predictions: list[int]
    units: list[list[str]]
    maps: Tensor
    figures: list[list[dict[str, Any]]]


def explained(
    method: Explainer,
    classifier: Classifier,
    samples: Samples,
    units: Sequence[str],
    *,
    seed: int = 0,
    kept: Computation | None = None,
) -> Iterator[Batch]:
    """The maps of all samples; without units, of the predicted class of each. Raises as `explain` does.

    Batches are pieces that the executor around computes, and that `kept` keeps.
    """
    size = max(1, min(BATCH, MAPS // max(1, len(units))))
    pieces = {
        f"maps-{start:07d}-{digest(samples.keys[start : start + size]).removeprefix(MARK)}": start
        for start in range(0, len(samples), size)
    }

    def read(piece: Piece) -> Tensor:
        return samples.images(pieces[piece.key], pieces[piece.key] + size)

    computation = kept or Computation(None, {}, waits=False)
    found = computation.in_order(
        [Piece(key) for key in pieces], _Explained(method, classifier, tuple(units), seed), read
    )
    for piece, images, content in found:
        yield Batch(start=pieces[piece.key], images=images, **content)


@dataclass(frozen=True)
class _Explained:
    """How a batch of images is explained."""

    method: Explainer
    classifier: Classifier
    units: tuple[str, ...]
    seed: int

    def __call__(self, given: Tensor, checkpoint: Checkpoint) -> Content:
        """What a `Batch` holds beside its images (N, C, H, W)."""
        method, classifier, seed = self.method, self.classifier, self.seed
        images = given.to(classifier.device, classifier.image_dtype)
        with begun_at(seed, classifier):
            classes = predictions(classifier.predict(images)).tolist()
        own = [list(self.units) or [class_unit(classifier, k)] for k in classes]
        maps = images.new_full((len(images), len(own[0]), *images.shape[1:]), math.nan)
        beside: list[list[dict[str, Any]]] = [[{} for _ in units] for units in own]
        if asked := [i for i, k in enumerate(classes) if self.units or k != NO_ANSWER]:
            some, units = images[asked], [own[i] for i in asked]
            found = explain(method, classifier, some, units, seed=seed)
            maps[asked] = found.to(maps)
            for i, said in zip(asked, figures(method, classifier, some, units, found, seed=seed)):
                beside[i] = said
        return {"predictions": classes, "units": own, "maps": maps, "figures": beside}


def check_method(method: Explainer, classifier: Classifier, units: Sequence[str]) -> None:
    """Refuse, by an InputError, what the method cannot do: tried on one grey image, briefly."""
    height, width = classifier.size or (224, 224)
    grey = torch.full((1, classifier.channels, height, width), 0.5)
    explain(
        method.brief(), classifier, grey.to(classifier.device, classifier.image_dtype), units or ["class:0"]
    )
