"""PGD under Linf without random start, against foolbox, torchattacks and adv-lib."""

from __future__ import annotations

from types import ModuleType

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

STEPS = 40


def rows(task: Problem) -> list[Row]:
    """The usual budget, and one at which not everything falls at the first step."""
    return [_row(task, eps=8 / 255, step_size=2 / 255), _row(task, eps=2 / 255, step_size=0.5 / 255)]


def _row(task: Problem, eps: float, step_size: float) -> Row:
    images, labels = task.images, task.labels

    def ours(stop: str, precision: str) -> Contestant:
        method = ostrich.attacks.PGD(
            threat=ostrich.Linf(eps), steps=STEPS, step_size=step_size, random_start=False, stop=stop
        )
        goal = ostrich.Untargeted(labels)
        return lambda: (
            ostrich.attacks.attack(method, task.classifier, images, goal=goal, precision=precision).images
        )

    def foolbox(library: ModuleType) -> Contestant:
        model = library.PyTorchModel(task.own_copy(), bounds=(0, 1), device="cpu")
        attack = library.attacks.LinfPGD(abs_stepsize=step_size, steps=STEPS, random_start=False)
        return lambda: attack(model, images, labels, epsilons=eps)[1]

    def torchattacks(library: ModuleType) -> Contestant:
        attack = library.PGD(task.own_copy(), eps=eps, alpha=step_size, steps=STEPS, random_start=False)
        return lambda: attack(images, labels)

    def adv_lib(library: ModuleType) -> Contestant:
        network = task.own_copy()
        settings = {"ε": eps, "steps": STEPS, "absolute_step_size": step_size, "random_init": False}
        return lambda: library.pgd_linf(network, images, labels, **settings)

    others, missing = peers(
        {
            "foolbox": ("foolbox", foolbox),
            "torchattacks": ("torchattacks", torchattacks),
            "adv-lib": ("adv_lib.attacks", adv_lib),
        }
    )
    return Row(
        name=f"PGD-{STEPS}, Linf {eps * 255:g}/255",
        setting=f"{task.name}, N = {len(images)}, step {step_size * 255:g}/255, no random start",
        contestants={
            "ostrich (stop first, fast)": ours("first", "fast"),
            "ostrich (budget, fast)": ours("budget", "fast"),
            "ostrich (budget, exact)": ours("budget", "exact"),
            **others,
        },
        judge=task.judge,
        work=len(images),
        missing=missing,
    )
