"""How what was fitted on some images is judged and shown: files, figures, pictures of the held-out rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import targets
from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.result import Result
from ostrich.attacks.fitted.artefact import FILE, Artefact, Judgement, judge
from ostrich.attacks.fitted.universal_perturbation import enlarged
from ostrich.attacks.threats import exact_distance
from ostrich.attacks.transfer import companion
from ostrich.cli.session import Session
from ostrich.data.dataset import Samples
from ostrich.images import fingerprints, grid, write_png
from ostrich.models import Classifier
from ostrich.models.answers import right

SHOWN = 6  # images in the sheet


@dataclass(frozen=True)
class Part:
    """Some of the samples with their images (n, C, H, W), and labels and clean predictions (n,)."""

    samples: Samples
    images: Tensor
    labels: Tensor
    predictions: Tensor

    def take(self, rows: Sequence[int]) -> Part:
        return Part(self.samples.take(rows), *(t[rows] for t in (self.images, self.labels, self.predictions)))


def written(
    session: Session, used: Artefact, part: Part, judged: Judgement, seconds: float
) -> dict[str, Any]:
    """Write images.csv, the images and the pictures; the figures of what was held out."""
    folder, classifier, result = session.run.folder, session.classifier, judged.result
    goal = used.goal(classifier, part.labels)
    files = evidence.Evidence(folder, part.samples, part.labels, goal)
    files.add(range(len(part.samples)), result)
    files.reread(classifier, used.method.judged_in)
    picture = used.method.picture(used.tensors)
    if picture is not None and picture.shape[0] in (1, 3):
        write_png(folder / "artefact.png", picture)
    used.method.write(used.tensors, folder)
    write_png(folder / "pictures.png", sheet(result))
    labelled, correct = part.samples.labels is not None, right(part.predictions, part.labels)
    norm = used.method.judged_in.norm
    results = evidence.figures(used.method.name, result, norm, correct, labelled, seconds)
    if part.samples.views is not None and used.method.paints:
        results |= painted(used, part, classifier, folder)
    if not (folder / FILE).exists():
        used.save(folder / FILE)
    return results | {
        "fooling_rate": judged.fooling_rate,
        "by_chance": judged.chance,
        "target": None if used.target is None else used.target[1],
        "artefact": FILE,
        "fitted_on": dict(used.facts),
    }


def painted(used: Artefact, part: Part, classifier: Classifier, folder: Path) -> dict[str, Any]:
    """What the views of a painted object show, and how far its texture was changed."""
    from ostrich.attacks.physical.turntable import write_evidence

    views, label, threat = part.samples.views, int(part.labels[0]), used.method.threat
    assert views is not None
    target = int(used.goal(classifier, part.labels[:1]).classes[0]) if used.target is not None else None
    seen = write_evidence(folder, classifier, views, used.tensors, label, target)
    texture, original = (used.tensors[name][None] for name in ("texture", "original"))
    change = exact_distance(threat, texture, original).item()
    return {
        "label": classifier.class_name(label),
        **seen,
        "texture": {"norm": threat.norm, "eps": threat.eps, "distance": change},
    }


def photographed(session: Session, used: Artefact, result: Result, seed: int) -> dict[str, Any]:
    """How a printed patch is judged: photographs.png, and the part of those attacked that it turns."""
    rows = result.attacked.nonzero()[:, 0]
    originals = result.originals[rows]
    if not len(rows):
        return {"n": 0, "success_rate": None}
    shots = used.method.photographed(used.tensors, originals, fingerprints(originals), seed)
    seen = session.classifier.predict(shots).argmax(1)
    reached = seen != result.clean_predictions[rows]
    if used.target is not None:
        reached = seen == used.goal(session.classifier, seen).classes
    write_png(session.run.folder / "photographs.png", grid(shots[: 2 * SHOWN], columns=SHOWN // 2))
    return {"n": len(rows), "success_rate": reached.double().mean().item()}


def transferred(used: Artefact, session: Session, part: Part, model: str, seed: int) -> float | None:
    """The fooling rate of an artefact on another network, of the same images."""
    other = companion(model, session.classifier, "network")
    labels, _ = targets.labels(other, part.images, part.samples.labels)
    return judge(used, other, part.images, labels, seed).fooling_rate


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


def rate(result: Result) -> float | None:
    """The success rate of those right before."""
    attacked = int(result.attacked.sum())
    return int(result.success.sum()) / attacked if attacked else None
