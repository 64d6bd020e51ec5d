"""Ostrich takes a vision model's head out of the sand.

import ostrich
model = ostrich.load("zoo:toybox-resnet20")
images, labels = ostrich.data.toybox("test", limit=64)
pgd = ostrich.attacks.PGD(threat=ostrich.Linf(8 / 255), steps=40)
result = ostrich.attack(pgd, model, images, goal=ostrich.Untargeted(labels))
result.success, result.images, result.distance, result.forwards
"""

from typing import TYPE_CHECKING

from ostrich._lazy import lazily
from ostrich.errors import InputError, OstrichError

if TYPE_CHECKING:
    from ostrich import attacks, attribution, data, images
    from ostrich.attacks import L1, L2, Confident, Linf, Result, Targeted, Unbounded, Untargeted, attack
    from ostrich.inspection import units
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
    "attribution",
    "data",
    "images",
    "load",
    "units",
]

_ATTACKS = ("L1", "L2", "Confident", "Linf", "Result", "Targeted", "Unbounded", "Untargeted", "attack")
__getattr__ = lazily(
    __name__,
    {
        **dict.fromkeys(("attacks", "attribution", "data", "images", "units"), ""),
        **dict.fromkeys(_ATTACKS, "ostrich.attacks"),
        **dict.fromkeys(("Classifier", "load"), "ostrich.models"),
    },
)
