"""The faces of a data set, and which of them a look is fitted on and judged on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ostrich.attacks.camouflage.dazzle import Dazzle, Face
from ostrich.attacks.fitted import held_out as fitted
from ostrich.attacks.fitted.artefact import Artefact
from ostrich.data.dataset import Dataset
from ostrich.data.faces import BOX, CLASS_NAMES
from ostrich.data.split import subset
from ostrich.errors import InputError, UnreadableImage
from ostrich.images import fingerprints, from_bytes
from ostrich.models.detectors import Box, Detector, grey

LARGEST = 640  # pixels: what a photograph's longer side is brought down to


@dataclass(frozen=True, eq=False, repr=False)
class FaceSet:
    """The faces of a data set, its pictures without any, (C, H, W), and the facts for run.json."""

    faces: list[Face]
    backgrounds: list[Tensor]
    facts: dict[str, Any]


def read_faces(dataset: Dataset, detector: Detector, limit: int | None, seed: int, skip_bad: bool) -> FaceSet:
    """Faces of known place, or photographs in which the detector finds the surest face by itself."""
    leave_out = skip_bad or dataset.skip_bad
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
            if not leave_out:
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
        elif leave_out:
            skipped.append(dataset.files[i])
        else:
            raise InputError(
                f"{detector.name} finds no face in {dataset.files[i]}, so there is nothing to hide from it: "
                "give another picture, a larger or more frontal face, or skip_bad to leave it out."
            )
    if dataset.levels is not None:
        dataset.levels.check(dataset.name)
    if not faces:
        raise InputError(
            f"{detector.name} finds no face in {dataset.name}: there is nothing to hide from it. Give "
            "photographs with a frontal face, or `faces`."
        )
    facts: dict[str, Any] = {"name": dataset.name, "n": count, "sha256": checksum.hexdigest()}
    return FaceSet(faces, backgrounds, facts | ({"skipped": skipped} if skipped else {}))


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
    if method.per_face:
        return list(range(len(faces))), list(range(len(faces)))
    otherwise = "or per_face=true for a look of each face's own"
    keys = [face.key for face in faces]
    return fitted.hold_out_split(keys, method.fit, None, seed, what="faces", otherwise=otherwise)


def applicable(artefact: Artefact, faces: Sequence[Face]) -> list[int]:
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
