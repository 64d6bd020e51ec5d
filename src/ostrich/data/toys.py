"""The toybox as a data set: the committed test images, and training images rendered on request."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.data import toyscenes
from ostrich.data.dataset import Dataset
from ostrich.data.split import subset
from ostrich.errors import InputError, UnknownName
from ostrich.images import from_bytes

TRAIN_IMAGES = 30_000  # of the unlimited training split, what `toybox:train` names
TEST_IMAGES = 512  # committed


def dataset(split: str) -> Dataset:
    """`toybox:test`, read from the committed file, or `toybox:train`, each image rendered when read."""
    if split == "test":
        stored = toyscenes.test_images()
        return _dataset(split, [int(k) for k in stored.labels], lambda i: stored.images[i])
    if split == "train":
        labels = [toyscenes.label("train", i) for i in range(TRAIN_IMAGES)]
        return _dataset(split, labels, lambda i: toyscenes.render(toyscenes.scene("train", i)).image)
    raise UnknownName("split of the toybox", split, ("train", "test"))


def toybox(split: str = "test", limit: int | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 64, 64) in [0, 1] and labels (N,): a seeded, class-balanced choice of `limit`.

    `split` is "train", which never ends, or "test", 512 images. Raises InputError for "train" without a
    limit, UnknownName for another split.
    """
    found = dataset(split)
    assert found.labels is not None
    if split == "train" and limit is None:
        raise InputError("The toybox has unlimited training images; say how many with limit=.")
    rows = subset(found.labels, len(found), limit, seed)
    pixels = np.stack([np.asarray(found.read(i)) for i in rows])
    return from_bytes(pixels), torch.tensor([found.labels[i] for i in rows])


def _dataset(split: str, labels: list[int], pixels: Callable[[int], np.ndarray]) -> Dataset:
    return Dataset(
        name=f"toybox:{split}",
        files=[f"{split}/{i:05d}" for i in range(len(labels))],
        read=lambda i: Image.fromarray(pixels(i)),
        content=lambda i: pixels(i).tobytes(),
        labels=labels,
        class_names=toyscenes.CLASS_NAMES,
        size=(64, 64),
    )
