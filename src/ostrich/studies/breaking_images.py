"""Of the study `breaking`: the network and its images in shares, and attacks on single images.

Every success is a file of the trial's folder that was read back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ostrich.attacks import (
    Goal,
    InputSpecificAttack,
    Printed,
    Result,
    Targeted,
    Untargeted,
)
from ostrich.attacks import attack as run_attack
from ostrich.attacks.engine.evidence import Evidence
from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models import Classifier
from ostrich.models.answers import predictions, right
from ostrich.runtime.randomness import keyed
from ostrich.studies.networks import opened_samples
from ostrich.studies.schema import Row

if TYPE_CHECKING:
    from ostrich.studies.breaking import Settings

ORDER = 51  # purpose of random numbers


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The network, all of its images, its predictions (N,), and the places of those it gets right."""

    classifier: Classifier
    samples: Samples
    labels: Tensor
    predictions: Tensor

    @property
    def right(self) -> list[int]:
        return right(self.predictions, self.labels).nonzero()[:, 0].tolist()

    def about(self, **more: Any) -> Row:
        return {
            "kind": "about",
            "classes": self.classifier.num_classes,
            "of": len(self.samples),
            "right": len(self.right),
            **more,
        }

    def share(self, seed: int, count: int) -> list[int]:
        """Block `seed` of `count` images that are right, in a random order that is always the same.

        Raises InputError where no image is left for it.
        """
        known = self.right
        order = torch.randperm(len(known), generator=keyed(0, ORDER)).tolist()
        chosen = sorted(known[i] for i in order[seed * count : (seed + 1) * count])
        if not chosen:
            raise InputError(
                f"Share {seed} has no image: {self.classifier.name} gets {len(known)} images right, and a "
                f"share has {count}. Give images={max(1, len(known) // (seed + 1))}, or more DATA."
            )
        return chosen


@cache
def opened(spec: Settings) -> Opened:
    """All images of the data, and what the network says of them. Raises InputError."""
    classifier, samples = opened_samples(spec, limit=None)
    said = predictions(classifier.predict(samples.images().to(classifier.device)))
    assert samples.labels is not None
    return Opened(
        classifier=classifier, samples=samples, labels=samples.labels.to(said.device), predictions=said
    )


def attacked(
    own: Opened, method: InputSpecificAttack, target: int | None, chosen: list[int], seed: int, folder: Path
) -> tuple[Samples, Goal, Result]:
    """An attack on some images that are right, its files written and read back."""
    samples, labels = own.samples.take(chosen), own.labels[chosen]
    goal = Untargeted(labels) if target is None else Targeted(torch.full_like(labels, target))
    images = samples.images().to(own.classifier.device)
    result = run_attack(
        method, own.classifier, images, goal, labels=labels, seed=seed, shards=folder / "pieces"
    )
    files = Evidence(folder / "files", samples, labels, goal)
    files.add(range(len(samples)), result)
    files.reread(own.classifier, method.threat)
    return samples, goal, result


def single(
    own: Opened,
    method: InputSpecificAttack,
    target: int | None,
    spec: Settings,
    name: str,
    seed: int,
    folder: Path,
) -> list[Row]:
    """A row for each image: whether it is broken, and how far away the change lies.

    `l2` is the change's Euclidean length, `relative` that by the image's, `rms` that by the root of how many
    values there are; those `of_file` are of the 8-bit file.
    """
    count = spec.one_pixel_images if name == "one-pixel" else spec.images
    samples, _, result = attacked(own, method, target, own.share(seed, count), seed, folder)
    rows = [own.about()]
    for i in result.attacked.nonzero()[:, 0].tolist():
        row: Row = {"kind": "image", "image": samples.index[i], "broken": bool(result.success[i])}
        original = result.originals[i].double()
        for end, found in (("", result.float_images[i]), ("_of_file", result.images[i])):
            length = (found.double() - original).norm().item()
            row[f"l2{end}"] = length
            row[f"relative{end}"] = length / original.norm().item()
            row[f"rms{end}"] = length / math.sqrt(original.numel())
        rows.append({**row, "forwards": int(result.forwards[i])})
    return rows


def printed(own: Opened, method: Printed, count: int, seed: int, folder: Path) -> list[Row]:
    """A row for each image, of its photograph and the clean print's, and one for each transformation."""
    chosen = own.share(seed, count)
    samples, goal, result = attacked(own, method, None, chosen, seed, folder)
    told = method.report(folder / "files", own.classifier, samples.index, goal, result, seed)
    keys, labels = fingerprints(result.originals), own.labels[chosen]
    wrong = []
    for images in (result.images, result.originals):
        shots = method.photographed(images, keys, seed)
        wrong.append(predictions(own.classifier.predict(shots)) != labels)
    rows = [own.about()]
    for i in result.attacked.nonzero()[:, 0].tolist():
        rows.append(
            {
                "kind": "image",
                "image": samples.index[i],
                "broken": int(result.predictions[i]) != int(labels[i]),
                "photograph_wrong": bool(wrong[0][i]),
                "clean_photograph_wrong": bool(wrong[1][i]),
            }
        )
    for name, rate in told["destruction_rate"].items():
        rows.append(
            {
                "kind": "transformation",
                "transformation": name,
                "fooled": told["n_fooled"],
                "destroyed": round((rate or 0) * told["n_fooled"]),
                "attacked": told["n_attacked"],
                "kept": round((told["clean_kept"][name] or 0) * told["n_attacked"]),
            }
        )
    return rows
