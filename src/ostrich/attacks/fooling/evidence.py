"""What a fooling attack leaves on disk: its images, their gallery, and the figures of run.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.figures import attack_figures
from ostrich.attacks.engine.result import Result
from ostrich.attacks.fooling.gallery import MISSED, REACHED, UNMOVED, UNTRIED, gallery
from ostrich.attacks.fooling.recognition import kin, transfer
from ostrich.attacks.goals import Confident
from ostrich.images import image_name, write_image, write_png
from ostrich.models.answers import NO_ANSWER, answered
from ostrich.models.classifier import Classifier
from ostrich.runtime.files import keep_rows
from ostrich.runtime.runs import METRICS, Run

PICTURE = "gallery.png"


@dataclass
class Trace:
    """metrics.jsonl: what the attack says of its steps.

    The lines that it holds already, from before an interruption, are not written again.
    """

    run: Run
    method: InputSpecificAttack
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = keep_rows(self.run.folder / METRICS, bool)

    def __call__(self, step: int, state: Any) -> None:
        if step <= len(self.rows):
            return
        row = self.method.metrics(step, state)
        if row is not None:
            self.rows.append(row)
            self.run.append(row)


def write(folder: Path, classifier: Classifier, goal: Confident, result: Result, confidence: Tensor) -> None:
    """Write images.csv, the images and the gallery, which says the `confidence` (N,) in each class.

    Each success is checked once more by its file: raises BrokenClaim, and RandomAnswers.
    """
    _write_images(folder, classifier, goal, result)
    names = [classifier.class_name(index) for index in goal.classes.tolist()]
    write_png(folder / PICTURE, gallery(result.images, names, confidence.tolist(), _states(result)))


def figures(
    name: str, classifier: Classifier, goal: Confident, result: Result, confidence: Tensor, seconds: float
) -> dict[str, Any]:
    """The `results` of an attack of that name; `confidence` (N,) is that in each image's class."""
    # without a step where it is certain of the noise itself
    reached, tried = result.success.cpu(), result.attacked.cpu()
    classes, states = goal.classes.tolist(), _states(result)
    names = [classifier.class_name(index) for index in classes]
    fooled = [index for index, certain in zip(classes, reached.tolist(), strict=True) if certain]
    others = kin(classifier) if fooled else []
    return attack_figures(name, result, "l2", reached, False, seconds) | {
        "robust_accuracy": None,  # there is no image that was right before
        "noise_is": [name for name, state in zip(names, states, strict=True) if state == UNTRIED],
        "not_reached": [
            name for name, state in zip(names, states, strict=True) if state in (MISSED, UNMOVED)
        ],
        "confidence": confidence[reached].mean().item() if len(fooled) else None,
        "confidence_median": confidence[tried].median().item() if tried.any() else None,
        "transfer": transfer(result.images[result.success], fooled, classifier, others),
        "gallery": PICTURE,
    }


def _states(result: Result) -> list[str]:
    """What became of each image, as the gallery shows it."""
    moved = (result.images != result.originals).flatten(1).any(1).tolist()
    noise = noise_is_it(result).tolist()
    return [
        UNTRIED if noise[i] else REACHED if reached else MISSED if moved[i] else UNMOVED
        for i, reached in enumerate(result.success.tolist())
    ]


def noise_is_it(result: Result) -> Tensor:
    """Of which classes (N,) the network is certain when it sees the noise; not where it has no answer."""
    return ~result.attacked & (result.clean_predictions != NO_ANSWER)


def confidence_of(classifier: Classifier, result: Result, goal: Confident) -> Tensor:
    """The probability (N,) of each image's own class, of the file; 0 where the network has no answer."""
    logits = classifier.predict(result.images).double()
    probability = logits.softmax(1).gather(1, goal.classes[:, None])[:, 0]
    return torch.where(answered(logits), probability, 0.0).cpu()


def _write_images(folder: Path, classifier: Classifier, goal: Confident, result: Result) -> None:
    """images.csv without labels and clean files, and the images: those that fool, else the best attempt.

    Where the network was certain of the noise itself, or had no answer to it, nothing was made: no success,
    no distance, no file.
    """
    rows, claimed = [], {}
    for i, target in enumerate(goal.classes.tolist()):
        name = f"images/{i:05d}-{_plain(classifier.class_name(target))}-adversarial"
        file = image_name(name, classifier.channels)
        tried = bool(result.attacked[i])
        if tried:
            write_image(folder / file, result.images[i])
        if result.success[i]:
            claimed[i] = folder / file
        row: dict[str, Any] = {
            "index": i,
            "file": "noise",
            "clean_prediction": int(result.clean_predictions[i]),
            "goal": goal.kind,
            "target": target,
            "adversarial_prediction": int(result.predictions[i]),
            "confidence": f"{result.confidence[i]:.6f}",
            "success": "true" if result.success[i] else "false",
            "distance": f"{result.distance[i]:.6g}" if tried else "",
            "distance_float": f"{result.distance_float[i]:.6g}" if tried else "",
            "forwards": int(result.forwards[i]),
            "backwards": int(result.backwards[i]),
            "adversarial_file": file if tried else "",
        }
        rows.append(row)
    evidence.write_table(folder / "images.csv", evidence.COLUMNS, rows)
    evidence.look_again(classifier, goal, result, claimed)


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:40]
