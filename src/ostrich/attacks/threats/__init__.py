"""Threat models: what may change, and by how much.

Distances are between images with values in [0, 1], over all channels and pixels. A threat model
projects into its budget, draws random starts, gives the direction of steepest descent, and
quantizes images to the 8-bit grid without leaving the budget.
"""

from collections.abc import Callable

from ostrich.attacks.threats.base import TOLERANCE, Draw, Threat, exact_distance, within
from ostrich.attacks.threats.cielab import Lab
from ostrich.attacks.threats.l1 import L1
from ostrich.attacks.threats.l2 import L2
from ostrich.attacks.threats.linf import Linf
from ostrich.attacks.threats.patch import Patch
from ostrich.attacks.threats.pixels import Pixels
from ostrich.attacks.threats.unbounded import Unbounded

NORMS: dict[str, Callable[[float], Threat]] = {
    "linf": Linf,
    "l2": L2,
    "l1": L1,
    "l0": Pixels,
    "patch": Patch,
    "lab": Lab,
}
EPS = {  # budgets where none is given: the field's usual ones
    "linf": 8 / 255,
    "l2": 0.5,
    "l1": 12.0,
    "l0": 1,
    "patch": 0.08,
    "lab": 10.0,
}

__all__ = [
    "EPS",
    "L1",
    "L2",
    "NORMS",
    "TOLERANCE",
    "Draw",
    "Lab",
    "Linf",
    "Patch",
    "Pixels",
    "Threat",
    "Unbounded",
    "exact_distance",
    "within",
]
