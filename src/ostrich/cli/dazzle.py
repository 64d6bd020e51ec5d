"""`ostrich attack dazzle detector:NAME DATA`: looks under which faces are not found, fitted and judged.

A row of images.csv is a face in one view that the fitting has not seen: its size and tilt stand after its
name. Label 0 is a face, prediction 0 that the detector finds one there, 1 that it finds none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import Tensor

from ostrich import data as datasets
from ostrich.attacks import Dazzle
from ostrich.attacks.camouflage.dazzle import Face, cma_package
from ostrich.attacks.camouflage.fitting import fitted
from ostrich.attacks.camouflage.judging import written
from ostrich.attacks.fitted.artefact import Artefact, load_artefact
from ostrich.cli.options import ModelOptions
from ostrich.cli.session import kept, report
from ostrich.data.dataset import Dataset, subset
from ostrich.data.faces import BOX, CLASS_NAMES
from ostrich.errors import InputError, UnreadableImage
from ostrich.images import fingerprints, from_bytes
from ostrich.models.detectors import Box, Detector, grey, open_detector
from ostrich.runtime.events import progress

LARGEST = 640  # pixels: what a photograph's longer side is brought down to


@dataclass(frozen=True)
class Material:
    """The faces of the data, its pictures without any, (C, H, W), and the facts for run.json."""

    faces: list[Face]
    backgrounds: list[Tensor]
    facts: dict[str, Any]


def perform(
    method: Dazzle,
    options: ModelOptions,
    data: Sequence[str],
    *,
    artefact: Path | None,
    limit: int,
    seed: int,
    out: Path | None,
    skip_bad: bool,
    force: bool,
    as_json: bool,
) -> None:
    """The command; of `method`, where an artefact is applied, only the name counts."""
    given = None if artefact is None else load_artefact(artefact, type(method))
    if len(words := options.words()) > 1:
        raise InputError(f"A detector is whole as it is: {' '.join(words[1:])} belongs to a classifier.")
    detector = open_detector(options.model)
    if given is None:
        cma_package()  # before anything is written
    material = read(datasets.open_data(data), detector, limit, seed, skip_bad)
    used = method if given is None else given.method
    chosen, rest = (
        hold_out_split(method, material.faces, seed) if given is None else ([], left(given, material.faces))
    )
    asked = {
        "model": options.words(),
        "detector": detector.digest(),
        "data": list(data),
        "sha256": material.facts["sha256"],
        "limit": limit,
        "seed": seed,
        "attack": repr(used),
        "artefact": None if given is None else given.digest(),
    }
    name, cpu = f"attack-{method.name}", torch.device("cpu")
    with kept(name, options.model, asked, cpu, data=material.facts, seed=seed, out=out, force=force) as run:
        if given is None:
            own = [material.faces[i] for i in chosen]
            with progress(f"{method.name} on {len(own)} faces", len(own)) as advance:
                given = fitted(method, detector, own, seed, material.facts["name"], run, advance)
        faces = [material.faces[i] for i in rest]
        with progress(f"{len(faces)} faces", len(faces)) as advance:
            results = written(given, detector, faces, material.backgrounds, seed, run, advance)
        results["left_out"] = len(material.faces) - len(faces)
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        report(method.name, results, run.folder)


# The faces ----------------------------------------------------------------------------------------


def read(dataset: Dataset, detector: Detector, limit: int, seed: int, skip_bad: bool) -> Material:
    """Faces of known place, or photographs in which the detector finds the surest face by itself."""
    known = dataset.class_names == CLASS_NAMES and dataset.name.startswith("faces")
    faces: list[Face] = []
    backgrounds: list[Tensor] = []
    skipped: list[str] = []
    count = 0
    checksum = hashlib.sha256()
    for i in subset(dataset.labels if known else None, len(dataset), limit, seed):
        try:
            image = picture(dataset, i)
        except UnreadableImage:
            if not skip_bad:
                raise
            skipped.append(dataset.files[i])
            continue
        checksum.update(dataset.content(i))
        count += 1
        if known and dataset.labels is not None and dataset.labels[i]:
            backgrounds.append(image)
            continue
        box = Box(*BOX) if known else surest(detector.boxes(grey(image)))
        if box is not None:
            faces.append(Face(dataset.files[i], image, box, fingerprints(image[None])[0]))
        elif skip_bad:
            skipped.append(dataset.files[i])
        else:
            raise InputError(
                f"{detector.name} finds no face in {dataset.files[i]}, so there is nothing to hide from it: "
                "give another picture, a larger or more frontal face, or --skip-bad to leave it out."
            )
    if not faces:
        raise InputError(
            f"{detector.name} finds no face in {dataset.name}: there is nothing to hide from it. Give "
            "photographs with a frontal face, or `faces`."
        )
    facts: dict[str, Any] = {"name": dataset.name, "n": count, "sha256": checksum.hexdigest()}
    return Material(faces, backgrounds, facts | ({"skipped": skipped} if skipped else {}))


def picture(dataset: Dataset, number: int) -> Tensor:
    """Picture `number`, no larger than LARGEST, as an image (1 or 3, H, W): one channel where it is grey."""
    found = dataset.read(number)
    if isinstance(found, np.ndarray):
        raise InputError(f"{dataset.files[number]} has {found.shape[2]} channels; a photograph has 1 or 3.")
    found.thumbnail((LARGEST, LARGEST))
    pixels = np.asarray(found)
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    return from_bytes(pixels)


def surest(boxes: Sequence[Box]) -> Box | None:
    """The face found most surely, of several the largest; None where there is none."""
    return max(boxes, key=lambda box: (box.confidence, box.side), default=None)


def hold_out_split(method: Dazzle, faces: Sequence[Face], seed: int) -> tuple[list[int], list[int]]:
    """The faces to fit on, and those to judge on: with `per_face` all, in views not seen before."""
    count = len(faces)
    if method.per_face:
        return list(range(count)), list(range(count))
    wanted = count // 2 if method.fit is None else method.fit
    if not 0 < wanted < count:
        raise InputError(
            f"{count} faces, and {wanted or 'half of them'} to fit on: none would be left to "
            f"{'judge on' if wanted else 'fit on'}. Give more faces, or --set per_face=true for a look of "
            "each face's own."
        )
    rest = subset(None, count, count - wanted, seed)
    return sorted(set(range(count)) - set(rest)), rest


def left(artefact: Artefact, faces: Sequence[Face]) -> list[int]:
    """The faces that an artefact can be applied to: its own, or those it was not fitted on.

    Raises InputError where there are none.
    """
    seen = set(artefact.seen.tolist())
    own = artefact.method.per_face
    found = [i for i, face in enumerate(faces) if (face.key in seen) == own]
    if not found:
        raise InputError(
            "The artefact holds a look for each of its own faces, and none of them is here: give it these "
            "faces, or one look for all, fitted without per_face."
            if own
            else "The artefact was fitted on every one of these faces; give it others."
        )
    return found
