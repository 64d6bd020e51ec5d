"""The images that studies train and test on: class-balanced, nested, drawn by a seed.

A smaller training set of a seed lies inside its larger ones; the test set is the same for all seeds.
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
from torch import Tensor

from ostrich.data import dataset as datasets
from ostrich.data import open_data, toyscenes
from ostrich.data.dataset import subset
from ostrich.data.digits import CLASS_NAMES as DIGITS
from ostrich.data.digits import digits
from ostrich.data.pictures import resized
from ostrich.errors import InputError
from ostrich.images import fit
from ostrich.models.architectures import parse_size
from ostrich.runtime.randomness import keyed

TEST_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Images uint8 (N, C, H, W) and labels int64 (N,), to train on and to test on."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    class_names: tuple[str, ...]

    @property
    def channels(self) -> int:
        return self.train[0].shape[1]

    @property
    def size(self) -> tuple[int, int]:
        return self.train[0].shape[2], self.train[0].shape[3]

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation per channel of the training images in [0, 1]."""
        pixels = self.train[0].float().div(255).movedim(1, 0).flatten(1)
        return tuple(pixels.mean(1).tolist()), tuple(pixels.std(1).clamp_min(1e-3).tolist())

    def only(self, classes: Sequence[int]) -> Material:
        """The images of some classes, numbered anew in that order."""
        parts = []
        for images, labels in (self.train, self.test):
            rows = torch.isin(labels, torch.tensor(classes))
            places = torch.full((len(self.class_names),), -1)
            places[list(classes)] = torch.arange(len(classes))
            parts.append((images[rows], places[labels[rows]]))
        names = tuple(self.class_names[k] for k in classes)
        return Material(train=parts[0], test=parts[1], class_names=names)


def material(data: str, *, size: int, train: int, test: int, seed: int, pool: int | None = None) -> Material:
    """`train` images of a seed's draw and `test` images, brought to `size` pixels a side.

    `pool` is how many images of the toybox, which has no end, the draws are made from. Raises InputError
    where the data has too few.
    """
    if data == "digits":
        pixels, labels = _digits(size)
        held = subset(labels.tolist(), len(labels), test, TEST_SEED)
        rest = sorted(set(range(len(labels))) - set(held))
        _enough(data, len(rest), train)
        chosen = [rest[i] for i in subset(labels[rest].tolist(), len(rest), train, seed)]
        return Material(
            train=(pixels[chosen], labels[chosen]),
            test=(pixels[held], labels[held]),
            class_names=DIGITS,
        )
    if data == "toybox":
        first, held_out = _toybox("train", pool or train, size), _toybox("test", test, size)
        _enough(data, len(first[0]), train)
        rows = subset(first[1].tolist(), len(first[1]), train, seed)
        return Material(
            train=(first[0][rows], first[1][rows]), test=held_out, class_names=toyscenes.CLASS_NAMES
        )
    parts: list[tuple[Tensor, Tensor]] = []
    names: tuple[str, ...] = ()
    for split, count, draw in (("train", train, seed), ("test", test, TEST_SEED)):
        found = open_data(_split(data, split))
        if found.labels is None or found.class_names is None:
            raise InputError(f"{data!r} has no labels to train on.")
        _enough(f"{data}:{split}", len(found), count)
        samples = datasets.load(found, size=(size, size), limit=count, seed=draw)
        assert samples.labels is not None
        parts.append((torch.from_numpy(samples.pixels).permute(0, 3, 1, 2).contiguous(), samples.labels))
        names = found.class_names
    return Material(train=parts[0], test=parts[1], class_names=names)


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


def joined(a: Material, b: Material) -> Material:
    """Two data sets as one; the classes of the second come after those of the first."""
    first = len(a.class_names)
    (xa, ya), (xb, yb) = a.train, b.train
    (ta, la), (tb, lb) = a.test, b.test
    return Material(
        train=(torch.cat([xa, xb]), torch.cat([ya, yb + first])),
        test=(torch.cat([ta, tb]), torch.cat([la, lb + first])),
        class_names=a.class_names + b.class_names,
    )


def with_label_noise(given: Material, share: float, seed: int) -> Material:
    """The same with a share of the training labels changed to another class, drawn by the seed."""
    images, labels = given.train
    draw = keyed(seed, 11)
    count = round(share * len(labels))
    rows = torch.randperm(len(labels), generator=draw)[:count]
    away = torch.randint(1, len(given.class_names), (count,), generator=draw)
    changed = labels.clone()
    changed[rows] = (labels[rows] + away) % len(given.class_names)
    return replace(given, train=(images, changed))


@cache
def _digits(size: int) -> tuple[Tensor, Tensor]:
    """Both splits, grey (N, 1, H, W), and their labels."""
    both = [digits("train"), digits("test")]
    read = [cast(Image.Image, one.read(i)) for one in both for i in range(len(one))]
    every = [np.asarray(fit(one, (size, size)).convert("L")) for one in read]
    return torch.from_numpy(np.stack(every))[:, None], torch.tensor(
        [k for one in both for k in one.labels or ()]
    )


@cache
def _toybox(split: str, count: int, size: int) -> tuple[Tensor, Tensor]:
    """The first images of a split, 64 pixels a side, brought to another size."""
    if split == "test" and count <= 512:
        stored = toyscenes.test_images(count)
        pixels, labels = stored.images, stored.labels
    else:
        pixels, labels = toyscenes.render_split(split, count)
    pixels = resized(pixels, parse_size(size))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def _enough(data: str, there: int, wanted: int) -> None:
    if wanted > there:
        raise InputError(f"{data} has {there} images to train on; {wanted} are asked for.")
