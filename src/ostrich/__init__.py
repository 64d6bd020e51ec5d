"""Ostrich takes a vision model's head out of the sand.

import ostrich
model = ostrich.load("zoo:toybox-resnet20")
images, labels = ostrich.data.toybox("test", limit=64)
pgd = ostrich.attacks.PGD(threat=ostrich.Linf(8 / 255), steps=40)
result = ostrich.attack(pgd, model, images, goal=ostrich.Untargeted(labels))
result.success, result.images, result.distance, result.forwards
"""

from ostrich import attacks, data, errors, images, units
from ostrich.attacks import L1, L2, Confident, Linf, Result, Targeted, Unbounded, Untargeted, attack
from ostrich.errors import InputError, OstrichError
from ostrich.models import Classifier, load

__version__ = "0.1.0"

__all__ = [
    "L1",
    "L2",
    "Classifier",
    "Confident",
    "InputError",
    "Linf",
    "OstrichError",
    "Result",
    "Targeted",
    "Unbounded",
    "Untargeted",
    "attack",
    "attacks",
    "data",
    "errors",
    "images",
    "load",
    "units",
]
