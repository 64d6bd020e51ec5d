"""Pictures on disk: single files, a folder without labels, a folder of class folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.elsewhere import Lying, read_file
from ostrich.data.levels import Levels
from ostrich.data.pictures import KINDS, open_file
from ostrich.data.walking import (
    files_in,
    folders_in,
    images_below,
    images_in,
    is_address,
    is_picture,
    only_splits,
    splits_of,
    suffix,
    the_folder,
    unused_sentence,
)
from ostrich.errors import InputError, UnreadableImage


def image_files(paths: Sequence[str], levels: Levels | None = None) -> Dataset:
    """One or more image files; no labels."""
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"There is no image file {path!r}.")
    return of_files("files", list(paths), levels=levels)


def image_folder(folder: str, levels: Levels | None = None) -> Dataset:
    """`images:PATH`: every image directly inside a folder, or at an address; no labels."""
    if is_address(folder):
        from ostrich.data.stores import images_at  # not needed for files

        far, unused = images_at(folder)
        if not far:
            raise InputError(f"{folder!r} holds no image files ({KINDS}).")
        return of_files(f"images:{folder}", far, root=folder, unused=unused, levels=levels)
    root = the_folder(folder)
    found, unused = images_in(root)
    if not found:
        below = f" For its class folders write folder:{folder}." if folders_in(root) else ""
        raise InputError(f"The folder {folder!r} holds no image files ({KINDS}).{below}")
    files = [os.path.join(root, name) for name in found]
    return of_files(f"images:{folder}", files, unused=unused, levels=levels)


def class_folders(
    folder: str, split: str | None = None, *, name: str | None = None, levels: Levels | None = None
) -> Dataset:
    """`folder:PATH`: one folder per class, images inside at any depth; or that of a split inside.

    PATH may be an address.
    """
    if is_address(folder):
        from ostrich.data.stores import class_files  # not needed for files

        root, found, unused = class_files(folder, split)
    else:
        root, found, unused = _class_files(split_folder(folder, split))
    files = [file for inside in found.values() for file in inside]
    labels = [number for number, inside in enumerate(found.values()) for _ in inside]
    if not files:
        others_said = f" ({unused_sentence(unused)})" if unused else ""
        raise InputError(
            f"{folder!r} holds no class folders with images{others_said}. "
            f"For a folder of images without labels write images:{folder}."
        )
    return of_files(
        name or f"folder:{folder}{f':{split}' if split else ''}",
        files,
        labels,
        tuple(found),
        root=root,
        unused=unused,
        levels=levels,
    )


def folder_splits(folder: str) -> list[str]:
    """The splits of a folder, or of an address, whose folders are no classes. Raises InputError."""
    if is_address(folder):
        from ostrich.data.stores import class_splits  # not needed for files

        return class_splits(folder)
    return list(only_splits(the_folder(folder)))


def _class_files(root: Path) -> tuple[str, dict[str, list[str]], Counter[str]]:
    """A folder, the images of its class folders by their names, and the other files by suffix."""
    beside = "beside the class folders"
    unused = Counter(f"{suffix(one)} {beside}" if is_picture(one) else suffix(one) for one in files_in(root))
    images: dict[str, list[str]] = {}
    for one in folders_in(root):
        inside, others = images_below(root / one)
        unused += others
        if inside:
            images[one] = [f"{one}{os.sep}{file}" for file in inside]
    return str(root), images, unused


def split_folder(folder: str, split: str | None) -> Path:
    """The folder of class folders. Raises InputError where a split is to be chosen, or is not there."""
    root = the_folder(folder)
    if split is None:
        if found := only_splits(root):
            commands = " or ".join(f"folder:{folder}:{one}" for one in found)
            raise InputError(f"{folder!r} holds splits, not classes: write {commands}.")
        return root
    found = splits_of(root)
    if split not in found:
        there = (
            ", ".join(f"folder:{folder}:{one}" for one in found) or f"none; folder:{folder} takes it whole"
        )
        raise InputError(f"{folder!r} has no split {split!r} of class folders. There is {there}.")
    return found[split]


def of_files(
    name: str,
    files: list[str],
    labels: list[int] | None = None,
    class_names: tuple[str, ...] | None = None,
    *,
    root: str | Path | None = None,
    unused: Mapping[str, int] | None = None,
    levels: Levels | None = None,
) -> Dataset:
    """Pictures of files, by their paths or their paths below `root`, which may be an address; each is opened
    when it is read.
    """
    levels, base = levels or Levels(), "" if root is None else str(root)

    def path(i: int) -> str:
        return os.path.join(base, files[i])

    def read(i: int) -> Image.Image | np.ndarray:
        return open_file(path(i), levels, content(i) if is_address(base) else None)

    def content(i: int) -> bytes:
        try:
            return read_file(path(i))
        except FileNotFoundError:
            raise UnreadableImage(f"There is no image file {path(i)!r}.") from None
        except OSError as error:
            said = error.strerror or error
            raise UnreadableImage(f"The image file {path(i)!r} cannot be read ({said}).") from None

    def lying(indices: Sequence[int]) -> Lying:
        paths = tuple(path(i) for i in indices)
        return Lying(os.getcwd(), paths, paths, levels)

    return Dataset(
        name=name,
        files=files,
        read=read,
        content=content,
        labels=labels,
        class_names=class_names,
        unused=unused or {},
        levels=levels,
        lying=lying,
    )
