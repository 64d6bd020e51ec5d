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

from ostrich.attacks import Confident, InputSpecificAttack, evidence
from ostrich.attacks import attack as run_attack
from ostrich.attacks.engine import Result
from ostrich.attacks.fooling.ascent import CONFIDENCE, noise, spread
from ostrich.attacks.fooling.gallery import gallery
from ostrich.attacks.fooling.recognition import kin, transfer
from ostrich.attacks.settings import read_value
from ostrich.attacks.transfer import borrow_gradients
from ostrich.cli.options import ModelOptions
from ostrich.cli.session import begun, progress, report
from ostrich.errors import InputError
from ostrich.images import to_bytes, write_png
from ostrich.models import Classifier
from ostrich.runs import METRICS, Run
from ostrich.runtime.files import keep_rows
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
    asked: dict[str, Any] = {"attack": repr(method), "target": target, "precision": precision, "limit": limit}
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
        results = _finish(run, classifier, goal, result, spent.seconds)
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
    run: Run, classifier: Classifier, goal: Confident, result: Result, seconds: float
) -> dict[str, Any]:
    """Write images.csv, the images and the gallery; what is known of them."""
    reached = result.success | ~result.attacked  # or certain of the noise itself, without a step
    classes = goal.classes.tolist()
    confidence = _confidence(classifier, result, goal)
    _write_images(run.folder, classifier, goal, result, reached)
    names = [classifier.class_name(index) for index in classes]
    write_png(run.folder / "gallery.png", gallery(result.images, names, confidence.tolist()))
    results = evidence.figures(result, "l2", reached, False, seconds)
    fooled = [index for index, certain in zip(classes, reached.tolist(), strict=True) if certain]
    others = kin(classifier) if fooled else []
    return results | {
        "success_rate": reached.double().mean().item(),
        "robust_accuracy": None,  # there is no image that was right before
        "confidence": confidence[reached].mean().item() if len(fooled) else None,
        "confidence_median": confidence.median().item(),  # of all, reached or not
        "transfer": transfer(result.images[reached], fooled, classifier, others),
        "gallery": "gallery.png",
    }


def _confidence(classifier: Classifier, result: Result, goal: Confident) -> Tensor:
    """The probability (N,) of each image's own class, of the file."""
    from ostrich.attacks.aims import predict

    probability = predict(classifier, result.images).double().softmax(1)
    return probability.gather(1, goal.classes[:, None])[:, 0].cpu()


def _write_images(
    folder: Path, classifier: Classifier, goal: Confident, result: Result, reached: Tensor
) -> None:
    """images.csv without labels and clean files, and the images: those that fool, else the best attempt."""
    rows = []
    for i, target in enumerate(goal.classes.tolist()):
        file = f"images/{i:05d}-{_plain(classifier.class_name(target))}-adversarial.png"
        write_png(folder / file, result.images[i])
        tried = bool(result.attacked[i])
        row: dict[str, Any] = {
            "index": i,
            "file": "noise",
            "clean_prediction": int(result.clean_predictions[i]),
            "goal": goal.kind,
            "target": target,
            "adversarial_prediction": int(result.predictions[i]),
            "confidence": f"{result.confidence[i]:.6f}",
            "success": "true" if reached[i] else "false",
            "distance": f"{result.distance[i]:.6g}" if tried else "0",
            "distance_float": f"{result.distance_float[i]:.6g}" if tried else "0",
            "forwards": int(result.forwards[i]),
            "backwards": int(result.backwards[i]),
            "adversarial_file": file,
        }
        rows.append(row)
    evidence.write_table(folder / "images.csv", evidence.COLUMNS, rows)


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)[:40]
