"""Studies: published experiments, rerun. One file each; a line in STUDIES makes it known."""

from __future__ import annotations

from importlib import import_module

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
