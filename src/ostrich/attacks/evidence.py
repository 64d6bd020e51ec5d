"""What an attack leaves on disk: a file per image, images.csv, and the figures of run.json."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.engine import Result
from ostrich.attacks.goals import Goal
from ostrich.attacks.transformations import EOT
from ostrich.data.dataset import Samples
from ostrich.images import fingerprints, write_image
from ostrich.models.classifier import Classifier
from ostrich.randomness import keyed
from ostrich.runtime.files import write_text

COLUMNS = (
    "index",
    "file",
    "label",
    "clean_prediction",
    "goal",
    "target",
    "adversarial_prediction",
    "confidence",
    "success",
    "distance",
    "distance_float",
    "forwards",
    "backwards",
    "clean_file",
    "adversarial_file",
)


def write_images(folder: Path, samples: Samples, labels: Tensor, goal: Goal, result: Result) -> None:
    """Write clean and adversarial images and images.csv. `labels` (N,): the clean prediction where none."""
    targets = goal.classes.tolist() if goal.kind != "untargeted" else None
    rows = []
    for i in range(len(samples)):
        stem = f"images/{samples.index[i]:05d}"
        clean = write_image(folder, f"{stem}-clean", result.originals[i])
        row: dict[str, Any] = {
            "index": samples.index[i],
            "file": samples.files[i],
            "label": int(labels[i]),
            "clean_prediction": int(result.clean_predictions[i]),
            "goal": goal.kind,
            "target": targets[i] if targets else "",
            "success": "true" if result.success[i] else "false",
            "forwards": int(result.forwards[i]),
            "backwards": int(result.backwards[i]),
            "clean_file": clean,
        }
        if result.attacked[i]:
            adversarial = write_image(folder, f"{stem}-adversarial", result.images[i])
            row |= {
                "adversarial_prediction": int(result.predictions[i]),
                "confidence": f"{result.confidence[i]:.6f}",
                "distance": f"{result.distance[i]:.6g}",
                "distance_float": f"{result.distance_float[i]:.6g}",
                "adversarial_file": adversarial,
            }
        rows.append(row)
    write_table(folder / "images.csv", COLUMNS, rows)


def write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """A CSV file with these columns, whole or absent; what a row lacks is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def figures(result: Result, norm: str, correct: Tensor, labelled: bool, seconds: float) -> dict[str, Any]:
    """The `results` of an attack. `correct` (N,) bool: right before; all, where there are no labels."""
    count, right = len(correct), int(correct.sum())
    broken = int(result.success.sum())
    attacked = int(result.attacked.sum())
    distances = result.distance[result.success].double()
    return {
        "n": count,
        "clean_accuracy": right / count if labelled else None,
        "success_rate": broken / attacked if attacked else None,
        "robust_accuracy": (right - broken) / count,
        "distance": {
            "norm": norm,
            "median": _or_none(torch.quantile(distances, 0.5) if broken else None),
            "mean": _or_none(distances.mean() if broken else None),
            "max": _or_none(distances.max() if broken else None),
        },
        "forwards_per_image": result.forwards.double().mean().item(),
        "backwards_per_image": result.backwards.double().mean().item(),
        "seconds": seconds,
    }


def members(method: InputSpecificAttack, result: Result) -> dict[str, Any]:
    """Of an ensemble, how many images each member broke, in the order in which they were run."""
    if len(method.members) == 1:
        return {}
    return {"broken_by": {title: int((result.found_by == i).sum()) for i, title in enumerate(method.titles)}}


def curve(result: Result, correct: Tensor) -> list[list[float]]:
    """Robust accuracy against budget, [[eps, accuracy], ...], from the smallest changes found.

    `correct` (N,) bool: right before. A budget of each distance at which an image falls; none is
    run anew.
    """
    found = result.distance[result.success].double().sort().values.tolist()
    right, count = int(correct.sum()), len(correct)
    return [[0.0, right / count], *([eps, (right - i - 1) / count] for i, eps in enumerate(found))]


@torch.no_grad()
def under_views(eot: EOT, classifier: Classifier, goal: Goal, result: Result, seed: int) -> dict[str, Any]:
    """How often random views, drawn anew, of the successful files reach the goal."""
    rows = result.success.nonzero()[:, 0]
    reached = []
    for row, key in zip(rows, fingerprints(result.images[rows]), strict=True):
        views = eot.apply(result.images[row][None], [keyed(seed, key, 2)])
        reached.append(goal.rows(row.expand(len(views))).reached(classifier.predict(views)).double().mean())
    return {
        "samples": eot.samples,
        "views_reaching_the_goal": torch.stack(reached).mean().item() if reached else None,
    }


def _or_none(value: Tensor | None) -> float | None:
    return None if value is None else value.item()
