"""`ostrich attack fooling-... MODEL`: from noise to certainty, for one class or many spread ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor

from ostrich.attacks import Confident, InputSpecificAttack
from ostrich.attacks import attack as run_attack
from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.resuming import described
from ostrich.attacks.engine.runner import Result
from ostrich.attacks.fooling.ascent import CONFIDENCE, noise, spread
from ostrich.attacks.fooling.gallery import MISSED, REACHED, UNMOVED, UNTRIED, gallery
from ostrich.attacks.fooling.recognition import kin, transfer
from ostrich.attacks.transfer import borrow_gradients
from ostrich.cli.options import ModelOptions
from ostrich.cli.session import begun, report
from ostrich.errors import InputError
from ostrich.images import to_bytes, write_png
from ostrich.models import Classifier
from ostrich.models.answers import answered
from ostrich.runtime.events import progress
from ostrich.runtime.files import keep_rows
from ostrich.runtime.runs import METRICS, Run
from ostrich.runtime.settings import read_value
from ostrich.runtime.stopwatch import stopwatch


def configure_confidence(settings: Mapping[str, str]) -> tuple[float, dict[str, str]]:
    """What `confidence=PART` says, 0.99 where nothing does, and the other settings. Raises InputError."""
    others = dict(settings)
    confidence = read_value("confidence", others.pop("confidence", str(CONFIDENCE)), float)
    if not 0 < confidence < 1:
        raise InputError(f"confidence lies between 0 and 1, for example 0.999; got {confidence}.")
    return confidence, others


def perform(
    method: InputSpecificAttack,
    options: ModelOptions,
    *,
    confidence: float,
    target: str | None,
    surrogate: str | None,
    limit: int,
    seed: int,
    precision: str,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """The command, once its attack is known to start from noise."""
    if limit < 1:
        raise InputError(f"--limit is at least 1; got {limit}.")
    if target in ("random", "least-likely"):
        raise InputError(f"--target {target} is said of an image; for {method.name} it is a class.")
    classifier = options.load()
    borrow_gradients(method, classifier, surrogate)
    classes = [classifier.class_index(target)] if target else spread(classifier.num_classes, limit)
    height, width = classifier.size  # known: `load` refuses a network without
    start = noise(classes, (classifier.channels, height, width), seed)
    checksum = hashlib.sha256(to_bytes(start).tobytes()).hexdigest()
    facts = {"name": "noise", "n": len(start), "sha256": checksum}
    asked: dict[str, Any] = {
        "attack": described(method),
        "target": target,
        "precision": precision,
        "limit": limit,
    }
    asked["confidence"] = confidence
    asked |= {"surrogate": surrogate} if surrogate else {}
    name = f"attack-{method.name}"
    with begun(name, options, classifier, asked, data=facts, seed=seed, out=out, force=force) as run:
        goal = Confident(torch.tensor(classes, device=classifier.device), confidence)
        with stopwatch() as spent, progress(f"{method.name} for {len(start)} classes", len(start)) as advance:
            trace = Trace(run, method)
            result = run_attack(
                method,
                classifier,
                start.to(classifier.device),
                goal,
                seed=seed,
                precision=precision,
                shards=run.folder / "shards",
                progress=advance,
                watch=trace,
            )
        results = _finish(method.name, run, classifier, goal, result, spent.seconds)
        results |= {"archive": trace.rows[-1]} if trace.rows else {}
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        report(method.name, results, run.folder)


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


def _finish(
    name: str, run: Run, classifier: Classifier, goal: Confident, result: Result, seconds: float
) -> dict[str, Any]:
    """Write images.csv, the images and the gallery; what is known of them."""
    # without a step where it is certain of the noise itself
    reached, tried = result.success.cpu(), result.attacked.cpu()
    classes = goal.classes.tolist()
    confidence = _confidence(classifier, result, goal)
    _write_images(run.folder, classifier, goal, result)
    names = [classifier.class_name(index) for index in classes]
    states = _states(result)
    write_png(run.folder / "gallery.png", gallery(result.images, names, confidence.tolist(), states))
    results = evidence.figures(name, result, "l2", reached, False, seconds)
    fooled = [index for index, certain in zip(classes, reached.tolist(), strict=True) if certain]
    others = kin(classifier) if fooled else []
    return results | {
        "robust_accuracy": None,  # there is no image that was right before
        "noise_is": [name for name, state in zip(names, states) if state == UNTRIED],
        "not_reached": [
            name for name, state in zip(names, states, strict=True) if state in (MISSED, UNMOVED)
        ],
        "confidence": confidence[reached].mean().item() if len(fooled) else None,
        "confidence_median": confidence[tried].median().item() if tried.any() else None,
        "transfer": transfer(result.images[result.success], fooled, classifier, others),
        "gallery": "gallery.png",
    }


def _states(result: Result) -> list[str]:
    """What became of each image, as the gallery shows it."""
    moved = (result.images != result.originals).flatten(1).any(1).tolist()
    return [
        UNTRIED if not tried else REACHED if reached else MISSED if moved[i] else UNMOVED
        for i, (tried, reached) in enumerate(zip(result.attacked.tolist(), result.success.tolist()))
    ]


def _confidence(classifier: Classifier, result: Result, goal: Confident) -> Tensor:
    """The probability (N,) of each image's own class, of the file; 0 where the network has no answer."""
    logits = classifier.predict(result.images).double()
    probability = logits.softmax(1).gather(1, goal.classes[:, None])[:, 0]
    return torch.where(answered(logits), probability, 0.0).cpu()


def _write_images(folder: Path, classifier: Classifier, goal: Confident, result: Result) -> None:
    """images.csv without labels and clean files, and the images: those that fool, else the best attempt.

    Where the network was certain of the noise itself, nothing was made: no success, no distance, no file.
    """
    rows = []
    for i, target in enumerate(goal.classes.tolist()):
        file = f"images/{i:05d}-{_plain(classifier.class_name(target))}-adversarial.png"
        tried = bool(result.attacked[i])
        if tried:
            write_png(folder / file, result.images[i])
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


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:40]
