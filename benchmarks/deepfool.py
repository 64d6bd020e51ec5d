"""DeepFool under L2, against foolbox and adv-lib."""

from __future__ import annotations

from types import ModuleType

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

STEPS, OVERSHOOT, IMAGES = 50, 0.02, 64


def rows(task: Problem) -> list[Row]:
    """Ours is judged before rounding, like the others'; its time includes the search for the file."""
    task = task.first(IMAGES)
    images, labels = task.images, task.labels

    def ours(precision: str) -> Contestant:
        method, goal = ostrich.attacks.DeepFool(steps=STEPS, overshoot=OVERSHOOT), ostrich.Untargeted(labels)
        return lambda: (
            ostrich.attacks.attack(
                method, task.classifier, images, goal=goal, precision=precision
            ).float_images
        )

    def foolbox(library: ModuleType) -> Contestant:
        model = library.PyTorchModel(task.own_copy(), bounds=(0, 1), device="cpu")
        attack = library.attacks.L2DeepFoolAttack(steps=STEPS, candidates=10, overshoot=OVERSHOOT)
        return lambda: attack(model, images, labels, epsilons=None)[1]

    def adv_lib(library: ModuleType) -> Contestant:
        network = task.own_copy()
        return lambda: library.df(network, images, labels, steps=STEPS, overshoot=OVERSHOOT, norm=2)

    others, missing = peers({"foolbox": ("foolbox", foolbox), "adv-lib": ("adv_lib.attacks", adv_lib)})
    return [
        Row(
            name="DeepFool, L2",
            setting=f"{task.name}, N = {len(images)}, at most {STEPS} steps, overshoot {OVERSHOOT}",
            contestants={"ostrich (exact)": ours("exact"), **others},
            judge=task.judge,
            work=len(images),
            missing=missing,
        )
    ]
