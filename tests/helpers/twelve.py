"""Twelve pictures of three classes, and whether a form of DATA gives them back."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

import ostrich
from ostrich.data import load, open_data

NAMES = ("ant", "bee", "cat")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
LABELS = np.arange(12) % 3


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def gives_them_back(word: str, labelled: bool = True, channels: int = 3, names=NAMES) -> ostrich.data.Samples:
    samples = load(open_data(word), size=(8, 8), channels=channels, class_names=names, num_classes=len(names))
    assert (samples.pixels == PIXELS).all()
    if labelled:
        assert samples.labels.tolist() == LABELS.tolist()
    else:
        assert samples.labels is None
    assert samples.words == (word,)
    part = load(open_data(word), size=(8, 8), class_names=names, num_classes=len(names), limit=3, seed=1)
    assert all((one == PIXELS[i]).all() for one, i in zip(part.pixels, part.index))
    assert not labelled or sorted(part.labels.tolist()) == [0, 1, 2]
    return samples
