"""Studies: published experiments, rerun. One file each; a line in STUDIES makes it known."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
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
    "batchnorm-mnist",
    "dropout",
    "dropout-mnist",
    "ensemble",
    "depth",
    "ablation",
    "data-size",
    "systematic",
    "off-the-shelf",
    "off-the-shelf-imagenet",
    "removal",
    "stability",
    "dcgan-cifar10",
    "perceptron-gan-mnist",
    "bounds",
    "prior",
    "breaking",
    "objects",
)


def find(name: str) -> Study:
    """The study of that name. Raises UnknownName."""
    if name not in STUDIES:
        raise UnknownName("study", name, STUDIES, "`ostrich list studies` tells what each asks.")
    study: Study = import_module(f"ostrich.studies.{name.replace('-', '_')}").STUDY
    assert study.name == name
    return study


VERDICTS = Path(__file__).with_name("verdicts.json")  # what the pages under docs/studies tell


def known_studies() -> list[dict[str, Any]]:
    """The rows of `ostrich list studies`: name, question, scales, and the results of the committed pages.

    A result has page, scale, data, n, verdict, whether an earlier rule gave it, and `compared`: rows of what
    is compared, the published figure, and ours.
    """
    told = json.loads(VERDICTS.read_text(encoding="utf-8"))
    rows = []
    for study in map(find, STUDIES):
        results = [
            {key: value for key, value in one.items() if key != "study"}
            for one in told
            if one["study"] == study.name
        ]
        rows.append(
            {
                "name": study.name,
                "question": study.question,
                "scales": list(study.specs),
                "results": results,
            }
        )
    return rows
