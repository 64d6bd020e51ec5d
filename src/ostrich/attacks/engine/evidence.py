"""What an attack leaves on disk: a file per image, images.csv, and the figures of run.json."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.engine.runner import Result
from ostrich.attacks.eot import EOT
from ostrich.attacks.goals import SLACK, Goal
from ostrich.attacks.threats import Threat, within
from ostrich.data.dataset import Samples
from ostrich.images import fingerprints, read_image, rounded, write_image
from ostrich.models.answers import NO_ANSWER, predictions
from ostrich.models.classifier import Classifier
from ostrich.runtime.files import write_text
from ostrich.runtime.randomness import keyed


class BrokenClaim(Exception):
    """A file does not show what is claimed of it: a fault of ours, or of the disk."""


EPS = torch.finfo(torch.float32).eps
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


def reread(folder: Path, classifier: Classifier, threat: Threat, goal: Goal, result: Result) -> None:
    """Check every success once more, by the files that `write_images` wrote.

    The file of a success must be the image that was verified, within the budget, and the plain network must
    see in it what the table says, and with that the goal. These forwards are not counted. Raises BrokenClaim,
    which names the files for which that does not hold.
    """
    with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    claimed = [i for i, row in enumerate(rows) if row["success"] == "true"]
    if not claimed:
        return
    places = torch.tensor(claimed, device=result.images.device)
    found, clean = (
        torch.stack([_read(folder / rows[i][kind]) for i in claimed]).to(result.images)
        for kind in ("adversarial_file", "clean_file")
    )
    same = (found == rounded(result.images[places])).flatten(1).all(1)
    holds = same & within(threat, found, clean)
    if classifier.draws == 1 and classifier.neighbours is None:  # else another question, another answer
        logits = classifier.predict(found)
        said = torch.tensor([int(rows[i]["adversarial_prediction"]) for i in claimed], device=logits.device)
        largest = logits.abs().amax(1)
        tied = logits.gather(1, said.clamp_min(0)[:, None])[:, 0] >= logits.amax(1) - SLACK * EPS * largest
        holds &= ((predictions(logits) == said) | tied) & goal.rows(places).reached(logits)
    if not holds.all():
        wrong = [rows[i]["adversarial_file"] for i, held in zip(claimed, holds.tolist()) if not held]
        raise BrokenClaim(f"Read back, {', '.join(wrong)} of {str(folder)!r} do not show what was found.")


def _read(file: Path) -> Tensor:
    """An image that was just written. Raises BrokenClaim."""
    try:
        return read_image(file)
    except (OSError, SyntaxError, ValueError) as error:
        raise BrokenClaim(f"{str(file)!r} cannot be read back ({error}).") from None


def write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """A CSV file with these columns, whole or absent; what a row lacks is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def measured(name: str, result: Result, classifier: Classifier | None = None) -> dict[str, Any]:
    """What speaks for and against a robust accuracy: by which attack, and whether it could work.

    `bound` is "upper": no network is more robust than what one attack left of it; or None, with the
    `reason`, where images stand only because the attack could not work on them. `zero_gradient`,
    `unattacked` and `unanswered` count images.
    """
    standing = result.attacked & ~result.success
    blind, never = (int((mask & standing).sum()) for mask in (result.zero_gradient, result.unattacked))
    reasons = []
    if classifier is not None and classifier.neighbours:
        reasons.append(classifier.neighbours)
    if blind:
        reasons.append(f"{blind} images stand whose gradient was zero or not finite")
    if never:
        reasons.append(f"{never} images stand that the attack found no way to begin with")
    return {
        "measured_by": name,
        "bound": None if reasons else "upper",
        "reason": "; ".join(reasons) or None,
        "zero_gradient": int(result.zero_gradient.sum()),
        "unattacked": int(result.unattacked.sum()),
        "unanswered": int((result.clean_predictions == NO_ANSWER).sum()),
        **({} if classifier is None or classifier.draws == 1 else _draws(classifier, result)),
    }


def _draws(classifier: Classifier, result: Result) -> dict[str, Any]:
    """Of a network whose answers are random: how successes were decided, and how often each fools."""
    shares = [round(share, 3) for share in result.fooled_draws[result.success].tolist()]
    return {"draws": {"of": classifier.draws, "needed": classifier.needed, "fooled": shares}}


def figures(
    name: str,
    result: Result,
    norm: str,
    correct: Tensor,
    labelled: bool,
    seconds: float,
    classifier: Classifier | None = None,
) -> dict[str, Any]:
    """The `results` of an attack of that name.

    `correct` (N,) bool: right before; all with an answer, where there are no labels.
    """
    count, right = len(correct), int(correct.sum())
    broken = int(result.success.sum())
    attacked = int(result.attacked.sum())
    distances = result.distance[result.success].double()
    return {
        "n": count,
        "clean_accuracy": right / count if labelled else None,
        "success_rate": broken / attacked if attacked else None,
        "robust_accuracy": (right - broken) / count,
        **measured(name, result, classifier),
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
