"""Handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998), which scikit-learn carries in its wheel.

1,797 grey images, the test part of the UCI set "optical recognition of handwritten digits". Here
360 of them, 36 of each digit, are the test split, by a fixed seed. The same writers stand in both
splits, so accuracy is easier than on new writers' digits.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.split import subset
from ostrich.errors import UnknownName

TEST_IMAGES = 360
SPLIT_SEED = 0  # fixed: the zoo's network has seen the rest
CLASS_NAMES = tuple("0123456789")


def digits(split: str) -> Dataset:
    """The split "train" (1,437 images) or "test" (360). Raises UnknownName."""
    if split not in ("train", "test"):
        raise UnknownName("split of the digits", split, ("train", "test"))
    from sklearn.datasets import load_digits

    stored = load_digits()
    labels = [int(label) for label in stored.target]
    pixels = np.round(stored.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), of 0..16
    test = subset(labels, len(labels), TEST_IMAGES, SPLIT_SEED)
    rows = test if split == "test" else sorted(set(range(len(labels))) - set(test))
    return Dataset(
        name=f"digits:{split}",
        files=[f"{split}/{i:04d}" for i in rows],
        read=lambda i: Image.fromarray(pixels[rows[i]]).convert("RGB"),
        content=lambda i: pixels[rows[i]].tobytes(),
        labels=[labels[i] for i in rows],
        class_names=CLASS_NAMES,
        size=(8, 8),
    )
