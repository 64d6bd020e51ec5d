"""`PATH.py:FUNCTION`: what a function of the user's returns, as a data set.

    def mine():                               called without arguments; the file may import its neighbours
        return dataset                        a torch Dataset of (image, label), or of images
        return images, labels                 arrays or tensors, bytes or floats in [0, 1]

An item of a Dataset is read when it is needed. Its labels are `targets`, where it has them as torchvision's
sets do, no `target_transform` changes them, and a few items, of all classes in turn, say the same; else every
item is read once for its label. One that cannot be read is an unreadable image. Images are as `arrays` takes
them, or Pillow pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils import data as torch_data

from ostrich.data.arrays import as_array, as_labels, channels_first, of_arrays
from ostrich.data.dataset import Dataset
from ostrich.data.levels import Levels
from ostrich.data.pictures import as_picture, in_eight_bits
from ostrich.data.split import subset
from ostrich.errors import InputError, UnreadableImage
from ostrich.runtime.python_file import called, from_file, reason

IMAGE_KEYS = ("image", "img", "pixel_values", "images", "x")
LABEL_KEYS = ("label", "labels", "class", "target", "y")
ASKED = 32  # items whose labels are compared with `targets`
RETURNS = "a torch Dataset of (image, label), or (images, labels) as arrays"


def of_function(word: str, levels: Levels) -> Dataset:
    """The data set that PATH.py:FUNCTION returns. Raises InputError."""
    path, _, name = word.rpartition(":")
    function = from_file(Path(path), name)
    if not callable(function):
        raise InputError(f"{name} in {path!r} is no function; it returns {RETURNS}.")
    return as_dataset(word, called(function, word, Path(path).parent), levels)


def as_dataset(name: str, found: Any, levels: Levels) -> Dataset:
    """What a function returned as a data set. Raises InputError for anything else."""
    if isinstance(found, Dataset):
        return found
    if isinstance(found, torch_data.IterableDataset):
        return _of_items(name, _all_of(name, found), levels)
    if isinstance(found, torch_data.DataLoader):
        raise InputError(f"{name} returns a DataLoader; return its dataset: loader.dataset.")
    if isinstance(found, torch_data.Dataset):
        return _of_items(name, found, levels)
    pair = found if isinstance(found, tuple | list) and len(found) == 2 else (found, None)
    images, labels = (as_array(one) for one in pair)
    if not isinstance(images, np.ndarray):
        raise InputError(f"{name} returns {type(found).__name__}; it returns {RETURNS}.")
    return of_arrays(name, images, labels, levels)


def _of_items(name: str, items: Any, levels: Levels) -> Dataset:
    """A Dataset, or a list, of images or of pairs and mappings with labels."""
    try:
        count = len(items)
    except (Exception, SystemExit) as error:  # of someone else's code
        raise InputError(f"{name}: the Dataset has no length ({reason(error)}).") from error
    if not count:
        raise InputError(f"{name}: the Dataset is empty.")
    labels, class_names, unreadable = _labels(name, items, count)

    def image(i: int) -> Any:
        if i in unreadable:
            raise UnreadableImage(unreadable[i])
        return _item(name, items, i)[0]

    def read(i: int) -> Image.Image | np.ndarray:
        return _picture(image(i), f"{name}[{i}]", levels)

    def content(i: int) -> bytes:
        found = image(i)
        return found.tobytes() if isinstance(found, Image.Image) else np.asarray(as_array(found)).tobytes()

    return Dataset(
        name=name,
        files=[f"{i:05d}" for i in range(count)],
        read=read,
        content=content,
        labels=labels,
        class_names=class_names,
        levels=levels,
    )


def _all_of(name: str, stream: Iterable[Any]) -> list[Any]:
    """The items of an IterableDataset. Raises InputError where it fails."""
    try:
        return list(stream)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # of someone else's code
        raise InputError(f"{name}: the IterableDataset fails: {reason(error)}.") from error


def _item(name: str, items: Any, i: int) -> tuple[Any, Any]:
    """The image and the label of an item. Raises UnreadableImage where reading it fails, InputError."""
    try:
        return _parts(name, items[i])
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # of someone else's code
        raise UnreadableImage(f"Item {i} of {name} cannot be read: {reason(error)}.") from error


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


def _labels(
    name: str, items: Any, count: int
) -> tuple[list[int] | None, tuple[str, ...] | None, dict[int, str]]:
    """The labels and the names of their classes, where items have any; and why some cannot be read, by item.

    An unreadable one has no label of its own; that of another stands in its place, and is never seen.
    """
    unreadable: dict[int, str] = {}

    def readable(rows: Iterable[int] = range(count)) -> Iterator[tuple[int, Any]]:
        for i in rows:
            try:
                yield i, _item(name, items, i)[1]
            except UnreadableImage as error:
                unreadable[i] = str(error)

    _, first = next(readable(), (None, None))
    if len(unreadable) == count:
        raise UnreadableImage(unreadable[0])
    if first is None:
        return None, None, unreadable
    kept, names = _kept(items)
    if kept is not None and not _confirmed(kept, readable):
        kept, names = None, None  # other labels, of which the names are not known
    said = {i: _plain(label) for i, label in readable()} if kept is None else dict(enumerate(kept))
    numbers, class_names = as_labels(name, list(said.values()), len(said), names)
    assert numbers is not None
    places = dict(zip(said, numbers))
    return [places.get(i, numbers[0]) for i in range(count)], class_names, unreadable


def _kept(items: Any) -> tuple[np.ndarray | None, list[str] | None]:
    """The labels `targets` (N,) and the names `classes`, as torchvision's sets keep them; None where there
    are none, or a `target_transform` gives others.
    """
    places = np.arange(len(items))
    while isinstance(items, torch_data.Subset):
        places = np.asarray(items.indices)[places]
        items = items.dataset
    if not isinstance(items, torch_data.Dataset) or _changes_labels(items):
        return None, None
    targets, classes = (vars(items).get(name) for name in ("targets", "classes"))
    names = [str(one) for one in classes] if isinstance(classes, list | tuple) else None
    if not isinstance(targets, list | np.ndarray | torch.Tensor) or not isinstance(items, Sized):
        return None, names
    try:
        return np.asarray(as_array(targets))[places] if len(targets) == len(items) else None, names
    except ValueError:  # several to an image, as of detection
        return None, names


def _confirmed(kept: np.ndarray, readable: Callable[[Iterable[int]], Iterator[tuple[int, Any]]]) -> bool:
    """Whether the labels (N,) are those of ASKED items, which are of all classes in turn."""
    classes = kept.tolist() if kept.ndim == 1 and kept.dtype.kind in "iufUS" else None
    return all(_same(label, kept[i]) for i, label in readable(subset(classes, len(kept), ASKED, 0)))


def _same(label: Any, kept: Any) -> bool:
    known = isinstance(label, int | float | str | bytes | np.ndarray | np.generic | torch.Tensor)
    return known and np.array_equal(np.ravel(as_array(label)), np.ravel(kept))


def _changes_labels(items: Any) -> bool:
    """Whether items have other labels than `targets`, by a `target_transform` or that of `transforms`."""
    owners = (items, getattr(items, "transforms", None))
    return any(getattr(owner, "target_transform", None) is not None for owner in owners)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, torch.Tensor | np.generic) and np.size(label) == 1 else label


def _picture(image: Any, name: str, levels: Levels) -> Image.Image | np.ndarray:
    """An image as a picture, or as bytes (H, W, C)."""
    if isinstance(image, Image.Image):
        return in_eight_bits(image, name, levels)
    array = as_array(image)
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{name}: an image is an array, a tensor or a Pillow picture; got {type(image).__name__}."
        )
    if array.ndim == 3 and channels_first(array.shape, images_first=isinstance(image, torch.Tensor)):
        array = np.moveaxis(array, 0, -1)
    return as_picture(np.ascontiguousarray(array), name, levels)
