"""What a fitted attack leaves on disk: files, pictures and figures of the held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import targets
from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.figures import attack_figures, under_views
from ostrich.attacks.engine.result import Result
from ostrich.attacks.fitted.artefact import FILE, Artefact, Judgement, judge
from ostrich.attacks.fitted.held_out import CleanImages
from ostrich.attacks.fitted.universal_perturbation import enlarged
from ostrich.attacks.photographs import write_photographs
from ostrich.attacks.threats import exact_distance
from ostrich.images import fingerprints, grid, write_png
from ostrich.models import Classifier
from ostrich.models.answers import predictions, right

SHOWN = 6  # images in the sheet


def write(
    folder: Path, artefact: Artefact, classifier: Classifier, held_out: CleanImages, judgement: Judgement
) -> None:
    """Write images.csv, the images, the pictures and the artefact, and read the images back."""
    method, result = artefact.method, judgement.result
    goal = artefact.goal(classifier, held_out.labels)
    files = evidence.Evidence(folder, held_out.samples, held_out.labels, goal)
    files.add(range(len(held_out.samples)), result)
    files.reread(classifier, method.judged_in)
    picture = method.picture(artefact.tensors)
    if picture is not None and picture.shape[0] in (1, 3):
        write_png(folder / "artefact.png", picture)
    method.write(artefact.tensors, folder)
    write_png(folder / "pictures.png", sheet(result))
    if not (folder / FILE).exists():
        artefact.save(folder / FILE)


def figures(
    folder: Path,
    artefact: Artefact,
    classifier: Classifier,
    held_out: CleanImages,
    judgement: Judgement,
    *,
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    """The figures of what was held out, and the pictures that belong to some of them."""
    method, result, labelled = artefact.method, judgement.result, held_out.samples.labels is not None
    correct, norm = right(held_out.predictions, held_out.labels), method.judged_in.norm
    found = attack_figures(method.name, result, norm, correct, labelled, seconds, classifier)
    if held_out.samples.views is not None and method.paints:
        found |= painted(folder, artefact, classifier, held_out)
    found |= {
        "fooling_rate": judgement.fooling_rate,
        "by_chance": judgement.random_baseline,
        "target": None if artefact.target is None else artefact.target[1],
        "artefact": FILE,
        "fitted_on": dict(artefact.facts),
    }
    if method.camera is not None:
        goal = artefact.goal(classifier, held_out.labels)
        found["views"] = under_views(method.camera, classifier, goal, result, seed)
    if method.print_width is not None:
        found["photographs"] = photographed(
            folder, artefact, classifier, held_out.samples.index, result, seed
        )
    return found


def painted(
    folder: Path, artefact: Artefact, classifier: Classifier, held_out: CleanImages
) -> dict[str, Any]:
    """What the views of a painted object show, and how far its texture was changed."""
    views, label, threat = held_out.samples.views, int(held_out.labels[0]), artefact.method.threat
    assert views is not None
    target = None
    if artefact.target is not None:
        target = int(artefact.goal(classifier, held_out.labels[:1]).classes[0])
    seen = artefact.method.write_views(folder, classifier, views, artefact.tensors, label, target)
    texture, original = (artefact.tensors[name][None] for name in ("texture", "original"))
    change = exact_distance(threat, texture, original).item()
    return {
        "label": classifier.class_name(label),
        **seen,
        "texture": {"norm": threat.norm, "eps": threat.eps, "distance": change},
    }


def photographed(
    folder: Path, artefact: Artefact, classifier: Classifier, index: Sequence[int], result: Result, seed: int
) -> dict[str, Any]:
    """How a printed patch is judged: photographs.csv, its files and photographs.png, figures for run.json.

    Of those attacked: the part that the patch turns, where the photograph of the image alone does not reach
    the goal, and the part whose photograph without the patch is seen as the image.
    """
    images, before, rows = result.originals, result.clean_predictions, result.attacked.nonzero()[:, 0]
    method, keys = artefact.method, fingerprints(images)
    clean = method.photographed({}, images, keys, seed)
    patched = method.photographed(artefact.tensors, images, keys, seed)
    seen = predictions(classifier.predict(clean)), predictions(classifier.predict(patched))
    alone, reached = (one != before for one in seen)
    if artefact.target is not None:
        alone, reached = (one == artefact.goal(classifier, one).classes for one in seen)
    success = reached & ~alone
    write_photographs(folder, index, rows.tolist(), (clean, patched), seen, success)
    if not len(rows):
        return {"n": 0, "success_rate": None, "clean_kept": None}
    write_png(folder / "photographs.png", grid(patched[rows[: 2 * SHOWN]], columns=SHOWN // 2))
    rates = {"success_rate": success, "clean_kept": seen[0] == before}
    return {"n": len(rows)} | {name: hits[rows].double().mean().item() for name, hits in rates.items()}


def transfer_rate(artefact: Artefact, other: Classifier, held_out: CleanImages, seed: int) -> float | None:
    """The fooling rate of an artefact on another network, of the same images."""
    labels, _ = targets.labels(other, held_out.images, held_out.samples.labels)
    return judge(artefact, other, held_out.images, labels, seed).fooling_rate


def sheet(result: Result) -> Tensor:
    """Of some images, those that were fooled first: the image, the change enlarged, what became of it."""
    order = (~result.success).to(torch.uint8).argsort(stable=True)[:SHOWN].tolist()
    rows = [
        image
        for i in order
        for image in (
            result.originals[i],
            enlarged(result.images[i] - result.originals[i]),
            result.images[i],
        )
    ]
    return grid(torch.stack(rows), columns=3)
