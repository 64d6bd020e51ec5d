"""The images that studies train and test on: class-balanced, nested, drawn by a seed.

A smaller training set of a seed lies inside its larger ones; the test set is the same for all seeds. They are
drawn by position (`split.subset`), not by content: every published page of a study was made with these.
Of the digits both splits are pooled (1,797 images) and parted anew, so that more than 360 can be tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image

from ostrich.data import loading as datasets
from ostrich.data import open_data, toyscenes
from ostrich.data.dataset import Samples
from ostrich.data.digits import CLASS_NAMES as DIGITS
from ostrich.data.digits import digits
from ostrich.data.split import subset
from ostrich.data.training_data import in_classes_of, resized
from ostrich.errors import InputError
from ostrich.images import fit
from ostrich.models.architectures import parse_size
from ostrich.runtime.randomness import keyed

TEST_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Labelled samples to train on and to test on, with the same class names."""

    train: Samples
    test: Samples

    @property
    def class_names(self) -> tuple[str, ...]:
        assert self.train.class_names is not None
        return self.train.class_names

    @property
    def channels(self) -> int:
        return self.train.pixels.shape[-1]

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.train.pixels.shape[1:3]
        return height, width

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation per channel of the training images in [0, 1]."""
        pixels = self.train.tensor().float().div(255).movedim(1, 0).flatten(1)
        return tuple(pixels.mean(1).tolist()), tuple(pixels.std(1).clamp_min(1e-3).tolist())

    def only(self, classes: Sequence[int]) -> Splits:
        """The images of some classes, numbered anew in that order."""
        places = torch.full((len(self.class_names),), -1)
        places[list(classes)] = torch.arange(len(classes))
        names = tuple(self.class_names[k] for k in classes)

        def chosen(samples: Samples) -> Samples:
            labels = places[samples.tensors()[1]]
            rows = (labels >= 0).nonzero()[:, 0]
            return replace(samples.take(rows.tolist()), labels=labels[rows], class_names=names)

        return Splits(train=chosen(self.train), test=chosen(self.test))


def open_splits(
    data: str,
    *,
    size: int,
    train: int,
    test: int,
    seed: int,
    pool: int | None = None,
    grey: bool = False,
) -> Splits:
    """`train` images of a seed's draw and `test` images, brought to `size` pixels a side.

    `pool` is how many images of the toybox, which has no end, the draws are made from; `grey` makes one
    channel of what is read (digits have one, the toybox three). Raises InputError where the data has too few,
    or images to test on of a class that it has none of to train on.
    """
    if data == "digits":
        every = _digits(size)
        held = _drawn(every, test, TEST_SEED)
        rest = every.take(sorted(set(range(len(every))) - set(held)))
        _enough(data, len(rest), train)
        return Splits(train=rest.take(_drawn(rest, train, seed)), test=every.take(held))
    if data == "toybox":
        first = _toybox("train", pool or train, size)
        _enough(data, len(first), train)
        return Splits(train=first.take(_drawn(first, train, seed)), test=_toybox("test", test, size))
    parts: list[Samples] = []
    channels = 1 if grey else 3
    for split, count, draw in (("train", train, seed), ("test", test, TEST_SEED)):
        found = open_data(_split(data, split))
        if found.labels is None or found.class_names is None:
            raise InputError(f"{data!r} has no labels to train on.")
        _enough(f"{data}:{split}", len(found), count, "images")
        parts.append(
            datasets.load(found, size=(size, size), channels=channels, limit=count, seed=draw).kept()
        )
    return Splits(train=parts[0], test=in_classes_of(*parts))


def _drawn(samples: Samples, count: int, seed: int) -> list[int]:
    return subset(samples.tensors()[1].tolist(), len(samples), count, seed)


def check_data(data: str) -> None:
    """Whether there is such data to train on. Raises InputError."""
    if data in ("digits", "toybox"):
        return
    for split in ("train", "test"):
        if open_data(_split(data, split)).labels is None:
            raise InputError(f"{data!r} has no labels to train on.")


def _split(data: str, split: str) -> str:
    """The DATA spec of a split. Of `folder:PATH` it is a folder inside: train, and test or val.

    Raises InputError where there is none, since training and testing on the same images shows nothing.
    """
    if not data.startswith("folder:"):
        return f"{data}:{split}"
    root = Path(data.removeprefix("folder:"))
    names = ("train",) if split == "train" else ("test", "val")
    for name in names:
        if (root / name).is_dir():
            return f"folder:{root / name}"
    raise InputError(f"{data!r} is studied by its folders train/ and test/ or val/; there is no {names[0]}/.")


def joined(a: Splits, b: Splits) -> Splits:
    """Two data sets as one; the classes of the second come after those of the first."""
    names = a.class_names + b.class_names

    def both(one: Samples, other: Samples) -> Samples:
        labels = torch.cat([one.tensors()[1], other.tensors()[1] + len(a.class_names)])
        pixels, files = np.concatenate([one.pixels, other.pixels]), one.files + other.files
        name = f"{one.name} and {other.name}"
        return Samples.of_pixels(pixels, labels, name=name, files=files, class_names=names)

    return Splits(train=both(a.train, b.train), test=both(a.test, b.test))


def with_label_noise(given: Splits, share: float, seed: int) -> Splits:
    """The same with a share of the training labels changed to another class, drawn by the seed."""
    labels = given.train.tensors()[1]
    draw = keyed(seed, 11)
    count = round(share * len(labels))
    rows = torch.randperm(len(labels), generator=draw)[:count]
    away = torch.randint(1, len(given.class_names), (count,), generator=draw)
    changed = labels.clone()
    changed[rows] = (labels[rows] + away) % len(given.class_names)
    return replace(given, train=given.train.labelled(changed))


@cache
def _digits(size: int) -> Samples:
    """Both splits, grey."""
    both = [digits("train"), digits("test")]
    read = [cast(Image.Image, one.read(i)) for one in both for i in range(len(one))]
    pixels = np.stack([np.asarray(fit(one, (size, size)).convert("L"))[..., None] for one in read])
    labels = torch.tensor([k for one in both for k in one.labels or ()])
    files = [file for one in both for file in one.files]
    return Samples.of_pixels(pixels, labels, name="digits", files=files, class_names=DIGITS)


@cache
def _toybox(split: str, count: int, size: int) -> Samples:
    """The first images of a split, 64 pixels a side, brought to another size."""
    if split == "test" and count <= 512:
        stored = toyscenes.test_images(count)
        pixels, labels = stored.images, stored.labels
    else:
        pixels, labels = toyscenes.render_split(split, count)
    names = toyscenes.CLASS_NAMES
    return Samples.of_pixels(
        resized(pixels, parse_size(size)),
        torch.from_numpy(labels),
        name=f"toybox:{split}",
        files=[f"{split}/{i:05d}" for i in range(count)],
        class_names=names,
    )


def _enough(data: str, there: int, wanted: int, what: str = "images to train on") -> None:
    if wanted > there:
        raise InputError(f"{data} has {there} {what}; {wanted} are asked for.")
