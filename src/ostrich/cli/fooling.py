"""`ostrich attack fooling-... MODEL`: from noise to certainty, for one class or ten spread ones."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
import typer

from ostrich.attacks import Confident, evidence
from ostrich.attacks import attack as run_attack
from ostrich.attacks.engine import Attack, Result
from ostrich.attacks.fooling.ascent import CONFIDENCE, noise, spread
from ostrich.cli.options import ModelOptions
from ostrich.cli.session import begun, progress, report
from ostrich.errors import InputError
from ostrich.images import to_bytes, write_png
from ostrich.models import Classifier

MOST = 10  # classes, where none is named


def perform(
    method: Attack,
    options: ModelOptions,
    *,
    target: str | None,
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
    classes = [classifier.class_index(target)] if target else spread(classifier.num_classes, min(MOST, limit))
    height, width = classifier.size  # known: `load` refuses a network without
    start = noise(classes, (classifier.channels, height, width), seed)
    facts = {
        "name": "noise",
        "n": len(start),
        "sha256": hashlib.sha256(to_bytes(start).tobytes()).hexdigest(),
    }
    asked = {"attack": repr(method), "target": target, "precision": precision, "limit": limit}
    with begun(
        f"attack-{method.name}", options, classifier, asked, data=facts, seed=seed, out=out, force=force
    ) as run:
        goal = Confident(torch.tensor(classes, device=classifier.device), CONFIDENCE)
        started = time.monotonic()
        with progress(f"{method.name} for {len(start)} classes", len(start)) as advance:
            result = run_attack(
                method,
                classifier,
                start.to(classifier.device),
                goal,
                seed=seed,
                precision=precision,
                shards=run.folder / "shards",
                progress=advance,
            )
        reached = result.success | ~result.attacked  # or certain of the noise itself, without a step
        _write_images(run.folder, classifier, classes, goal, result, reached)
        results = evidence.figures(result, "l2", reached, False, time.monotonic() - started)
        confidence = result.confidence[reached]
        results |= {
            "success_rate": reached.double().mean().item(),
            "robust_accuracy": None,  # there is no image that was right before
            "confidence": confidence.mean().item() if len(confidence) else None,
        }
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        report(method.name, results, run.folder)


def _write_images(
    folder: Path,
    classifier: Classifier,
    classes: list[int],
    goal: Confident,
    result: Result,
    reached: torch.Tensor,
) -> None:
    """images.csv without labels and clean files, and the images: those that fool, else the best attempt."""
    rows = []
    for i, target in enumerate(classes):
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
