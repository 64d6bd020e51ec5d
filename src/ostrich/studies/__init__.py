"""Studies: published experiments, rerun. One file each; a line in STUDIES makes it known."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ostrich.errors import UnknownName
from ostrich.studies.schema import Study

STUDIES = (
    "objective",
    "initialization",
    "gradients",
    "identity",
    "batchnorm-modes",
    "batchnorm",
    "dropout",
    "ensemble",
    "depth",
    "ablation",
    "data-size",
    "off-the-shelf",
    "removal",
    "stability",
)


def find(name: str) -> Study:
    """The study of that name. Raises UnknownName."""
    if name not in STUDIES:
        raise UnknownName("study", name, STUDIES, "`ostrich list studies` tells what each asks.")
    study: Study = import_module(f"ostrich.studies.{name.replace('-', '_')}").STUDY
    assert study.name == name
    return study


def known_studies() -> list[dict[str, Any]]:
    """The rows of `ostrich list studies`: name, question, scales."""
    found = [find(name) for name in STUDIES]
    return [{"name": s.name, "question": s.question, "scales": list(s.specs)} for s in found]
