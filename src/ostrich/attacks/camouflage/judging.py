"""How a look under which faces are not found is judged: in held-out views, on files as they are read back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostrich.attacks.camouflage.dazzle import Dazzle, Face, View, random_of
from ostrich.attacks.camouflage.pictures import before_and_after, on_a_blank_face
from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.figures import attack_figures
from ostrich.attacks.engine.result import Result
from ostrich.attacks.fitted.artefact import FILE, Artefact
from ostrich.images import read_png, write_png
from ostrich.models.detectors import Box, Detector, grey, others
from ostrich.runtime.events import Progress, silent
from ostrich.runtime.runs import Run

SHOWN = 6  # faces in the picture


@dataclass(frozen=True)
class JudgedView:
    """A face in one view: the files, and whether each detector finds it untouched and camouflaged."""

    face: Face
    view: View
    covered: float
    clean_file: str
    adversarial_file: str
    found: Mapping[str, tuple[bool, bool]]
    found_under_random: bool  # whether it is found under a random look
    confidence: float | None


def finds(detector: Detector, image: Tensor, box: Box) -> list[Box]:
    """The detections that have anything in common with the face's box."""
    return [one for one in detector.boxes(grey(image)) if one.overlaps(box)]


def judge(
    artefact: Artefact,
    detector: Detector,
    faces: Sequence[Face],
    backgrounds: Sequence[Tensor],
    seed: int,
    run: Run,
    progress: Progress = silent,
) -> tuple[Result, dict[str, Any]]:
    """Write the images, images.csv and the pictures; the result of what was held out, and its figures."""
    started, method = time.monotonic(), artefact.method
    assert isinstance(method, Dazzle)
    looks = looks_of(artefact, faces)
    more = others(detector.name)
    detectors, rows = [detector, *filter(None, more.values())], list[JudgedView]()
    for done, (face, look) in enumerate(zip(faces, looks, strict=True), 1):
        rows += judge_views(method, face, look, detectors, seed, run, len(rows))
        progress(done, len(faces))
    result, right = as_result(rows, detector.name)
    write_rows(run.folder, rows, result, detector.name)
    before_and_after(run.folder / "pictures.png", detector, faces[:SHOWN], looks, method)
    if not method.per_face:
        write_png(run.folder / "artefact.png", on_a_blank_face(looks[0], method, faces[0].room))
    if not (run.folder / FILE).exists():
        artefact.save(run.folder / FILE)
    figures = attack_figures(method.name, result, method.threat.norm, right, True, time.monotonic() - started)
    hidden = [not row.found_under_random for row, before in zip(rows, right.tolist()) if before]
    return result, figures | {
        "fooling_rate": figures["success_rate"],
        "by_chance": float(np.mean(hidden)) if hidden else None,
        "faces": len(faces),
        "views": method.views,
        "detected": shares(rows, detector.name)
        | {"random look": float(np.mean([row.found_under_random for row in rows]))},
        "transfer": {other: None if one is None else shares(rows, other) for other, one in more.items()},
        "false_alarms": alarms(detectors, backgrounds),
        "artefact": FILE,
        "fitted_on": dict(artefact.facts),
    }


def looks_of(artefact: Artefact, faces: Sequence[Face]) -> list[np.ndarray]:
    """The look of each face: its own, or the one for all."""
    looks = artefact.tensors["looks"].double().numpy()
    if len(looks) == 1 and not artefact.method.per_face:
        return [looks[0]] * len(faces)
    place = {key: i for i, key in enumerate(artefact.seen.tolist())}
    return [looks[place[face.key]] for face in faces]


def judge_views(
    method: Dazzle,
    face: Face,
    look: np.ndarray,
    detectors: Sequence[Detector],
    seed: int,
    run: Run,
    first: int,
) -> list[JudgedView]:
    """A face in its held-out views, of the files as they are read back."""
    wearing = face.wearing(look, method)
    rows: list[JudgedView] = []
    for number, view in enumerate(method.held_out(face.key, seed)):
        box = view.box(face.box, face.size)
        files = [f"images/{first + number:05d}-{kind}.png" for kind in ("clean", "adversarial")]
        for file, image in zip(files, (face.picture, wearing), strict=True):
            write_png(run.folder / file, view.of(image[None])[0])
        clean, after = (read_png(run.folder / file) for file in files)
        seen = [(one.name, finds(one, clean, box), finds(one, after, box)) for one in detectors]
        random = face.wearing(random_of(method, face.key, number, seed), method)
        rows.append(
            JudgedView(
                face=face,
                view=view,
                covered=face.covered(wearing),
                clean_file=files[0],
                adversarial_file=files[1],
                found={name: (bool(before), bool(then)) for name, before, then in seen},
                found_under_random=bool(finds(detectors[0], view.of(random[None])[0], box)),
                confidence=max((one.confidence for one in seen[0][2]), default=None),
            )
        )
    return rows


def as_result(rows: Sequence[JudgedView], name: str) -> tuple[Result, Tensor]:
    """The rows as an attack's result, and which of them were right before: found untouched."""
    before, after = (torch.tensor([row.found[name][i] for row in rows]) for i in (0, 1))
    covered = torch.tensor([row.covered for row in rows], dtype=torch.float64)
    nothing, once = torch.empty(0), torch.ones(len(rows), dtype=torch.int64)
    result = Result(
        originals=nothing,
        images=nothing,
        float_images=nothing,
        success=before & ~after,
        attacked=before,
        clean_predictions=(~before).long(),
        predictions=(~after).long(),
        confidence=nothing,
        distance=covered,
        distance_float=covered,
        forwards=2 * once,
        backwards=0 * once,
        found_by=-1 * once,
        zero_gradient=~torch.ones_like(before),
        flat_scores=~torch.ones_like(before),
        worked=torch.ones_like(before),
        unattacked=~torch.ones_like(before),
        fooled_draws=(before & ~after).double(),
    )
    return result, before


def write_rows(folder: Path, rows: Sequence[JudgedView], result: Result, name: str) -> None:
    """images.csv."""
    table: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        before, after = row.found[name]
        line: dict[str, Any] = {
            "index": i,
            "file": f"{row.face.name} x{row.view.scale:.3f} {row.view.tilt:+.1f}",
            "label": 0,
            "clean_prediction": int(not before),
            "goal": "untargeted",
            "success": "true" if result.success[i] else "false",
            "forwards": 2,
            "backwards": 0,
            "clean_file": row.clean_file,
        }
        if before:
            line |= {
                "adversarial_prediction": int(not after),
                "confidence": "" if row.confidence is None else f"{row.confidence:.6f}",
                "distance": f"{row.covered:.6g}",
                "distance_float": f"{row.covered:.6g}",
                "adversarial_file": row.adversarial_file,
            }
        table.append(line)
    evidence.write_table(folder / "images.csv", evidence.COLUMNS, table)


def shares(rows: Sequence[JudgedView], name: str) -> dict[str, float]:
    """The parts of all views in which a detector finds the face, untouched and camouflaged."""
    before, after = (float(np.mean([row.found[name][i] for row in rows])) for i in (0, 1))
    return {"untouched": before, "camouflaged": after}


def alarms(detectors: Sequence[Detector], backgrounds: Sequence[Tensor]) -> dict[str, float] | None:
    """The part of the data's pictures without a face in which each detector finds one."""
    if not backgrounds:
        return None
    return {
        one.name: float(np.mean([bool(one.boxes(grey(image))) for image in backgrounds])) for one in detectors
    }
