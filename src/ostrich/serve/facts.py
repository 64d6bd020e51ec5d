"""What the page has to know before anything is asked: the network, the images, and what can be done."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ostrich.attacks import IMAGE_AGNOSTIC, INPUT_SPECIFIC
from ostrich.attacks.base import NEEDS
from ostrich.attacks.threats import EPS
from ostrich.attribution import EXPLAINERS
from ostrich.corruptions import FAMILIES
from ostrich.generative.generator import known_generators
from ostrich.serve.jobs.fitted import FITTED
from ostrich.serve.playground import Playground
from ostrich.visualization import PRESET, PRESETS

SHOWN = 60  # images of DATA to pick from
NOT_LIVE = ("autoattack", "printed")  # of many parts; the command line has them


def facts_of(playground: Playground) -> dict[str, Any]:
    """As JSON. What needs gradients is left out where the network gives none, and `access` says so."""
    classifier, samples = playground.classifier, playground.samples
    access = classifier.access
    gradients = access == "gradient"
    return {
        "networks": [
            {"name": one.name, "access": one.access, "remarks": one.remarks()} for one in playground.networks
        ],
        "access": access,
        "size": list(classifier.size or ()),
        "channels": classifier.channels,
        "classes": [classifier.class_name(k) for k in range(classifier.num_classes)],
        "data": {
            "name": samples.name,
            "n": len(samples),
            "shown": min(SHOWN, len(samples)),
            "labels": None if samples.labels is None else samples.labels[:SHOWN].tolist(),
        },
        "attacks": _attacks(access),
        "fitted": _fitted() if gradients else None,
        "explainers": list(EXPLAINERS) if gradients else [n for n in EXPLAINERS if n == "occlusion"],
        "corruptions": {family: list(names) for family, names in FAMILIES.items()},
        "presets": {"default": PRESET, "all": list(PRESETS)} if gradients else None,
        "generators": [row["name"] for row in known_generators()],
    }


def _attacks(access: str) -> list[dict[str, Any]]:
    """The attacks on one image that the network allows, with their norms and usual budgets."""
    allowed = NEEDS[NEEDS.index(access) :]
    return [
        {
            "name": name,
            "needs": kind.needs,
            "norms": [{"name": norm, "eps": EPS[norm]} for norm in kind.norms if norm in EPS],
            "steps": "steps" in {field.name for field in fields(kind)},
        }
        for name, kind in INPUT_SPECIFIC.items()
        if kind.needs in allowed and kind.needs_data and name not in NOT_LIVE
    ]


def _fitted() -> list[dict[str, Any]]:
    """The attacks that are fitted on DATA and laid over an image, with their usual budgets and passes."""
    found = []
    for name in FITTED:
        usual: Any = IMAGE_AGNOSTIC[name]()
        found.append({"name": name, "eps": usual.threat.eps, "epochs": usual.epochs})
    return found
