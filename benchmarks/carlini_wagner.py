"""Carlini-Wagner L2 at equal constants and steps, against foolbox and adv-lib."""

from __future__ import annotations

from types import ModuleType

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

CONSTANTS, STEPS, RATE, FIRST, IMAGES = 9, 100, 0.01, 1e-3, 16


def rows(task: Problem) -> list[Row]:
    """All end rounds early that make no progress; foolbox for the batch, the others for each image."""
    task = task.first(IMAGES)
    images, labels = task.images, task.labels

    def ours(precision: str) -> Contestant:
        method = ostrich.attacks.CW(
            constants=CONSTANTS, iterations=STEPS, learning_rate=RATE, initial_constant=FIRST
        )
        goal = ostrich.Untargeted(labels)
        return lambda: (
            ostrich.attacks.attack(
                method, task.classifier, images, goal=goal, precision=precision
            ).float_images
        )

    def foolbox(library: ModuleType) -> Contestant:
        model = library.PyTorchModel(task.own_copy(), bounds=(0, 1), device="cpu")
        attack = library.attacks.L2CarliniWagnerAttack(
            binary_search_steps=CONSTANTS, steps=STEPS, stepsize=RATE, initial_const=FIRST
        )
        return lambda: attack(model, images, labels, epsilons=None)[1]

    def adv_lib(library: ModuleType) -> Contestant:
        network = task.own_copy()
        settings = {"binary_search_steps": CONSTANTS, "max_iterations": STEPS}
        settings |= {"learning_rate": RATE, "initial_const": FIRST}
        return lambda: library.carlini_wagner_l2(network, images, labels, **settings)

    others, missing = peers({"foolbox": ("foolbox", foolbox), "adv-lib": ("adv_lib.attacks", adv_lib)})
    return [
        Row(
            name=f"Carlini-Wagner L2, {CONSTANTS} x {STEPS}",
            setting=f"{task.name}, N = {len(images)}, Adam at {RATE}, first constant {FIRST}",
            contestants={"ostrich (exact)": ours("exact"), "ostrich (fast)": ours("fast"), **others},
            judge=task.judge,
            work=len(images),
            missing=missing,
        )
    ]
