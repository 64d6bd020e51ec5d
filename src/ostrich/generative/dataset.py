"""`generator:NAME` as DATA: samples of a generator as a data set, for attacks and explanations.

Sample i is the same in every command; a conditional generator's samples carry the class asked for.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.errors import InputError
from ostrich.figures.clips import is_clip
from ostrich.generative.generator import load_generator
from ostrich.images import to_bytes

SAMPLES = 10_000  # of the unlimited ones, what the name stands for
SEED = 2  # training's sheets and measures are of the recipe's seed and the one after
BLOCK = 64  # samples made at once


def generated(name: str) -> Dataset:
    """The samples of the generator of that name. Raises InputError, UnknownName."""
    generator = load_generator(name)
    if is_clip(generator.shape):
        raise InputError(f"{name} makes clips; images are needed.")
    if generator.shape[0] not in (1, 3):
        raise InputError(f"{name} makes images of {generator.shape[0]} channels; pictures have 1 or 3.")

    @lru_cache(maxsize=4)
    def block(number: int) -> np.ndarray:
        return to_bytes(generator.sample(range(number * BLOCK, (number + 1) * BLOCK), seed=SEED)[0])

    def pixels(i: int) -> np.ndarray:
        return block(i // BLOCK)[i % BLOCK]

    def read(i: int) -> Image.Image:
        array = pixels(i)
        return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert("RGB")

    names = generator.class_names
    return Dataset(
        name=f"generator:{name}",
        files=[f"sample/{i:05d}" for i in range(SAMPLES)],
        read=read,
        content=lambda i: pixels(i).tobytes(),
        labels=None if names is None else [i % len(names) for i in range(SAMPLES)],
        class_names=names,
        size=(generator.shape[1], generator.shape[2]),
    )
