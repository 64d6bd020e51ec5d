"""What a PyTorch user has, as what the verbs work on: a classifier, and samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ostrich import data as datasets
from ostrich.data.dataset import Dataset, Samples
from ostrich.data.loading import load_for
from ostrich.data.options import DataOptions
from ostrich.errors import InputError
from ostrich.images import as_rgb, picture, to_bytes
from ostrich.models.classifier import Classifier
from ostrich.models.loading import load
from ostrich.runtime.python_file import reason

Model = Classifier | nn.Module | Callable[[Tensor], Any] | str
Images = (
    Tensor | Samples | Dataset | str | Path | Sequence[str | Path] | tuple[Tensor, Tensor] | DataLoader[Any]
)
DATA = (
    "a tensor (N, C, H, W) in [0, 1], a pair (images, labels), ostrich.data.Samples or Dataset, a "
    "DataLoader, or DATA as on the command line"
)


def check_whole_number(name: str, value: object, least: int | None = None) -> None:
    """Refuse, by an InputError, what is no whole number, or less than `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
        bound = "" if least is None else f", at least {least}"
        raise InputError(f"{name} is a whole number{bound}; got {value!r}.")


def check_count(name: str, value: object) -> None:
    """Refuse, by an InputError, what is neither None nor a number of things, at least 1."""
    if value is not None:
        check_whole_number(name, value, 1)


def check_minutes(minutes: object) -> None:
    """Refuse, by an InputError, what is no time that something may take."""
    if not isinstance(minutes, Real) or isinstance(minutes, bool) or not math.isfinite(minutes):
        raise InputError(f"minutes is a finite number; got {minutes!r}.")
    if minutes <= 0:
        raise InputError(f"minutes is above 0; got {minutes}.")


def as_classifier(model: Model) -> Classifier:
    """A classifier as it is; else what `ostrich.load` makes of the model. Raises InputError."""
    return model if isinstance(model, Classifier) else load(model)


def as_samples(
    data: Images | None,
    labels: Tensor | Sequence[int] | None,
    classifier: Classifier,
    *,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> Samples:
    """Images with their labels, as the classifier sees them.

    `limit` is a seeded, class-balanced choice. Raises InputError for what is none, for images of other
    channels than the network takes, and labels of another length or class.
    """
    check_count("limit", limit)
    check_whole_number("seed", seed)
    found = _samples(data, classifier, limit=limit, seed=seed, skip_bad=skip_bad)
    if labels is not None:
        found = found.labelled(_as_labels(labels))
    if limit is not None and len(found) > limit:
        classes = None if found.labels is None else found.labels.tolist()
        found = found.chosen(datasets.subset(classes, len(found), limit, seed))
    if len(found):
        _check_channels(found[:1].shape[1:], classifier)
    if classifier.size is None and len(found):
        height, width = found[:1].shape[2:]
        classifier.size = (height, width)
    return found


def _check_channels(shape: Sequence[int], classifier: Classifier) -> None:
    """Refuse images of a shape (C, H, W) whose channels the network does not take. Raises InputError."""
    normalises = classifier.mean is not None or classifier.std is not None
    if not normalises and not isinstance(classifier.network, nn.Module):
        return  # a function may take any
    channels, last = shape[0], shape[-1]
    if channels != classifier.channels and last != classifier.channels:
        classifier.size = classifier.size or (shape[1], shape[2])
        classifier.probe()  # which finds what it takes, where that was guessed
    if channels != classifier.channels:
        hint = (
            " They look like (N, H, W, C): images.permute(0, 3, 1, 2)." if last == classifier.channels else ""
        )
        raise InputError(
            f"{classifier.name} takes images (N, {classifier.channels}, H, W); got (N, "
            f"{', '.join(map(str, shape))}).{hint}"
        )


def as_training_data(data: Images) -> str | Samples:
    """DATA as text, its options behind it, or images with labels of one's own.

    Raises InputError for what is neither.
    """
    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, Dataset):
        words, options = DataOptions().with_words(data.words)
        if len(words) != 1:
            raise InputError(
                f"{data.name} is not trained on: a Dataset is what ostrich.data.open_data opens of one DATA. "
                "Images of your own go as (images, labels) or ostrich.data.Samples."
            )
        return options.behind(words[0])
    found = held_samples(data)
    if found is None:
        raise InputError(f"Training data is {DATA}; got {_kind(data)}.")
    return found


def held_samples(data: Any) -> Samples | None:
    """Images that are given as such; None where they are named. Raises InputError, for no image too."""
    found = _held(data)
    if found is not None and not len(found):
        raise InputError("There is no image among what was given; give at least one image.")
    return found


def _held(data: Any) -> Samples | None:
    if isinstance(data, Samples):
        return data
    if isinstance(data, Tensor):
        return Samples.of(data)
    if isinstance(data, DataLoader):
        return Samples.of(*_collected(data))
    if isinstance(data, tuple | list) and data and isinstance(data[0], Tensor):
        if len(data) != 2 or not isinstance(data[1], Tensor | list | tuple):
            raise InputError(f"A pair is (images, labels); got {len(data)} of {type(data[-1]).__name__}.")
        return Samples.of(data[0], _as_labels(data[1]))
    return None


def _samples(data: Any, classifier: Classifier, *, limit: int | None, seed: int, skip_bad: bool) -> Samples:
    if (found := held_samples(data)) is not None:
        return found
    named = data if isinstance(data, Dataset) else _named(data)
    return read_samples(named, classifier, limit=limit, seed=seed, skip_bad=skip_bad)


def as_dataset(data: Images | None) -> Dataset:
    """Pictures as they are, at their own sizes, for what needs no classifier. Raises InputError."""
    if isinstance(data, Dataset):
        return data
    samples = held_samples(data)
    if samples is None:
        return _named(data)
    return Dataset(
        name=samples.name,
        files=samples.files,
        read=lambda i: as_rgb(picture(samples[i : i + 1][0])),
        content=lambda i: to_bytes(samples[i : i + 1]).tobytes(),
        words=samples.words,
    )


def _named(data: Any) -> Dataset:
    """The data set that DATA names. Raises InputError."""
    words = [data] if isinstance(data, str | Path) else data
    if not isinstance(words, list | tuple) or not words or not all(isinstance(w, str | Path) for w in words):
        raise InputError(f"Images are {DATA}; got {_kind(data)}.")
    return datasets.open_data([str(word) for word in words])


def _as_labels(labels: Any) -> Tensor:
    """Labels as a tensor; whether they are class numbers is checked with the images. Raises InputError."""
    try:
        return torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"Labels are class numbers, one for each image; got {_kind(labels)}.") from None


def read_samples(
    dataset: Dataset, classifier: Classifier, *, limit: int | None, seed: int, skip_bad: bool = False
) -> Samples:
    """A data set's images at the classifier's size and with its numbering of classes. Raises InputError.

    A classifier without class names takes the data's where each class has one.
    """
    if classifier.size is None:
        if dataset.size is None:
            raise InputError(
                f"The input size of {classifier.name} is not known: ostrich.load(..., size=224)."
            )
        classifier.size = dataset.size
        classifier.probe()
    found = load_for(dataset, classifier, limit=limit, seed=seed, skip_bad=skip_bad)
    if classifier.class_names is None and found.class_names and found.matching is not None:
        names = dict(zip(found.matching.classes, found.class_names))
        if sorted(names) == list(range(classifier.num_classes)):
            classifier.class_names = tuple(names[k] for k in range(classifier.num_classes))
    return found


def _collected(loader: DataLoader[Any]) -> tuple[Tensor, Tensor | None]:
    """All batches of a loader: images, or pairs with labels."""
    try:
        batches = list(loader)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # of someone else's code
        raise InputError(f"The DataLoader fails: {reason(error)}.") from error
    pairs = [batch if isinstance(batch, list | tuple) else (batch, None) for batch in batches]
    if not pairs or not all(len(pair) > 1 and isinstance(pair[0], Tensor) for pair in pairs):
        raise InputError("A DataLoader gives batches of images, or pairs of images and labels.")
    images = [pair[0] for pair in pairs]
    if any(one.ndim != 4 or one.shape[1:] != images[0].shape[1:] for one in images):
        shapes = ", ".join(
            str(shape) for shape in list(dict.fromkeys(tuple(one.shape) for one in images))[:4]
        )
        raise InputError(
            f"A DataLoader gives batches (N, C, H, W) of images of one size; got {shapes}. Files of several "
            "sizes are DATA: ostrich.data.open_data brings them to the network's."
        )
    if all(pair[1] is None for pair in pairs):
        return torch.cat(images), None
    labels = [_as_labels(pair[1]) for pair in pairs]
    for one, pair in zip(labels, pairs, strict=True):
        if one.shape != pair[0].shape[:1]:
            got = f"{_kind(one)} for {len(pair[0])} of them"
            raise InputError(f"Labels are class numbers, one for each image; got {got}.")
    return torch.cat(images), torch.cat(labels)


def _kind(given: object) -> str:
    """What was given, as an error says it."""
    shape = getattr(given, "shape", None)
    return f"{type(given).__name__}{'' if shape is None else f' of shape {tuple(shape)}'}"
