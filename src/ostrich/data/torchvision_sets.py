"""`torchvision:NAME:PATH`: a data set that torchvision has stored on disk; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torchvision import datasets

from ostrich.data.arrays import of_arrays
from ostrich.data.dataset import Dataset
from ostrich.data.levels import Levels
from ostrich.errors import InputError, UnknownName

DIGITS = tuple("0123456789")
Opened = Callable[[str, str], Any]
SETS: dict[str, Opened] = {  # root and split; what torchvision then holds is read by `_parts`
    "MNIST": lambda root, split: datasets.MNIST(root, train=split == "train"),
    "FashionMNIST": lambda root, split: datasets.FashionMNIST(root, train=split == "train"),
    "CIFAR10": lambda root, split: datasets.CIFAR10(root, train=split == "train"),
    "CIFAR100": lambda root, split: datasets.CIFAR100(root, train=split == "train"),
    "SVHN": lambda root, split: datasets.SVHN(root, split=split),
    "STL10": lambda root, split: datasets.STL10(root, split=split),
}


def torchvision_set(path: str, split: str | None, levels: Levels) -> Dataset:
    """NAME:PATH, of the split "test" unless another is given. Raises InputError, UnknownName."""
    name, _, root = path.partition(":")
    if name not in SETS:
        raise UnknownName("data set of torchvision", name, SETS, "It is torchvision:NAME:PATH.")
    if not root:
        raise InputError(
            f"torchvision:{name} needs the folder that it is stored in: torchvision:{name}:PATH."
        )
    split = split or "test"
    if split == "val":
        raise InputError(f"{name} has the splits train and test.")
    try:
        stored = SETS[name](root, split)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        raise InputError(
            f"torchvision finds no {name} in {root!r} ({str(error).splitlines()[0]}). It is stored by "
            f"`torchvision.datasets.{name}({root!r}, {_argument(name, split)}, download=True)`."
        ) from None
    images, labels, names = _parts(name, stored)
    return of_arrays(
        f"torchvision:{name}:{root}:{split}",
        images,
        labels,
        levels,
        files=lambda i: f"{split}/{i:05d}",
        class_names=names,
    )


def torchvision_splits(path: str) -> list[str]:
    """The splits that each set has."""
    return ["train", "test"]


def _argument(name: str, split: str) -> str:
    """How torchvision is told which split."""
    return f"split={split!r}" if name in ("SVHN", "STL10") else f"train={split == 'train'}"


def _parts(name: str, stored: Any) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images, labels (N,) and the names of their classes."""
    images = np.asarray(stored.data)
    if name == "SVHN":
        return images, np.asarray(stored.labels), DIGITS
    if name == "STL10":
        return images, np.asarray(stored.labels), tuple(stored.classes)
    names = DIGITS if name == "MNIST" else tuple(stored.classes)  # torchvision calls them "0 - zero"
    return images, np.asarray(stored.targets), names
