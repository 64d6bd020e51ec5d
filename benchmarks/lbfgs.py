"""L-BFGS, targeted: Ostrich's batch against SciPy's `fmin_l_bfgs_b`, image by image, exact gradient.

No attack library holds this attack in working order, so SciPy is the contestant. The same objective,
the same number of constants and of evaluations per constant; a network evaluation is all it shares.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor

import ostrich
from benchmarks.rows import Problem, Row

CONSTANTS, ITERATIONS, MEMORY = 12, 50, 8
SCIPY_IMAGES = 4  # SciPy takes seconds an image


def lbfgs_rows(task: Problem) -> list[Row]:
    """Two rows, each over its own images: seconds are to be compared per image."""
    with torch.no_grad():
        classes = task.network(task.images[:1]).shape[1]
    generator = torch.Generator().manual_seed(0)
    shift = torch.randint(1, classes, task.labels.shape, generator=generator)
    targets = (task.labels + shift) % classes

    def ours(count: int) -> Tensor:
        method = ostrich.attacks.LBFGS(constants=CONSTANTS, iterations=ITERATIONS, memory=MEMORY)
        goal = ostrich.Targeted(targets[:count])
        return ostrich.attack(method, task.classifier, task.images[:count], goal).float_images

    def theirs(count: int) -> Tensor:
        network = task.own_copy().requires_grad_(False)
        return torch.cat([_scipy(network, task.images[i : i + 1], targets[i : i + 1]) for i in range(count)])

    def row(count: int, contestants: dict[str, object]) -> Row:
        def judge(found: Tensor) -> dict[str, float]:
            part = Problem(task.name, task.classifier, task.network, task.images[:count], task.labels[:count])
            with torch.no_grad():
                hit = (task.network(found.float()).argmax(1) == targets[:count]).float().mean().item()
            return part.judge(found) | {"targets reached": hit}

        setting = f"{task.name}, N = {count}, random targets, {CONSTANTS} constants x {ITERATIONS}"
        return Row(name=f"L-BFGS, {count} images", setting=setting, contestants=contestants, judge=judge)

    few, all_ = min(SCIPY_IMAGES, len(targets)), len(targets)
    return [
        row(few, {"ostrich": lambda: ours(few), "scipy, image by image": lambda: theirs(few)}),
        row(all_, {"ostrich": lambda: ours(all_)}),
    ]


def _scipy(network: torch.nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """The nearest success (1, C, H, W) among all evaluations; the image itself where there is none."""
    origin = image.double().flatten().numpy()
    best, nearest = image, float("inf")

    def objective(values: object, c: float) -> tuple[float, object]:
        nonlocal best, nearest
        trial = torch.tensor(values).view_as(image).to(image.dtype).requires_grad_(True)
        logits = network(trial)
        loss = F.cross_entropy(logits.double(), target)
        (gradient,) = torch.autograd.grad(loss, trial)
        change = values - origin
        size = float(change @ change)
        if logits.argmax(1) == target and size < nearest:
            best, nearest = trial.detach(), size
        return c * size + loss.item(), 2 * c * change + gradient.double().flatten().numpy()

    c, low, high = 10.0, 0.0, float("inf")
    for _ in range(CONSTANTS):
        found, _, _ = fmin_l_bfgs_b(
            objective,
            origin.copy(),
            args=(c,),
            bounds=[(0, 1)] * len(origin),
            m=MEMORY,
            maxiter=ITERATIONS,
            maxfun=ITERATIONS,
        )
        with torch.no_grad():
            reached = network(torch.tensor(found).view_as(image).to(image.dtype)).argmax(1) == target
        low, high = (c, high) if reached else (low, c)
        c = (low * high) ** 0.5 if low > 0 and high < float("inf") else 4 * c if reached else c / 4
    return best
