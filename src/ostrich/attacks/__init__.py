"""Attacks: an algorithm for a goal under a threat model, run by one engine.

A new attack is one file and its line in `ATTACKS`.
"""

from ostrich.attacks.engine import Result, attack
from ostrich.attacks.fooling.ascent import FoolingAscent
from ostrich.attacks.goals import Confident, Goal, Targeted, Untargeted
from ostrich.attacks.gradient.fgsm import FGSM
from ostrich.attacks.gradient.pgd import PGD
from ostrich.attacks.minimum_norm.lbfgs import LBFGS
from ostrich.attacks.threats import L1, L2, Linf, Threat, Unbounded

ATTACKS = {method.name: method for method in (FGSM, PGD, LBFGS, FoolingAscent)}

__all__ = [
    "ATTACKS",
    "FGSM",
    "L1",
    "L2",
    "LBFGS",
    "PGD",
    "Confident",
    "FoolingAscent",
    "Goal",
    "Linf",
    "Result",
    "Targeted",
    "Threat",
    "Unbounded",
    "Untargeted",
    "attack",
]
