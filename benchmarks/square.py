"""Square under Linf at equal queries, against torchattacks."""

from __future__ import annotations

from types import ModuleType

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

EPS, QUERIES, IMAGES = 2 / 255, 1000, 128


def rows(task: Problem) -> list[Row]:
    """Both leave out images that are done."""
    task = task.first(IMAGES)
    images, labels = task.images, task.labels

    def ours() -> Contestant:
        method = ostrich.attacks.Square(threat=ostrich.Linf(EPS), queries=QUERIES)
        goal = ostrich.Untargeted(labels)
        return lambda: ostrich.attacks.attack(method, task.classifier, images, goal=goal).images

    def torchattacks(library: ModuleType) -> Contestant:
        attack = library.Square(task.own_copy(), eps=EPS, n_queries=QUERIES, seed=0)
        return lambda: attack(images, labels)

    others, missing = peers({"torchattacks": ("torchattacks", torchattacks)})
    return [
        Row(
            name=f"Square, Linf {EPS * 255:g}/255",
            setting=f"{task.name}, N = {len(images)}, {QUERIES} queries",
            contestants={"ostrich": ours(), **others},
            judge=task.judge,
            work=len(images),
            missing=missing,
        )
    ]
