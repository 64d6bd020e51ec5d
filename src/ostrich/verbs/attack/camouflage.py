"""`ostrich.attack` with a camouflage: looks under which faces are not found, fitted and judged.

A row of images.csv is a face in one view that the fitting has not seen: its size and tilt stand after its
name. Label 0 is a face, prediction 0 that the detector finds one there, 1 that it finds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ostrich.attacks.camouflage.dazzle import Dazzle, cma_package
from ostrich.attacks.camouflage.faces import FaceSet, applicable, hold_out_split, read_faces
from ostrich.attacks.camouflage.fitting import fit_looks
from ostrich.attacks.camouflage.judging import judge
from ostrich.attacks.engine.result import Result
from ostrich.attacks.fitted.artefact import Artefact
from ostrich.data.dataset import Dataset
from ostrich.errors import InputError
from ostrich.models.detectors import DETECTORS, PREFIX, Detector, open_detector
from ostrich.runtime.events import progress
from ostrich.runtime.runs import Run
from ostrich.verbs.attack.fitted import as_artefact
from ostrich.verbs.attack.given import Given
from ostrich.verbs.inputs import as_dataset
from ostrich.verbs.outcome import Kept, Where, begun

HEADLINE = ("faces", "n", "clean_accuracy", "success_rate", "by_chance")


class CamouflageResult(Kept, Result):
    """Whether a detector finds faces under a look: an element of each tensor is a face in one view.

    Views differ in size, so `originals`, `images` and `confidence` are empty here: the files are in `folder`.
    `artefact` holds the looks.
    """

    def __init__(self, result: Result, artefact: Artefact, run: Run, figures: Mapping[str, Any]) -> None:
        Result.__init__(self, **vars(result))
        Kept.__init__(self, f"attack-{artefact.method.name}", run, figures, "pictures.png", HEADLINE)
        self.artefact: Artefact = artefact


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Question:
    """A camouflage against a detector: all that decides its result. `method` is the artefact's, if any."""

    method: Dazzle
    artefact: Artefact | None
    detector: Detector
    dataset: Dataset
    faces: FaceSet
    limit: int | None
    seed: int

    @cached_property
    def split(self) -> tuple[list[int], list[int]]:
        """The faces to fit on, and to judge on. Raises InputError where there are none."""
        if self.artefact is None:
            return hold_out_split(self.method, self.faces.faces, self.seed)
        return [], applicable(self.artefact, self.faces.faces)

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        model = PREFIX + self.detector.name
        asked = {
            "model": [model],
            "detector": self.detector.digest(),
            "data": list(self.dataset.words),
            "sha256": self.faces.facts["sha256"],
            "limit": self.limit,
            "seed": self.seed,
            "attack": repr(self.method),
            "artefact": None if self.artefact is None else self.artefact.digest(),
        }
        return begun(
            f"attack-{self.method.name}",
            asked,
            model=model,
            device=torch.device("cpu"),
            data=self.faces.facts,
            seed=self.seed,
            out=out,
            force=force,
        )

    def answered(self, run: Run) -> CamouflageResult:
        """Fit and judge; the files lie in the run directory."""
        method, detector, artefact = self.method, self.detector, self.artefact
        chosen, rest = self.split
        if artefact is None:
            own = [self.faces.faces[i] for i in chosen]
            with progress(f"{method.name} on {len(own)} faces", len(own), "faces") as advance:
                artefact = fit_looks(method, detector, own, self.seed, self.faces.facts["name"], run, advance)
        faces = [self.faces.faces[i] for i in rest]
        with progress(f"{len(faces)} faces", len(faces), "faces") as advance:
            result, figures = judge(
                artefact, detector, faces, self.faces.backgrounds, self.seed, run, advance
            )
        figures["left_out"] = len(self.faces.faces) - len(faces)
        return CamouflageResult(result, artefact, run, figures)


def asked(given: Given, model: object) -> Question:
    """A camouflage as it is given. Raises InputError for what cannot be fitted or judged."""
    kind = given.kind
    if not issubclass(kind, Dazzle):
        raise InputError(f"{kind.name}: a camouflage of your own derives from ostrich.attacks.Dazzle.")
    artefact = None if given.artefact is None else as_artefact(given.artefact, kind)
    method = given.attack() if artefact is None else artefact.method
    assert isinstance(method, Dazzle)
    detector = as_detector(model)
    if artefact is None:
        cma_package()  # before the faces are looked for
    dataset = as_dataset(given.images)
    question = Question(
        method=method,
        artefact=artefact,
        detector=detector,
        dataset=dataset,
        faces=read_faces(dataset, detector, given.limit, given.seed, given.skip_bad),
        limit=given.limit,
        seed=given.seed,
    )
    question.split  # noqa: B018 - refused before anything is written
    return question


def as_detector(model: object) -> Detector:
    """The detector that a text names, or one as it is. Raises InputError, UnknownName, MissingExtra."""
    if isinstance(model, str):
        return open_detector(model)
    if isinstance(model, Detector):
        return model
    raise InputError(
        f"A camouflage hides faces from a detector: {', '.join(PREFIX + name for name in DETECTORS)}, or an "
        "object with the methods of ostrich.models.detectors.Detector; got "
        f"{type(model).__name__}."
    )
