"""What rows are made of: a table's contestants, and the task that most of them do.

A row is one task: the same network, images, labels, steps and start for every contestant. A
contestant is a function without arguments that does the task and returns its images; the judge
looks at them afterwards, outside the measured time, with the plain network in fp32, as they are
and after rounding to 8 bits. A library that is not installed is left out, and the table says so.
"""

from __future__ import annotations

import copy
import importlib
import io
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
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

Contestant = Callable[[], Tensor]


@dataclass(frozen=True)
class Row:
    """One table. `contestants` by name, ours begin with "ostrich"; `missing` are not installed.

    `work` is how many of `unit` a contestant does; by it times are compared. `few` says so of those
    that do fewer, because they are slow.
    """

    name: str
    setting: str
    contestants: dict[str, Contestant]
    judge: Callable[[Tensor], dict[str, float]]
    work: int
    unit: str = "image"
    few: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


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

    def first(self, count: int) -> Problem:
        """The same with fewer images."""
        return Problem(self.name, self.classifier, self.network, self.images[:count], self.labels[:count])

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
    folder = shared()
    if folder:
        weights = folder / "weights" / "resnet20-cifar10.th"
        settings = {"weights": weights, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        classifier = ostrich.load("arch:resnet20,classes=10", device="cpu", **settings)
        return right("ResNet-20, CIFAR-10 (JPEG copy)", classifier, *cifar(folder, 2 * count), count)
    classifier = ostrich.load("zoo:toybox-resnet20", device="cpu")
    return right("ResNet-20, toybox", classifier, *ostrich.data.toybox("test", limit=512), count)


def right(name: str, classifier: Any, images: Tensor, labels: Tensor, count: int) -> Problem:
    """The problem of the first `count` images that the network gets right."""
    preprocessing = [] if classifier.mean is None else [Normalise(classifier.mean, classifier.std)]
    network = nn.Sequential(*preprocessing, copy.deepcopy(classifier.network)).eval()
    with torch.no_grad():
        chosen = (network(images).argmax(1) == labels).nonzero().flatten()[:count]
    if len(chosen) < count:
        raise SystemExit(
            f"Only {len(chosen)} of {len(images)} images are classified correctly; ask for fewer."
        )
    return Problem(name, classifier, network, images[chosen], labels[chosen])


def shared() -> Path | None:
    """The folder of real data and checkpoints, where OSTRICH_SHARED names it."""
    folder = os.environ.get("OSTRICH_SHARED")
    return Path(folder) if folder else None


def cifar(folder: Path, count: int) -> tuple[Tensor, Tensor]:
    """`count` test images in a seeded order, (N, 3, 32, 32), with their classes."""
    with zipfile.ZipFile(folder / "data" / "cifar10-jpeg.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("test/") and n.endswith(".jpg"))
        classes = sorted({n.split("/")[1] for n in names})
        chosen = [names[i] for i in np.random.default_rng(SEED).permutation(len(names))[:count]]
        pixels = [np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in chosen]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    return images.contiguous(), torch.tensor([classes.index(n.split("/")[1]) for n in chosen])


def peers(
    builders: Mapping[str, tuple[str, Callable[[ModuleType], Contestant]]],
) -> tuple[dict[str, Contestant], tuple[str, ...]]:
    """Contestants by name, from their module's name and how to build them; and what is not installed."""
    found, missing = {}, []
    for name, (module, build) in builders.items():
        library = installed(module)
        if library is None:
            missing.append(name)
        else:
            found[name] = build(library)
    return found, tuple(missing)


def installed(module: str) -> ModuleType | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, at import
        try:
            return importlib.import_module(module)
        except ImportError:
            return None
