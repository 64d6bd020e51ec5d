"""One-pixel attack at equal population and generations, against ART and SciPy's vectorised evolution."""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType

import numpy as np
import torch
from scipy.optimize import differential_evolution
from torch import Tensor, nn

import ostrich
from benchmarks.problem import Contestant, Problem, Row, peers

POPULATION, GENERATIONS, IMAGES = 400, 10, 12


def rows(task: Problem) -> list[Row]:
    """All stop an image at its first success."""
    task = task.first(IMAGES)
    images, labels = task.images, task.labels

    def ours(precision: str) -> Contestant:
        method = ostrich.attacks.OnePixel(population=POPULATION, generations=GENERATIONS)
        goal = ostrich.Untargeted(labels)
        return lambda: (
            ostrich.attacks.attack(method, task.classifier, images, goal=goal, precision=precision).images
        )

    def scipy() -> Tensor:
        network = task.own_copy().requires_grad_(False)
        return torch.cat([_scipy(network, images[i], int(labels[i])) for i in range(len(images))])

    def art(_: ModuleType) -> Contestant:
        from art.attacks.evasion import PixelAttack
        from art.estimators.classification import PyTorchClassifier

        shape = tuple(images.shape[1:])
        classifier = PyTorchClassifier(
            task.own_copy(),
            nn.CrossEntropyLoss(),
            shape,
            10,
            clip_values=(0.0, 255.0),
            device_type="cpu",
            preprocessing=(0.0, 255.0),
        )
        attack = PixelAttack(classifier, th=1, es=1, max_iter=GENERATIONS, verbose=False)

        def run() -> Tensor:
            np.random.seed(0)  # noqa: NPY002 - ART draws from the global generator
            found = attack.generate(images.numpy() * 255, np.eye(10)[labels.numpy()])
            return torch.from_numpy(found).float() / 255

        return run

    others, missing = peers({"ART": ("art", art)})
    return [
        Row(
            name=f"One pixel, {POPULATION} candidates, {GENERATIONS} generations",
            setting=f"{task.name}, N = {len(images)}, untargeted",
            contestants={
                "ostrich (exact)": ours("exact"),
                "ostrich (fast)": ours("fast"),
                "scipy, image by image": scipy,
                **others,
            },
            judge=task.judge,
            work=len(images),
            missing=missing,
        )
    ]


class _FooledError(Exception):
    """A candidate succeeded."""


@torch.no_grad()
def _scipy(network: nn.Module, image: Tensor, label: int) -> Tensor:
    """The first success (1, C, H, W), or the image itself."""
    _, height, width = image.shape
    found = image[None]

    def unfitness(candidates: np.ndarray) -> np.ndarray:
        nonlocal found
        values = torch.from_numpy(candidates.T).float()  # (p, 5)
        trial = image[None].repeat(len(values), 1, 1, 1)
        rows, columns = values[:, 0].long(), values[:, 1].long()
        trial[torch.arange(len(values)), :, rows, columns] = values[:, 2:].round() / 255
        logits = network(trial)
        wrong = (logits.argmax(1) != label).nonzero()
        if len(wrong):
            found = trial[wrong[0]]
            raise _FooledError
        return logits.softmax(1)[:, label].double().numpy()

    with suppress(_FooledError):
        differential_evolution(
            unfitness,
            [(0, height - 1e-6), (0, width - 1e-6), (0, 255), (0, 255), (0, 255)],
            strategy="rand1bin",
            maxiter=GENERATIONS,
            popsize=POPULATION // 5,
            mutation=0.5,
            recombination=1,
            polish=False,
            vectorized=True,
            updating="deferred",
            tol=0,
            rng=0,
        )
    return found
