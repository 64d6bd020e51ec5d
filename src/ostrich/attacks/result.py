"""What an attack did, and its finished batches on disk, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.attacks.goals import Confident, Goal
from ostrich.models.classifier import Classifier


@dataclass
class Result:
    """What an attack did to N images.

    `images` are on the 8-bit grid: the adversarial image, the best attempt where there is none,
    the original where nothing was to be done. `float_images` are as the attack left them.
    `attacked` (N,) is false for images that had reached the goal, or were wrong, from the start.
    `distance` and `distance_float` (N,) are in the threat model's norm, `predictions` of `images`,
    `confidence` the softmax probability of that prediction. `found_by` int64 (N,) is the place among
    an ensemble's members of the one that succeeded (0 for a single attack), -1 where none did.
    """

    originals: Tensor
    images: Tensor
    float_images: Tensor
    success: Tensor
    attacked: Tensor
    clean_predictions: Tensor
    predictions: Tensor
    confidence: Tensor
    distance: Tensor
    distance_float: Tensor
    forwards: Tensor
    backwards: Tensor
    found_by: Tensor
    checks: int = 0  # forwards of single images that belong to no image: proofs of the fast path


def joined(results: list[Result]) -> Result:
    """The results of several batches as one."""
    parts = {
        f.name: torch.cat([vars(r)[f.name] for r in results]) for f in fields(Result) if f.name != "checks"
    }
    return Result(**parts, checks=sum(r.checks for r in results))


def shard_file(
    folder: Path | None,
    name: str,
    settings: str,
    classifier: Classifier,
    images: Tensor,
    goal: Goal,
    seed: int,
    precision: str,
) -> Path | None:
    """The file of one batch, named by everything that determines it except the weights."""
    if folder is None:
        return None
    confidence = goal.confidence if isinstance(goal, Confident) else ""
    asked = (settings, classifier.name, goal.kind, confidence, goal.classes.tolist(), seed, precision)
    digest = hashlib.sha256(repr((asked, pictures.fingerprints(images))).encode()).hexdigest()
    return folder / f"{name}-{digest[:16]}.pt"


def save(shard: Path | None, result: Result) -> None:
    """Write a batch's result without its originals, whole or not at all."""
    if shard is None:
        return
    shard.parent.mkdir(parents=True, exist_ok=True)
    partial = shard.with_suffix(".partial")
    content = {name: value for name, value in vars(result).items() if name != "originals"}
    torch.save(content, partial)
    partial.replace(shard)
