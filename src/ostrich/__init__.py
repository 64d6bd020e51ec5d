"""Ostrich takes a vision model's head out of the sand.

>>> import ostrich
>>> model = ostrich.load("zoo:toybox-resnet20")  # or a module: ostrich.load(my_module, mean=..., std=...)
>>> images, labels = ostrich.data.toybox("test", limit=64)
>>> result = ostrich.attack("pgd", model, images, labels, eps=8 / 255, steps=40)
>>> result.success.shape, result.images.shape, result.forwards.shape
(torch.Size([64]), torch.Size([64, 3, 64, 64]), torch.Size([64]))
>>> result
<attack-pgd: n=64, clean_accuracy=..., success_rate=..., robust_accuracy=..., forwards_per_image=...>
>>> result.save("runs/mine")
PosixPath('runs/mine')

Words that mean the same in every call:

model       a network: a MODEL as the command line takes it, a torch module, a function, or a `Classifier`
classifier  a `Classifier`: a network with its preprocessing, called on images
images      float tensor (N, C, H, W) in [0, 1], or what becomes one: DATA, files, a data set, a DataLoader
labels      class indices, int64 (N,)
seed        of all that is random; with it and the same images, on the same machine, the same result
device      "auto", "cpu", "cuda" or a torch device, on which it is computed
limit       most images, a seeded and class-balanced choice; None: all
out         the run directory to write into; None: nothing is written before `save`
force       write into a run directory that is finished already
progress    called with what is done and how much there is
"""

from typing import TYPE_CHECKING

import lazy_loader

from ostrich.errors import InputError, OstrichError

if TYPE_CHECKING:
    from ostrich import attacks, attribution, corruptions, data, images, inspection, visualization
    from ostrich.attacks import (
        L1,
        L2,
        Confident,
        Linf,
        Patch,
        Pixels,
        Result,
        Targeted,
        Unbounded,
        Untargeted,
    )
    from ostrich.models import Classifier, load
    from ostrich.verbs import generate
    from ostrich.verbs.attack import attack
    from ostrich.verbs.certify import certify
    from ostrich.verbs.check import check
    from ostrich.verbs.compare import compare
    from ostrich.verbs.doctor import doctor
    from ostrich.verbs.explain import explain
    from ostrich.verbs.report import report
    from ostrich.verbs.status import status
    from ostrich.verbs.study import study
    from ostrich.verbs.train import train
    from ostrich.verbs.visualize import visualize

__version__ = "0.1.0"

_ROOMS = ["attacks", "attribution", "corruptions", "data", "images", "inspection", "visualization"]
_NAMES = {
    "attacks": [
        "L1",
        "L2",
        "Confident",
        "Linf",
        "Patch",
        "Pixels",
        "Result",
        "Targeted",
        "Unbounded",
        "Untargeted",
    ],
    "models": ["Classifier", "load"],
    "verbs": ["generate"],
    "verbs.attack": ["attack"],
    "verbs.explain": ["explain"],
    "verbs.visualize": ["visualize"],
    "verbs.compare": ["compare"],
    "verbs.report": ["report"],
    "verbs.status": ["status"],
    "verbs.study": ["study"],
    "verbs.train": ["train"],
    "verbs.certify": ["certify"],
    "verbs.check": ["check"],
    "verbs.doctor": ["doctor"],
}
_load, __dir__, _all = lazy_loader.attach(__name__, _ROOMS, _NAMES)
_FORMER = {"units": "ostrich.inspection.units"}  # of one version: names that were public, and where they are

__all__ = [
    "L1",
    "L2",
    "Classifier",
    "Confident",
    "InputError",
    "Linf",
    "OstrichError",
    "Patch",
    "Pixels",
    "Result",
    "Targeted",
    "Unbounded",
    "Untargeted",
    "attack",
    "attacks",
    "attribution",
    "certify",
    "check",
    "compare",
    "corruptions",
    "data",
    "doctor",
    "explain",
    "generate",
    "images",
    "inspection",
    "load",
    "report",
    "status",
    "study",
    "train",
    "visualization",
    "visualize",
]


def __getattr__(name: str) -> object:
    if name in _FORMER:
        import warnings
        from importlib import import_module

        where = _FORMER[name]
        warnings.warn(f"ostrich.{name} is {where} now.", DeprecationWarning, stacklevel=2)
        return import_module(where)
    return _load(name)
