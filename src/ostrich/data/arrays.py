"""Images in memory: `npz:FILE`, and what a function of the user's returns.

An image is (H, W, C), (C, H, W) or (H, W): of an array's two ends the smaller one is the channels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.levels import Levels
from ostrich.data.pictures import as_picture
from ostrich.data.tables import numbered
from ostrich.errors import InputError, first_line

PLAIN = (("images", "x", "X", "data", "image", "arr_0"), ("labels", "y", "Y", "label", "targets", "arr_1"))
FLOATS = (torch.float16, torch.float32, torch.float64)  # that numpy has, too
SPLIT = (("{}_images", "x_{}", "X_{}", "images_{}"), ("{}_labels", "y_{}", "Y_{}", "labels_{}"))


def npz(path: str, split: str | None, levels: Levels) -> Dataset:
    """`npz:FILE`: images and labels, x_test and y_test, or test_images and test_labels. Raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise InputError(f"{path!r} holds one array; npz:FILE has images and labels.")
            key, label_key = _keys(path, stored.files, split)
            images = stored[key]
            labels = stored[label_key] if label_key else None
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"There is no file {path!r}.") from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path!r} cannot be read as arrays without pickles ({error}).") from None
    name = f"npz:{path}{f':{split}' if split else ''}"
    return of_arrays(name, images, labels, levels, files=lambda i: f"{key}[{i}]")


def npz_splits(path: str) -> list[str]:
    """The splits that a file of arrays has; none where it has plain images, or cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            there = list(stored.files) if isinstance(stored, np.lib.npyio.NpzFile) else []
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return []  # who opens it says what is wrong
    if any(key in there for key in PLAIN[0]):
        return []
    return [one for one in ("train", "val", "test") if any(key.format(one) in there for key in SPLIT[0])]


def of_arrays(
    name: str,
    images: np.ndarray,
    labels: Any,
    levels: Levels,
    files: Callable[[int], str] = "images[{}]".format,
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Images (N, H, W, C), (N, C, H, W) or (N, H, W) and their labels (N,). Raises InputError."""
    if images.ndim not in (3, 4) or not len(images):
        raise InputError(
            f"{name}: images are (N, H, W, C), (N, C, H, W) or (N, H, W); got shape {images.shape}."
        )
    first = channels_first(images.shape[1:], images_first=False)

    def read(i: int) -> Image.Image | np.ndarray:
        image = images[i]
        return as_picture(np.moveaxis(image, 0, -1) if first else image, names[i], levels)

    names = [files(i) for i in range(len(images))]
    numbers, found = as_labels(name, labels, len(images), class_names)
    return Dataset(
        name=name,
        files=names,
        read=read,
        content=lambda i: np.ascontiguousarray(images[i]).tobytes(),
        labels=numbers,
        class_names=found,
        size=_size(images.shape[1:], first),
        levels=levels,
    )


def channels_first(shape: Sequence[int], images_first: bool) -> bool:
    """Whether an image of that shape is (C, H, W); where both ends are equal, as is usual: `images_first`."""
    if len(shape) != 3:
        return False
    return shape[0] < shape[2] if shape[0] != shape[2] else images_first


def as_array(value: Any) -> Any:
    """A tensor as an array, numbers of a type that numpy lacks as float32; else the value itself.

    Raises InputError.
    """
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    try:
        return (value if value.dtype in FLOATS or not value.is_floating_point() else value.float()).numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised
        raise InputError(f"A tensor of {value.dtype} is no array: {first_line(error)}") from None


def as_labels(
    name: str, labels: Any, count: int, class_names: Sequence[str] | None = None
) -> tuple[list[int] | None, tuple[str, ...] | None]:
    """Labels (N,), (N, 1) or one-hot (N, K), numbers or names, as places among their names, and these.

    Raises InputError for labels of another form.
    """
    if labels is None:
        return None, None
    array = _label_array(name, labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "buif" and _one_hot(array):
        array = array.argmax(1)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == array.round()).all():
        array = array.astype(np.int64)
    if array.shape != (count,) or array.dtype.kind not in "iuU":
        raise InputError(
            f"{name}: labels are one number or name for each of {count} images; got {array.dtype} of shape "
            f"{array.shape}."
        )
    if array.dtype.kind != "U" and int(array.min(initial=0)) < 0:
        raise InputError(f"{name}: labels are numbers from 0; got {int(array.min())}.")
    if class_names is not None and array.dtype.kind != "U" and int(array.max(initial=0)) < len(class_names):
        return [int(one) for one in array], tuple(str(one) for one in class_names)
    return numbered(str(one) for one in array)


def _label_array(name: str, labels: Any) -> np.ndarray:
    """Labels as an array; of truth values as numbers, of bytes (UTF-8) and Python's own texts as texts."""
    try:
        array = np.asarray([as_array(one) for one in labels] if isinstance(labels, list | tuple) else labels)
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
    except (TypeError, ValueError) as error:  # rows of unequal length
        raise InputError(
            f"{name}: labels are one number or name for each image; these are no array ({first_line(error)})"
        ) from None
    if array.dtype == object and all(isinstance(one, str) for one in array.flat):
        array = array.astype(str)
    return array.astype(np.int64) if array.dtype == bool else array


def _one_hot(array: np.ndarray) -> bool:
    return array.shape[1] > 1 and bool(((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all())


def _size(shape: Sequence[int], first: bool) -> tuple[int, int]:
    """(H, W) of images of that shape."""
    return (shape[1], shape[2]) if first else (shape[0], shape[1])


def _keys(path: str, there: Sequence[str], split: str | None) -> tuple[str, str | None]:
    """The names of images and labels in a file; without a split the plain ones, else those of the test."""
    for one in [split] if split else [None, "test"]:
        pairs = PLAIN if one is None else [[key.format(one) for key in keys] for keys in SPLIT]
        images, labels = (next((key for key in keys if key in there), None) for keys in pairs)
        if images is not None:
            return images, labels
    raise InputError(
        f"{path!r} holds {', '.join(there)}; npz:FILE reads images and labels, x_test and y_test, or "
        "test_images and test_labels, with :train, :val or :test behind it."
    )
