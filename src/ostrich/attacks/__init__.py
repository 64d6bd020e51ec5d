"""Attacks: an algorithm for a goal under a threat model, run by one engine.

A new attack is one file and its line in `_ATTACKS`; one of the user's own is a file and its class's name,
`FILE.py:CLASS`. What an attack may have, its base in `base.py` says.
"""

from pathlib import Path
from typing import Any

from ostrich.attacks.autoattack import AutoAttack
from ostrich.attacks.base import (
    ATTACKS,
    Attack,
    CamouflageAttack,
    EndingState,
    FittedAttack,
    InputSpecificAttack,
    State,
    check_class,
)
from ostrich.attacks.camouflage.dazzle import Dazzle
from ostrich.attacks.decision_based.boundary import Boundary
from ostrich.attacks.decision_based.hopskipjump import HopSkipJump
from ostrich.attacks.decision_based.rays import RayS
from ostrich.attacks.engine.runner import Result, attack
from ostrich.attacks.eot import EOT
from ostrich.attacks.fitted.learned_attacker import Generator
from ostrich.attacks.fitted.universal_perturbation import Universal
from ostrich.attacks.fooling.ascent import FoolingAscent
from ostrich.attacks.fooling.cppn import FoolingCPPN
from ostrich.attacks.fooling.direct import FoolingDirect
from ostrich.attacks.goals import Confident, Goal, Targeted, Untargeted
from ostrich.attacks.gradient.apgd import APGD
from ostrich.attacks.gradient.fgsm import FGSM
from ostrich.attacks.gradient.mim import MIM
from ostrich.attacks.gradient.pgd import PGD
from ostrich.attacks.minimum_norm.cw import CW
from ostrich.attacks.minimum_norm.ddn import DDN
from ostrich.attacks.minimum_norm.deepfool import DeepFool
from ostrich.attacks.minimum_norm.fab import FAB
from ostrich.attacks.minimum_norm.lbfgs import LBFGS
from ostrich.attacks.physical.patch import AdversarialPatch
from ostrich.attacks.physical.printed import Printed
from ostrich.attacks.physical.texture import AdversarialTexture
from ostrich.attacks.score_based.one_pixel import OnePixel
from ostrich.attacks.score_based.square import Square
from ostrich.attacks.threats import L1, L2, Linf, Patch, Pixels, Threat, Unbounded
from ostrich.attacks.threats.cielab import Lab
from ostrich.errors import ContractError, UnknownName
from ostrich.runtime.python_file import from_file

_ATTACKS: tuple[type[Attack], ...] = (
    *(FGSM, PGD, MIM, APGD),
    *(LBFGS, DeepFool, CW, FAB, DDN),
    *(OnePixel, Square),
    *(Boundary, HopSkipJump, RayS),
    AutoAttack,
    Printed,
    *(FoolingAscent, FoolingCPPN, FoolingDirect),
    *(Universal, Generator, AdversarialPatch, AdversarialTexture),
    Dazzle,
)
ATTACKS.update({method.name: method for method in _ATTACKS})
INPUT_SPECIFIC = {name: m for name, m in ATTACKS.items() if issubclass(m, InputSpecificAttack)}
CAMOUFLAGE = {name: m for name, m in ATTACKS.items() if issubclass(m, CamouflageAttack)}
IMAGE_AGNOSTIC = {
    name: m for name, m in ATTACKS.items() if issubclass(m, FittedAttack) and name not in CAMOUFLAGE
}


def find(name: str) -> type[Attack]:
    """The attack of that name, or the class of FILE.py:CLASS.

    Raises UnknownName, InputError for a file that cannot be read, ContractError for a class that is no
    attack.
    """
    path, colon, word = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        if name not in ATTACKS:
            raise UnknownName("attack", name, ATTACKS, "A class of your own is FILE.py:CLASS.")
        return ATTACKS[name]
    found = from_file(Path(path), word)
    if not isinstance(found, type) or not issubclass(found, Attack):
        raise ContractError(
            f"{name}: a class that derives from InputSpecificAttack or FittedAttack is expected."
        )
    check_class(found)
    return found


def known_attacks() -> list[dict[str, Any]]:
    """The rows of `ostrich list attacks`: name, what it needs of a network, kind, threat models."""
    return [
        {"name": m.name, "needs": m.needs, "kind": m.kind, "threat_models": list(m.norms)}
        for m in ATTACKS.values()
    ]


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
    "INPUT_SPECIFIC",
    "L1",
    "L2",
    "LBFGS",
    "MIM",
    "PGD",
    "AdversarialPatch",
    "AdversarialTexture",
    "Attack",
    "AutoAttack",
    "Boundary",
    "CamouflageAttack",
    "Confident",
    "Dazzle",
    "DeepFool",
    "EndingState",
    "FittedAttack",
    "FoolingAscent",
    "FoolingCPPN",
    "FoolingDirect",
    "Generator",
    "Goal",
    "HopSkipJump",
    "InputSpecificAttack",
    "Lab",
    "Linf",
    "OnePixel",
    "Patch",
    "Pixels",
    "Printed",
    "RayS",
    "Result",
    "Square",
    "State",
    "Targeted",
    "Threat",
    "Unbounded",
    "Universal",
    "Untargeted",
    "attack",
    "find",
    "known_attacks",
]
