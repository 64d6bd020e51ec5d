"""L-BFGS, targeted: Ostrich's batch against SciPy's L-BFGS-B, image by image, exact gradient.

No attack library holds this attack in working order, so SciPy is the contestant: the same
objective and network, the same number of constants and of evaluations per constant, the nearest
success of all evaluations. SciPy runs with one thread of BLAS and one of torch: more of either cost
a single image more CPU seconds. It does few images, for it takes seconds an image.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import Bounds, minimize
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

import ostrich
from benchmarks.problem import Problem, Row, right, shared

CONSTANTS, ITERATIONS, MEMORY = 12, 50, 8
FEW = 8  # images for SciPy
PHOTOGRAPHS = 2
OSTRICH = 9  # ImageNet's class


def rows(task: Problem) -> list[Row]:
    """Random targets; and, where the photographs are, `ostrich` on SqueezeNet."""
    with torch.no_grad():
        classes = task.network(task.images[:1]).shape[1]
    generator = torch.Generator().manual_seed(0)
    shift = torch.randint(1, classes, task.labels.shape, generator=generator)
    tables = [_row(task, (task.labels + shift) % classes, "random targets", FEW)]
    folder = shared()
    if folder:
        photographs = _photographs(folder)
        targets = torch.full_like(photographs.labels, OSTRICH)
        tables.append(_row(photographs, targets, "target ostrich", PHOTOGRAPHS))
    return tables


def _row(task: Problem, targets: Tensor, aim: str, few: int) -> Row:
    few = min(few, len(targets))
    part = task.first(few)

    def ours() -> Tensor:
        method = ostrich.attacks.LBFGS(constants=CONSTANTS, iterations=ITERATIONS, memory=MEMORY)
        return ostrich.attacks.attack(
            method, task.classifier, task.images, ostrich.Targeted(targets)
        ).float_images

    def theirs() -> Tensor:
        network = task.own_copy().requires_grad_(False)
        with _one_thread():
            return torch.cat([_scipy(network, part.images[i : i + 1], targets[i]) for i in range(few)])

    def judge(found: Tensor) -> dict[str, float]:
        found = found[:few].float()
        with torch.no_grad():
            reached = (task.network(found).argmax(1) == targets[:few]).float().mean().item()
        return {"target reached": reached, "median L2": part.judge(found)["median L2"]}

    scipys = f"; SciPy and both judged on the first {few}" if few < len(targets) else ""
    return Row(
        name=f"L-BFGS, {aim}",
        setting=f"{task.name}, N = {len(targets)}{scipys}; {CONSTANTS} constants x {ITERATIONS} evaluations, "
        "before rounding",
        contestants={"ostrich": ours, "scipy, image by image": theirs},
        judge=judge,
        work=len(targets),
        few={"scipy, image by image": few},
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


def _scipy(network: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """The nearest success (1, C, H, W) among all evaluations; the image itself where there is none."""
    origin = image.double().flatten().numpy()
    best, nearest = image, float("inf")

    def objective(values: np.ndarray, c: float) -> tuple[float, np.ndarray]:
        nonlocal best, nearest
        trial = torch.tensor(values).view_as(image).to(image.dtype).requires_grad_(True)
        logits = network(trial)
        loss = F.cross_entropy(logits.double(), target[None])
        (gradient,) = torch.autograd.grad(loss, trial)
        change = values - origin
        size = float(change @ change)
        if logits.argmax(1) == target and size < nearest:
            best, nearest = trial.detach(), size
        return c * size + loss.item(), 2 * c * change + gradient.double().flatten().numpy()

    c, low, high = 10.0, 0.0, float("inf")
    options = {"maxcor": MEMORY, "maxiter": ITERATIONS, "maxfun": ITERATIONS}
    for _ in range(CONSTANTS):
        found = minimize(
            objective, origin, args=(c,), jac=True, method="L-BFGS-B", bounds=Bounds(0, 1), options=options
        ).x
        with torch.no_grad():
            reached = network(torch.tensor(found).view_as(image).to(image.dtype)).argmax(1) == target
        low, high = (c, high) if reached else (low, c)
        c = (low * high) ** 0.5 if low > 0 and high < float("inf") else 4 * c if reached else c / 4
    return best


def _photographs(folder: Path) -> Problem:
    """Photographs that SqueezeNet gets right and that show no ostrich, spread over the classes."""
    weights = folder / "weights" / "squeezenet1_0-imagenet.safetensors"
    classifier = ostrich.load("torchvision:squeezenet1_0", weights=weights, device="cpu")
    with (
        zipfile.ZipFile(folder / "data" / "imagenet-samples.zip") as archive,
        TemporaryDirectory() as unzipped,
    ):
        archive.extractall(unzipped)
        samples = ostrich.data.load(
            ostrich.data.open_data(f"folder:{unzipped}"),
            size=classifier.size,
            resize=classifier.resize,
            num_classes=classifier.num_classes,
        )
    others = (samples.labels != OSTRICH).nonzero()[:, 0]
    chosen = others[:: len(others) // (4 * PHOTOGRAPHS)]
    images, labels = samples.images()[chosen], samples.labels[chosen]
    return right("SqueezeNet 1.0, ImageNet photographs", classifier, images, labels, PHOTOGRAPHS)
