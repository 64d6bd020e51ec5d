"""What is measured, in this order. A new row is a file here with `rows(task)`, and its line below.

`rows` takes the task (`benchmarks/problem.py`) and returns its tables; `pgd.py` is the one to read first.
"""

from __future__ import annotations

import importlib

from benchmarks.problem import Problem, Row

ROWS = (
    "gradients",
    "fgsm",
    "pgd",
    "lbfgs",
    "deepfool",
    "carlini_wagner",
    "one_pixel",
    "square",
    "hopskipjump",
    "autoattack",
    "bounded",
    "universal",
    "patch",
    "guided",
    "attribution",
    "visualisation",
    "corruptions",
    "training",
    "dcgan",
)


def tables(name: str, task: Problem) -> list[Row]:
    """The tables of one row."""
    return importlib.import_module(f"benchmarks.{name}").rows(task)
