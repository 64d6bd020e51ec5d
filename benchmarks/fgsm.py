"""FGSM under Linf, against foolbox and torchattacks. adv-lib's PGD of one step returns its input."""

from __future__ import annotations

from types import ModuleType

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

EPS = 8 / 255


def rows(task: Problem) -> list[Row]:
    """One gradient per image: here it shows what a library does besides."""
    images, labels = task.images, task.labels

    def ours(precision: str) -> Contestant:
        method, goal = ostrich.attacks.FGSM(threat=ostrich.Linf(EPS)), ostrich.Untargeted(labels)
        return lambda: (
            ostrich.attacks.attack(method, task.classifier, images, goal=goal, precision=precision).images
        )

    def foolbox(library: ModuleType) -> Contestant:
        model = library.PyTorchModel(task.own_copy(), bounds=(0, 1), device="cpu")
        attack = library.attacks.LinfFastGradientAttack(random_start=False)
        return lambda: attack(model, images, labels, epsilons=EPS)[1]

    def torchattacks(library: ModuleType) -> Contestant:
        attack = library.FGSM(task.own_copy(), eps=EPS)
        return lambda: attack(images, labels)

    others, missing = peers({"foolbox": ("foolbox", foolbox), "torchattacks": ("torchattacks", torchattacks)})
    return [
        Row(
            name=f"FGSM, Linf {EPS * 255:g}/255",
            setting=f"{task.name}, N = {len(images)}",
            contestants={"ostrich (fast)": ours("fast"), "ostrich (exact)": ours("exact"), **others},
            judge=task.judge,
            work=len(images),
            missing=missing,
        )
    ]
