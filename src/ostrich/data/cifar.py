"""CIFAR-10 (Krizhevsky 2009): torchvision's download, or class folders under train/ and test/."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.files import class_folders
from ostrich.errors import InputError

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def cifar10(split: str, path: str | None = None) -> Dataset:
    """The split "train" or "test", from `path` with class folders, else downloaded to the cache."""
    if path is not None:
        return class_folders(str(Path(path) / split), name=f"cifar10:{path}:{split}")
    from torchvision.datasets import CIFAR10

    try:
        stored = CIFAR10(cache_folder() / "cifar10", train=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"CIFAR-10 cannot be downloaded ({error}). Give a folder with train/ and test/ class "
            "folders as cifar10:PATH."
        ) from None
    pixels: np.ndarray = stored.data
    return Dataset(
        name=f"cifar10:{split}",
        files=[f"{split}/{i:05d}" for i in range(len(pixels))],
        read=lambda i: Image.fromarray(pixels[i]),
        content=lambda i: pixels[i].tobytes(),
        labels=list(stored.targets),
        class_names=CLASS_NAMES,
        size=(32, 32),
    )


def cache_folder() -> Path:
    """Where downloaded and rendered data is kept: $OSTRICH_CACHE, else the user's cache folder."""
    root = os.environ.get("OSTRICH_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ostrich"
