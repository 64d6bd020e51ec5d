"""Every registered attack, short enough for a test."""

from __future__ import annotations

from dataclasses import fields, replace

import nets

from ostrich.attacks import IMAGE_AGNOSTIC, INPUT_SPECIFIC
from ostrich.attacks.engine.settings import configure
from ostrich.data.meshes import toybox, views_of

SHORT = {  # what shortens an attack that has it
    "steps": "6",
    "iterations": "6",
    "constants": "3",
    "targets": "3",
    "population": "6",
    "generations": "4",
    "queries": "60",
}
EPS = {"linf": "16/255", "l2": "1.5", "l1": "20", "l0": "3", "none": None}
WIDER = {  # with labels alone, so few queries break an image only where much may change
    ("boundary", "l2"): {"eps": "6", "queries": "150"},
    ("hopskipjump", "l2"): {"eps": "4"},
    ("hopskipjump", "linf"): {"eps": "48/255"},
}


def made(name: str, norm: str | None = None, **settings: str):
    """An attack by name, short enough for a test."""
    method = INPUT_SPECIFIC[name]
    known = {field.name for field in fields(method)}
    chosen = {k: v for k, v in SHORT.items() if k in known}
    if norm is not None and EPS[norm] is not None:
        chosen |= {"norm": norm, "eps": EPS[norm]}
    return configure(method, chosen | settings)


CASES = [(name, norm) for name, method in INPUT_SPECIFIC.items() for norm in method.norms]

FITTED_EPS = {"linf": "16/255", "l2": "1", "patch": "0.2", "lab": "100"}


def short(name: str, norm: str | None = None):
    """The attack with few epochs and a budget that changes something."""
    norm = norm or IMAGE_AGNOSTIC[name].norms[0]
    words = {"norm": norm, "eps": FITTED_EPS[norm], "epochs": "2", "batch_size": "8"}
    if name == "texture":  # of which a picture shows a part
        words |= {"eps": "0.9" if norm == "linf" else FITTED_EPS[norm], "step_size": "0.3"}
    return configure(IMAGE_AGNOSTIC[name], words)


def given(method, count: int):
    """The attack as it is fitted and applied, and images for it: views of its mesh, or random ones."""
    if not hasattr(method, "shown"):
        return method, nets.random_images(count)
    views = views_of(toybox("school bus"), range(count), (16, 16), 3)  # which fill most of a picture
    return replace(method, shown=views), views.untouched
