"""What the rows of the study `breaking` run: an attack on one share of a network's images.

Rows have a `kind`: "about" (the network, its images), "image" (one that was attacked, or made), "evolution",
"chance" (random changes of the same size), "transfer" (another network's image), "transformation" (of
prints). Every claim is a file of the trial's folder that was read back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ostrich.attacks import (
    CW,
    FGSM,
    LBFGS,
    PGD,
    AdversarialPatch,
    DeepFool,
    FoolingCPPN,
    FoolingDirect,
    InputSpecificAttack,
    Linf,
    OnePixel,
    Printed,
    Universal,
)
from ostrich.attacks.fooling.map_elites import EvolutionAttack
from ostrich.attacks.threats import Patch
from ostrich.studies.breaking_fitted import fitted
from ostrich.studies.breaking_fooling import climbed, evolved
from ostrich.studies.breaking_images import Opened, opened, printed, single
from ostrich.studies.schema import Row

if TYPE_CHECKING:
    from ostrich.studies.breaking import Settings

PATCHES = {"patch-5": 0.05, "patch-10": 0.1, "patch-20": 0.2}  # parts of the image's area
QUICK = ("fgsm", "pgd", "printed", "fooling-ascent", "universal", "deepfool", "lbfgs", "lbfgs-target")
ROWS = (*QUICK, *PATCHES, "fooling-direct", "fooling-cppn", "cw", "one-pixel")  # cheapest first
FOLDED = ("universal", *PATCHES)
EVOLVED: dict[str, type[EvolutionAttack]] = {"fooling-cppn": FoolingCPPN, "fooling-direct": FoolingDirect}

IMAGENET = 1000
EPS = {True: 4 / 255, False: 8 / 255}  # of fgsm and pgd, on a network of ImageNet or another
UNIVERSAL, PRINTED = 10 / 255, 16 / 255


def run(spec: Settings, name: str, seed: int, folder: Path) -> list[Row]:
    """The rows of one share of the row `name`."""
    own = opened(spec)
    if name in EVOLVED:
        method = EVOLVED[name](
            population=spec.fooling_population, generations=spec.fooling_generations, stop="budget"
        )
        return evolved(own, method, seed, folder)
    if name == "fooling-ascent":
        return climbed(own, spec.images, seed, folder)
    if name == "universal":
        method_ = Universal(threat=Linf(UNIVERSAL), epochs=spec.universal_epochs)
        return fitted(own, method_, None, spec.also, seed, folder)
    if name in PATCHES:
        patch = AdversarialPatch(threat=Patch(PATCHES[name]), epochs=spec.patch_epochs)
        return fitted(own, patch, own.classifier.class_index(spec.patch_target), (), seed, folder)
    if name == "printed":
        return printed(own, Printed(attack="fgsm", threat=Linf(PRINTED)), spec.images, seed, folder)
    return single(own, method_of(spec, name, own), _goal(spec, name, own), spec, name, seed, folder)


def method_of(spec: Settings, name: str, own: Opened) -> InputSpecificAttack:
    """The attack of a row on single images, with its settings."""
    eps = EPS[own.classifier.num_classes == IMAGENET]
    made: dict[str, Callable[[], InputSpecificAttack]] = {
        "fgsm": lambda: FGSM(threat=Linf(eps)),
        "pgd": lambda: PGD(threat=Linf(eps)),
        "deepfool": DeepFool,
        "lbfgs": lambda: LBFGS(constants=spec.lbfgs_constants),
        "lbfgs-target": lambda: LBFGS(constants=spec.lbfgs_constants),
        "cw": lambda: CW(constants=spec.cw_constants, iterations=spec.cw_iterations),
        "one-pixel": lambda: OnePixel(
            population=spec.one_pixel_population, generations=spec.one_pixel_generations
        ),
    }
    return made[name]()


def _goal(spec: Settings, name: str, own: Opened) -> int | None:
    return own.classifier.class_index(spec.target) if name == "lbfgs-target" else None
