"""AutoAttack's four components at their published 100 iterations, against torchattacks'.

torchattacks' own "standard" runs 10 iterations, so its components are put together here.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

ITERATIONS, QUERIES = 100, 5000


def rows(task: Problem) -> list[Row]:
    """A budget at which a few survive, and one at which nothing does."""
    return [versus(task.first(32), 1 / 255), versus(task.first(64), 8 / 255)]


def versus(task: Problem, eps: float, precisions: Sequence[str] = ("exact", "fast")) -> Row:
    """The table of one budget."""
    images, labels = task.images, task.labels

    def ours(precision: str) -> Contestant:
        method = ostrich.attacks.AutoAttack(threat=ostrich.Linf(eps))
        goal = ostrich.Untargeted(labels)
        return lambda: (
            ostrich.attacks.attack(method, task.classifier, images, goal=goal, precision=precision).images
        )

    def torchattacks(library: ModuleType) -> Contestant:
        network = task.own_copy()
        settings = {"eps": eps, "steps": ITERATIONS, "seed": 0}
        attack = library.MultiAttack(
            [
                library.APGD(network, norm="Linf", loss="ce", **settings),
                library.APGDT(network, norm="Linf", n_classes=10, **settings),
                library.FAB(network, norm="Linf", n_classes=10, multi_targeted=True, **settings),
                library.Square(network, norm="Linf", eps=eps, n_queries=QUERIES, seed=0),
            ]
        )
        return lambda: attack(images, labels)

    others, missing = peers({"torchattacks": ("torchattacks", torchattacks)})
    return Row(
        name=f"AutoAttack, Linf {eps * 255:g}/255",
        setting=f"{task.name}, N = {len(images)}, {ITERATIONS} iterations, {QUERIES} queries",
        contestants={**{f"ostrich ({precision})": ours(precision) for precision in precisions}, **others},
        judge=task.judge,
        work=len(images),
        missing=missing,
    )
