"""Images or clips to train on, and held out: the two splits of DATA at one size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.data import loading as datasets
from ostrich.data import toyscenes
from ostrich.data.dataset import Samples
from ostrich.data.matching import Names, listed
from ostrich.data.options import as_words
from ostrich.data.spec import open_data, splits_of
from ostrich.data.split import by_content, hold_out_share
from ostrich.data.videos import contents, read_clips, videos
from ostrich.errors import InputError
from ostrich.figures.clips import is_clip
from ostrich.images import fingerprint, fit
from ostrich.runtime.events import say

TEST_CLIPS = 512  # of the toybox, where no limit is set
HELD_OUT = 0.1  # of the images of data without a test split


def open_split(
    data: str | Samples, split: str, shape: tuple[int, ...], *, limit: int | None = None, seed: int = 0
) -> Samples:
    """The split "train" or "test" of a DATA spec without its `:train`, or of samples, at the shape (C, H, W).

    Options of DATA, as --skip-bad, stand behind it (`options.as_words`).
    At a shape (C, T, H, W) they are clips: of the toybox, or of the videos of `clips:PATH`.
    Data that has splits of its own (`spec.splits_of`) gives its train, and its test or else its val. Of data
    that has none of these, and of samples, about a tenth is held out as the test split, by the seed and each
    image's content (`split.hold_out_share`); a limit is class-balanced. Raises InputError for data that has
    splits and none to train on.
    """
    channels, *size = shape
    if isinstance(data, Samples):
        return _of_samples(data, split, shape, limit, seed)
    if is_clip(shape):
        return _clips(data, split, shape, limit, seed)
    if data == "toybox" and split == "train":
        return _toybox(limit, shape)
    word, *options = as_words(data)
    spec, divided = _spec_of(word, split)
    dataset = open_data([spec, *options])
    if dataset.class_map is not None:
        raise InputError(
            "--class-map says which of a network's classes a folder is; training numbers its own."
        )
    samples = datasets.load(
        dataset,
        size=(size[0], size[1]),
        limit=None if divided else limit,
        seed=seed,
        channels=channels,
    )
    if split == "train":
        say(*(f"{what}: {sentence}" for what, sentence in samples.said().items()))
    if divided:
        samples = samples.take(_division(samples.keys, samples.labels, split, limit, seed))
    return replace(samples.kept(), name=f"{data}:{split}")


def _spec_of(data: str, split: str) -> tuple[str, bool]:
    """The DATA that a split is read from, and whether it is to be divided into both. Raises InputError."""
    found = splits_of(data)
    if not found:
        return data, True
    if "train" not in found:
        raise InputError(
            f"{data} has no split to train on. There is {', '.join(found)}: {data}:{found[-1]} is "
            "divided into images to train on and images held out."
        )
    test = next((one for one in ("test", "val") if one in found), None)
    return f"{data}:{test if test and split == 'test' else 'train'}", test is None


def in_classes_of(training: Samples, test: Samples) -> Samples:
    """`test` with its labels (N,) in the numbering of the training data's classes, matched by name.

    Each split numbers the classes that it has. Raises InputError for a class that training lacks.
    """
    ours, theirs = training.class_names, test.class_names
    if test.labels is None or ours is None or theirs is None or ours == theirs:
        return test
    names = Names(ours)
    places = {label: names.places(theirs[label]) for label in test.labels.unique().tolist()}
    strange = [theirs[label] for label, found in places.items() if len(found) != 1]
    if strange:
        raise InputError(
            f"{test.name} has classes that {training.name} lacks: {listed(strange)}. It has {listed(ours)}."
        )
    labels = torch.tensor([places[label][0] for label in test.labels.tolist()], dtype=torch.int64)
    return replace(test, labels=labels, class_names=ours)


def _of_samples(
    samples: Samples, split: str, shape: tuple[int, ...], limit: int | None, seed: int
) -> Samples:
    if tuple(samples[:1].shape[1:]) != shape:
        raise InputError(
            f"Images of shape {tuple(samples[:1].shape[1:])} do not fit a network for {shape}: bring them to "
            "its size, or set the architecture's size= and channels=."
        )
    labels = samples.labels
    named = samples.class_names
    if labels is not None and len(labels):
        low, high = int(labels.min()), int(labels.max())
        named = named or tuple(map(str, range(high + 1)))
        if low < 0 or high >= len(named):
            until = f" to {len(samples.class_names) - 1}" if samples.class_names else ""
            raise InputError(f"Labels are class numbers, from 0{until}; got {low} to {high}.")
    chosen = samples.take(_division(samples.keys, samples.labels, split, limit, seed))
    return replace(chosen.kept(), name=f"{samples.name}:{split}", class_names=named)


def _toybox(limit: int | None, shape: tuple[int, ...]) -> Samples:
    limit = _rendered(limit, shape)
    rendered, labels = toyscenes.render_split("train", limit, workers=2)
    return Samples.of_pixels(
        resized(rendered, (shape[1], shape[2])),
        torch.from_numpy(labels),
        name="toybox:train",
        files=[f"train/{i:05d}" for i in range(limit)],
        class_names=toyscenes.CLASS_NAMES,
        sha256=hashlib.sha256(rendered.tobytes()).hexdigest(),
    )


def _rendered(limit: int | None, shape: tuple[int, ...]) -> int:
    """How many are to be rendered. Raises InputError."""
    if limit is None:
        raise InputError("The toybox has unlimited training images: set train_images.")
    if shape[0] != 3:
        raise InputError(f"The toybox has 3 channels, the network has {shape[0]}.")
    return limit


def _clips(data: str, split: str, shape: tuple[int, ...], limit: int | None, seed: int) -> Samples:
    kind, _, path = data.partition(":")
    if data == "toybox":
        return _toybox_clips(split, limit, shape)
    if kind != "clips" or not path:
        raise InputError(f"Clips come from toybox or clips:PATH, a folder of videos; got {data!r}.")
    found = videos(path)
    channels, length, height, width = shape
    checksum, files, parts = hashlib.sha256(), [], []
    # Clips of one video are alike: a video is in one split, whole.
    of_videos = [fingerprint(*contents(video)) for video in found]
    keys: list[int] = []
    for row in _division(of_videos, None, split, limit, seed):
        video = found[row]
        parts.append(read_clips(video, length, (height, width), channels))
        files += [f"{video.name}@{length * i}" for i in range(len(parts[-1]))]
        keys += [of_videos[row]] * len(parts[-1])
        for content in contents(video):
            checksum.update(content)
    none = np.empty((0, length, height, width, channels), np.uint8)
    return Samples.of_pixels(
        np.concatenate([none, *parts])[:limit],
        name=f"{data}:{split}",
        files=files[:limit],
        sha256=checksum.hexdigest(),
        keys=keys[:limit],
    )


def _toybox_clips(split: str, limit: int | None, shape: tuple[int, ...]) -> Samples:
    count = _rendered(limit or (None if split == "train" else TEST_CLIPS), shape)
    rendered, labels = toyscenes.render_clips(split, count, shape[1], (shape[2], shape[3]), workers=2)
    return Samples.of_pixels(
        rendered,
        torch.from_numpy(labels),
        name=f"toybox:{split}",
        files=[f"{split}/{i:05d}" for i in range(count)],
        class_names=toyscenes.CLASS_NAMES,
    )


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 images (N, H, W, 3) brought to `size` (H, W), as a picture file would be."""
    if pixels.shape[1:3] == size:
        return pixels
    return np.stack([np.asarray(fit(Image.fromarray(one), size)) for one in pixels])


def _division(
    keys: Sequence[int], labels: Tensor | None, split: str, limit: int | None, seed: int
) -> list[int]:
    """The rows of a split, in increasing order; with a limit the first in the order of `by_content`."""
    kept, held = hold_out_share(keys, HELD_OUT, seed=seed)
    rows = held if split == "test" else kept
    classes = None if labels is None else labels[rows].tolist()
    order = by_content([keys[row] for row in rows], classes, seed)
    return sorted(rows[place] for place in order[:limit])
