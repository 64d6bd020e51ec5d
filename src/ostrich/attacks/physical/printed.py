"""Printed and photographed: do adversarial images survive paper and a camera?

Kurakin, Goodfellow, Bengio 2017, "Adversarial examples in the physical world". There images were
printed, photographed by a phone and cropped; here both are simulated: the colours of four-colour print,
a view that is not quite straight, blur, contrast, brightness, noise and JPEG, each drawn anew for every
image, the same for an image and its adversarial.

Section 3.1, the destruction rate: of the images that were right before and whose adversarial is
misclassified, the part whose adversarial is no longer misclassified once transformed; section 4, the same
for each transformation alone. Beside each stands how many of the clean images it spares.

What is printed is the adversarial file, inside the budget. A success is one whose photograph fools as
well, while the photograph of the clean image does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.eot import EOT
from ostrich.attacks.gradient.apgd import APGD
from ostrich.attacks.gradient.fgsm import FGSM
from ostrich.attacks.gradient.mim import MIM
from ostrich.attacks.gradient.pgd import PGD
from ostrich.attacks.physical.printability import on_paper
from ostrich.attacks.threats import Linf, Threat
from ostrich.errors import InputError
from ostrich.images import fingerprints, grid, rounded, write_png
from ostrich.models.answers import predictions
from ostrich.runtime.randomness import keyed

if TYPE_CHECKING:
    from ostrich.attacks.engine.result import Result
    from ostrich.attacks.goals import Goal
    from ostrich.models.classifier import Classifier

ATTACKS = {method.name: method for method in (FGSM, MIM, PGD, APGD)}
CAMERA = 31  # the purpose of the random numbers of a photograph
STRAIGHT = EOT(samples=1, rotation=0, scale=0, translation=0, brightness=0)
VIEW = ("rotation", "scale", "translation", "perspective")
SHOWN = 6  # images in the sheet


@dataclass(frozen=True, kw_only=True)
class Printed(InputSpecificAttack):
    """Printed and photographed: the gradients of `attack`, its budget spent, and two forwards per image.

    Kurakin, Goodfellow, Bengio 2017, "Adversarial examples in the physical world"; the budget is the largest
    of its table 1.

    attack       what makes the adversarial images
    iterations   of an attack of several steps; None: its own
    paper        whether in the colours of print
    rotation     most degrees, either way
    scale        part of the size, either way
    translation  part of the side, in both directions
    perspective  by which one side may be nearer than the other, part of the size
    blur         standard deviation, pixels
    contrast     part of the distance from middle grey, either way
    brightness   most that is added to all values, either way
    noise        standard deviation, of values in [0, 1]
    jpeg         lowest quality, 1 to 95; 0: none

    Raises InputError for a strength outside of its range, for iterations of fgsm, and for networks of other
    than 1 or 3 channels.
    """

    name: ClassVar[str] = "printed"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    stop: ClassVar[str] = "budget"
    photographs: ClassVar[bool] = True

    threat: Threat = Linf(16 / 255)
    attack: Literal["fgsm", "mim", "pgd", "apgd"] = "pgd"
    iterations: int | None = None
    paper: bool = True
    rotation: float = 2.0
    scale: float = 0.02
    translation: float = 0.01
    perspective: float = 0.02
    blur: float = 0.5
    contrast: float = 0.2
    brightness: float = 0.1
    noise: float = 0.02
    jpeg: int = 80

    def validate(self) -> None:
        if self.iterations is not None and self.attack == "fgsm":
            raise InputError("fgsm is one step; leave iterations out, or give attack=pgd.")
        assert self.members and self.camera  # their own checks refuse the rest

    def check_classifier(self, classifier: Classifier) -> None:
        """Refuse images that cannot be printed."""
        if classifier.channels not in (1, 3):
            raise InputError(f"A print has 1 or 3 channels; {classifier.name} takes {classifier.channels}.")

    @property
    def members(self) -> tuple[InputSpecificAttack, ...]:
        """The attack whose images are printed."""
        given: dict[str, Any] = {"threat": self.threat}
        if self.attack != "fgsm":
            given |= {"stop": "budget"}
            given |= {} if self.iterations is None else {"steps": self.iterations}
        return (ATTACKS[self.attack](**given),)

    @property
    def camera(self) -> EOT:
        """What a photograph does to a print."""
        names = (*VIEW, "blur", "contrast", "brightness", "noise", "jpeg")
        return EOT(samples=1, **{name: vars(self)[name] for name in names})

    @property
    def steps(self) -> int:
        return self.members[0].steps

    def parts(self) -> dict[str, Printed]:
        """By name, this photograph with one of its transformations alone, of those it has."""
        nothing = dict.fromkeys((*VIEW, "blur", "contrast", "brightness", "noise", "jpeg"), 0)
        bare = replace(self, paper=False, **nothing)  # type: ignore[arg-type]
        groups = {"paper": ("paper",), "view": VIEW} | {
            name: (name,) for name in ("blur", "contrast", "brightness", "noise", "jpeg")
        }
        return {
            name: replace(bare, **{field: vars(self)[field] for field in fields})
            for name, fields in groups.items()
            if any(vars(self)[field] for field in fields)
        }

    def photographed(self, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """The photographs (n, C, H, W), in 8 bits, of prints of `images`; `keys` are the originals'."""
        prints = on_paper(images) if self.paper else images
        return rounded(self.camera.apply(prints, [keyed(seed, key, CAMERA) for key in keys]))

    def report(
        self,
        folder: Path,
        classifier: Classifier,
        index: Sequence[int],
        goal: Goal,
        result: Result,
        seed: int,
    ) -> dict[str, Any]:
        """Write the photographs, photographs.csv and the sheet; destruction rates for run.json."""
        from ostrich.attacks.photographs import write_photographs

        clean, broken = (_photographs(self, x, result, seed) for x in (result.originals, result.images))
        seen = predictions(classifier.predict(clean)), predictions(classifier.predict(broken))
        rows = result.attacked.nonzero()[:, 0].tolist()
        write_photographs(folder, index, rows, (clean, broken), seen, result.success)
        write_png(folder / "pictures.png", _sheet(result, clean, broken))
        return survival(self, classifier, goal, result, seed)


def survival(
    method: Printed, classifier: Classifier, goal: Goal, result: Result, seed: int = 0
) -> dict[str, Any]:
    """Destruction rates, and how many clean images are seen as before, as a whole and per transformation.

    `n` are the images attacked, `n_fooled` those whose file fools; a rate of none is None.
    """
    fooled = result.attacked & _hits(goal, result.predictions)
    whole = {"photograph": method} | method.parts()
    destroyed, kept = {}, {}
    for name, part in whole.items():
        shots = [_photographs(part, x, result, seed) for x in (result.originals, result.images)]
        clean, broken = (predictions(classifier.predict(x)) for x in shots)
        destroyed[name] = _mean(~_hits(goal, broken)[fooled])
        kept[name] = _mean((clean == result.clean_predictions)[result.attacked])
    return {
        "n_attacked": int(result.attacked.sum()),
        "n_fooled": int(fooled.sum()),
        "destruction_rate": destroyed,
        "clean_kept": kept,
    }


def _photographs(method: Printed, images: Tensor, result: Result, seed: int) -> Tensor:
    keys = fingerprints(result.originals)
    return method.photographed(images, keys, seed) if len(images) else images


def _hits(goal: Goal, seen: Tensor) -> Tensor:
    """Whether predictions (N,) are what the goal is, (N,): no answer has left every label."""
    same = seen == goal.classes
    return ~same if goal.kind == "untargeted" else same


def _mean(hits: Tensor) -> float | None:
    return hits.double().mean().item() if len(hits) else None


def _sheet(result: Result, clean: Tensor, broken: Tensor) -> Tensor:
    """Of some images, successes first: the image, the adversarial, and the photographs of both."""
    order = (~result.success).to(torch.uint8).argsort(stable=True)[:SHOWN].tolist()
    columns = (result.originals, result.images, clean, broken)
    return grid(torch.stack([images[i] for i in order for images in columns]), columns=4)
