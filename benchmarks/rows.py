"""What is measured: rows, each with its contestants and one judge for all of them.

A row is one task: the same network, images, labels, steps and start for every contestant. A
contestant is a function without arguments that does the task and returns its images; the judge
looks at them afterwards, outside the measured time, with the plain network in fp32, as they are
and after rounding to 8 bits. A library that is not installed is left out, and the table says so.

A new row is a function `Problem -> Row` and its line in ROWS.
"""

from __future__ import annotations

import copy
import importlib
import io
import os
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import ostrich

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEED = 0  # of the order in which test images are tried


@dataclass(frozen=True)
class Row:
    """One task. `contestants` by name; `missing` names the libraries that are not installed."""

    name: str
    setting: str
    contestants: dict[str, Callable[[], Tensor]]
    judge: Callable[[Tensor], dict[str, float]]
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Problem:
    """A classifier as Ostrich takes it, the same network as others do, and images it gets right."""

    name: str
    classifier: Any  # ostrich.Classifier
    network: nn.Module  # normalisation inside
    images: Tensor  # (N, C, H, W) in [0, 1], on the 8-bit grid
    labels: Tensor  # (N,)

    def own_copy(self) -> nn.Module:
        """A network of one's own: what one library leaves behind must not reach the next."""
        return copy.deepcopy(self.network)

    def judge(self, found: Tensor) -> dict[str, float]:
        """Success as the images are and as files, the largest change, and the median L2 distance."""
        found = found.detach().float()
        change = (found - self.images).flatten(1)
        files = (found * 255).round().clamp(0, 255) / 255
        return {
            "success": self._fooled(found),
            "on file": self._fooled(files),
            "max change x 255": change.abs().max().item() * 255,
            "median L2": change.norm(dim=1).median().item(),
        }

    @torch.no_grad()
    def _fooled(self, images: Tensor) -> float:
        return (self.network(images).argmax(1) != self.labels).float().mean().item()


class Normalise(nn.Module):
    """(images - mean) / std, as the first layer of a Sequential."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def problem(count: int) -> Problem:
    """ResNet-20 on the CIFAR copy where OSTRICH_SHARED names its folder, else on the toybox."""
    shared = os.environ.get("OSTRICH_SHARED")
    if shared:
        classifier = ostrich.load(
            "arch:resnet20,classes=10",
            weights=Path(shared) / "weights" / "resnet20-cifar10.th",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            device="cpu",
        )
        name, images, labels = "ResNet-20, CIFAR-10 (JPEG copy)", *_cifar(Path(shared), 2 * count)
    else:
        classifier = ostrich.load("zoo:toybox-resnet20", device="cpu")
        name = "ResNet-20, toybox"
        images, labels = ostrich.data.toybox("test", limit=512)
    preprocessing = [] if classifier.mean is None else [Normalise(classifier.mean, classifier.std)]
    network = nn.Sequential(*preprocessing, copy.deepcopy(classifier.network)).eval()
    with torch.no_grad():
        right = (network(images).argmax(1) == labels).nonzero().flatten()[:count]
    if len(right) < count:
        raise SystemExit(
            f"Only {len(right)} of {len(images)} images are classified correctly; ask for fewer."
        )
    return Problem(name, classifier, network, images[right], labels[right])


def _cifar(shared: Path, count: int) -> tuple[Tensor, Tensor]:
    """`count` test images in a seeded order, (N, 3, 32, 32), with their classes."""
    with zipfile.ZipFile(shared / "data" / "cifar10-jpeg.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("test/") and n.endswith(".jpg"))
        classes = sorted({n.split("/")[1] for n in names})
        chosen = [names[i] for i in np.random.default_rng(SEED).permutation(len(names))[:count]]
        pixels = [np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in chosen]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    return images.contiguous(), torch.tensor([classes.index(n.split("/")[1]) for n in chosen])


def pgd(task: Problem, eps: float = 8 / 255, steps: int = 40, step_size: float = 2 / 255) -> Row:
    """PGD under Linf without random start."""
    images, labels = task.images, task.labels

    def ours(stop: str, precision: str) -> Callable[[], Tensor]:
        method = ostrich.attacks.PGD(
            threat=ostrich.Linf(eps), steps=steps, step_size=step_size, random_start=False, stop=stop
        )
        goal = ostrich.Untargeted(labels)
        return lambda: ostrich.attack(method, task.classifier, images, goal=goal, precision=precision).images

    def foolbox(library: ModuleType) -> Callable[[], Tensor]:
        model = library.PyTorchModel(task.own_copy(), bounds=(0, 1), device="cpu")
        attack = library.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=False)
        return lambda: attack(model, images, labels, epsilons=eps)[1]

    def torchattacks(library: ModuleType) -> Callable[[], Tensor]:
        attack = library.PGD(task.own_copy(), eps=eps, alpha=step_size, steps=steps, random_start=False)
        return lambda: attack(images, labels)

    def adv_lib(library: ModuleType) -> Callable[[], Tensor]:
        network = task.own_copy()
        settings = {"ε": eps, "steps": steps, "absolute_step_size": step_size, "random_init": False}
        return lambda: library.pgd_linf(network, images, labels, **settings)

    contestants = {
        "ostrich (stop first, fast)": ours("first", "fast"),
        "ostrich (budget, fast)": ours("budget", "fast"),
        "ostrich (budget, exact)": ours("budget", "exact"),
    }
    peers = {
        "foolbox": ("foolbox", foolbox),
        "torchattacks": ("torchattacks", torchattacks),
        "adv-lib": ("adv_lib.attacks", adv_lib),
    }
    missing = []
    for name, (module, build) in peers.items():
        library = _installed(module)
        if library is None:
            missing.append(name)
        else:
            contestants[name] = build(library)
    return Row(
        name=f"PGD-{steps}, Linf {eps * 255:g}/255",
        setting=f"{task.name}, N = {len(images)}, step {step_size * 255:g}/255, no random start",
        contestants=contestants,
        judge=task.judge,
        missing=missing,
    )


def _installed(module: str) -> ModuleType | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, at import
        try:
            return importlib.import_module(module)
        except ImportError:
            return None


ROWS: dict[str, Callable[[Problem], list[Row]]] = {
    "pgd": lambda task: [pgd(task), pgd(task, eps=2 / 255, step_size=0.5 / 255)],
    "attribution": lambda task: importlib.import_module("benchmarks.attribution").attribution_rows(task),
}
