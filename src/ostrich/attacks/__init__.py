"""Attacks: an algorithm for a goal under a threat model, run by one engine.

A new attack is one file and its line in `ATTACKS`, or where it is fitted on some images and applied
to others, in `IMAGE_AGNOSTIC`; what hides faces from a detector, in `CAMOUFLAGE`.
"""

from ostrich.attacks.decision_based.boundary import Boundary
from ostrich.attacks.decision_based.hopskipjump import HopSkipJump
from ostrich.attacks.engine import Result, attack
from ostrich.attacks.ensemble import AutoAttack
from ostrich.attacks.fooling.ascent import FoolingAscent
from ostrich.attacks.fooling.cppn import FoolingCPPN
from ostrich.attacks.fooling.direct import FoolingDirect
from ostrich.attacks.goals import Confident, Goal, Targeted, Untargeted
from ostrich.attacks.gradient.apgd import APGD
from ostrich.attacks.gradient.fgsm import FGSM
from ostrich.attacks.gradient.mim import MIM
from ostrich.attacks.gradient.pgd import PGD
from ostrich.attacks.lab import Lab
from ostrich.attacks.minimum_norm.cw import CW
from ostrich.attacks.minimum_norm.ddn import DDN
from ostrich.attacks.minimum_norm.deepfool import DeepFool
from ostrich.attacks.minimum_norm.fab import FAB
from ostrich.attacks.minimum_norm.lbfgs import LBFGS
from ostrich.attacks.physical.dazzle import Dazzle
from ostrich.attacks.physical.patch import AdversarialPatch
from ostrich.attacks.physical.printed import Printed
from ostrich.attacks.physical.texture import AdversarialTexture
from ostrich.attacks.score_based.one_pixel import OnePixel
from ostrich.attacks.score_based.square import Square
from ostrich.attacks.threats import L1, L2, Linf, Patch, Pixels, Threat, Unbounded
from ostrich.attacks.transformations import EOT
from ostrich.attacks.universal.generator import Generator
from ostrich.attacks.universal.perturbation import Universal

_METHODS = (
    *(FGSM, PGD, MIM, APGD),
    *(LBFGS, DeepFool, CW, FAB, DDN),
    *(OnePixel, Square),
    *(Boundary, HopSkipJump),
    AutoAttack,
    Printed,
    *(FoolingAscent, FoolingCPPN, FoolingDirect),
)
ATTACKS = {method.name: method for method in _METHODS}
IMAGE_AGNOSTIC = {
    method.name: method for method in (Universal, Generator, AdversarialPatch, AdversarialTexture)
}
CAMOUFLAGE = {Dazzle.name: Dazzle}

__all__ = [
    "APGD",
    "ATTACKS",
    "CAMOUFLAGE",
    "CW",
    "DDN",
    "EOT",
    "FAB",
    "FGSM",
    "IMAGE_AGNOSTIC",
    "L1",
    "L2",
    "LBFGS",
    "MIM",
    "PGD",
    "AdversarialPatch",
    "AdversarialTexture",
    "AutoAttack",
    "Boundary",
    "Confident",
    "Dazzle",
    "DeepFool",
    "FoolingAscent",
    "FoolingCPPN",
    "FoolingDirect",
    "Generator",
    "Goal",
    "HopSkipJump",
    "Lab",
    "Linf",
    "OnePixel",
    "Patch",
    "Pixels",
    "Printed",
    "Result",
    "Square",
    "Targeted",
    "Threat",
    "Unbounded",
    "Universal",
    "Untargeted",
    "attack",
]
