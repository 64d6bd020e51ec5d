"""`PATH.py:FUNCTION`: what a function of the user's returns, as a data set.

    def mine():                               called without arguments; the file may import its neighbours
        return dataset                        a torch Dataset of (image, label), or of images
        return images, labels                 arrays or tensors, bytes or floats in [0, 1]

An item of a Dataset is read when it is needed. Its labels are `targets`, where it has them as torchvision's
sets do; else every item is read once for its label. Images are as `arrays` takes them, or Pillow pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils import data as torch_data

from ostrich.data.arrays import as_labels, channels_first, of_arrays
from ostrich.data.dataset import Dataset
from ostrich.data.levels import Levels
from ostrich.data.pictures import as_picture
from ostrich.errors import InputError, UnreadableImage
from ostrich.images import as_rgb
from ostrich.runtime.python_file import from_file

IMAGE_KEYS = ("image", "img", "pixel_values", "images", "x")
LABEL_KEYS = ("label", "labels", "class", "target", "y")
RETURNS = "a torch Dataset of (image, label), or (images, labels) as arrays"


def of_function(word: str, levels: Levels) -> Dataset:
    """The data set that PATH.py:FUNCTION returns. Raises InputError."""
    path, _, name = word.rpartition(":")
    function = from_file(Path(path), name)
    if not callable(function):
        raise InputError(f"{name} in {path!r} is no function; it returns {RETURNS}.")
    try:
        found = function()
    except Exception as error:  # of someone else's code
        raise InputError(f"{word} failed: {type(error).__name__}: {error}") from error
    return as_dataset(word, found, levels)


def as_dataset(name: str, found: Any, levels: Levels) -> Dataset:
    """What a function returned as a data set. Raises InputError for anything else."""
    if isinstance(found, Dataset):
        return found
    if isinstance(found, torch_data.IterableDataset):
        return _of_items(name, list(found), levels)
    if isinstance(found, torch_data.DataLoader):
        raise InputError(f"{name} returns a DataLoader; return its dataset: loader.dataset.")
    if isinstance(found, torch_data.Dataset):
        return _of_items(name, found, levels)
    pair = found if isinstance(found, tuple | list) and len(found) == 2 else (found, None)
    images, labels = (_array(one) for one in pair)
    if not isinstance(images, np.ndarray):
        raise InputError(f"{name} returns {type(found).__name__}; it returns {RETURNS}.")
    return of_arrays(name, images, labels, levels)


def _of_items(name: str, items: Any, levels: Levels) -> Dataset:
    """A Dataset, or a list, of images or of pairs and mappings with labels."""
    try:
        count = len(items)
        first = _parts(name, items[0]) if count else None
    except (TypeError, LookupError) as error:
        raise InputError(f"{name}: the Dataset has no length or no first item ({error!r}).") from error
    if first is None:
        raise InputError(f"{name}: the Dataset is empty.")
    labels: list[int] | None = None
    class_names: tuple[str, ...] | None = None
    if first[1] is not None:
        labels, class_names = as_labels(name, _labels(name, items, count), count, _class_names(items))

    def image(i: int) -> Any:
        try:
            return _parts(name, items[i])[0]
        except InputError:
            raise
        except Exception as error:  # of someone else's code
            raise UnreadableImage(f"Item {i} of {name} cannot be read: {error!r}.") from error

    def read(i: int) -> Image.Image | np.ndarray:
        return _picture(image(i), f"{name}[{i}]", levels)

    def content(i: int) -> bytes:
        found = image(i)
        return found.tobytes() if isinstance(found, Image.Image) else np.asarray(found).tobytes()

    return Dataset(
        name=name,
        files=[f"{i:05d}" for i in range(count)],
        read=read,
        content=content,
        labels=labels,
        class_names=class_names,
        levels=levels,
    )


def _parts(name: str, item: Any) -> tuple[Any, Any]:
    """The image of an item, and its label where it has one. Raises InputError."""
    if isinstance(item, Mapping):
        keys = [next((key for key in known if key in item), None) for known in (IMAGE_KEYS, LABEL_KEYS)]
        if keys[0] is None:
            raise InputError(f"{name}: an item has {', '.join(map(str, item))}; its image is `image`.")
        return item[keys[0]], None if keys[1] is None else item[keys[1]]
    if isinstance(item, tuple | list):
        if len(item) < 2:
            raise InputError(f"{name}: an item is (image, label); got {len(item)} part.")
        return item[0], item[1]
    return item, None


def _labels(name: str, items: Any, count: int) -> Any:
    """The labels: `targets` as torchvision's sets keep them, else by reading every item."""
    places = np.arange(count)
    while isinstance(items, torch_data.Subset):
        places = np.asarray(items.indices)[places]
        items = items.dataset
    kept = vars(items).get("targets") if isinstance(items, torch_data.Dataset) else None
    if isinstance(kept, list | np.ndarray | torch.Tensor) and len(kept) == len(items):
        return np.asarray(kept)[places]
    return [_plain(_parts(name, items[int(i)])[1]) for i in places]


def _class_names(items: Any) -> list[str] | None:
    """The names `classes`, as torchvision's sets keep them."""
    while isinstance(items, torch_data.Subset):
        items = items.dataset
    kept = vars(items).get("classes") if isinstance(items, torch_data.Dataset) else None
    return [str(one) for one in kept] if isinstance(kept, list | tuple) else None


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, torch.Tensor | np.generic) and np.size(label) == 1 else label


def _picture(image: Any, name: str, levels: Levels) -> Image.Image | np.ndarray:
    """An image as a picture, or as bytes (H, W, C)."""
    if isinstance(image, Image.Image):
        return as_rgb(image)
    array = _array(image)
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{name}: an image is an array, a tensor or a Pillow picture; got {type(image).__name__}."
        )
    if array.ndim == 3 and channels_first(array.shape, images_first=isinstance(image, torch.Tensor)):
        array = np.moveaxis(array, 0, -1)
    return as_picture(np.ascontiguousarray(array), name, levels)


def _array(value: Any) -> Any:
    """A tensor as an array; lists of labels, and whatever else, as they are."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
