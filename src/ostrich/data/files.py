"""Pictures on disk: single files, a folder without labels, a folder of class folders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.errors import InputError
from ostrich.images import open_array, open_image

ARRAY = ".npy"


def image_files(paths: Sequence[str]) -> Dataset:
    """One or more image files; no labels."""
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"There is no image file {path!r}.")
    return _dataset("files", [Path(path) for path in paths])


def image_folder(folder: str) -> Dataset:
    """`images:PATH`: every image directly inside a folder; no labels."""
    found = images_in(the_folder(folder), arrays=True)
    if not found:
        raise InputError(f"The folder {folder!r} holds no image files ({_kinds()}).")
    return _dataset(f"images:{folder}", found)


def class_folders(folder: str, name: str | None = None) -> Dataset:
    """`folder:PATH`: one folder per class, images inside."""
    root = the_folder(folder)
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files: list[Path] = []
    labels: list[int] = []
    names: list[str] = []
    for path in classes:
        inside = images_in(path, arrays=True)
        if inside:
            files += inside
            labels += [len(names)] * len(inside)
            names.append(path.name)
    if not files:
        raise InputError(
            f"{folder!r} holds no class folders with images. "
            f"For a folder of images without labels write images:{folder}."
        )
    return _dataset(name or f"folder:{folder}", files, labels, tuple(names), root)


def _dataset(
    name: str,
    files: list[Path],
    labels: list[int] | None = None,
    class_names: tuple[str, ...] | None = None,
    root: Path | None = None,
) -> Dataset:
    def read(i: int) -> Image.Image | np.ndarray:
        return open_array(files[i]) if files[i].suffix.lower() == ARRAY else open_image(files[i])

    def content(i: int) -> bytes:
        return files[i].read_bytes()

    return Dataset(
        name=name,
        files=[str(path.relative_to(root)) if root else str(path) for path in files],
        read=read,
        content=content,
        labels=labels,
        class_names=class_names,
    )


def the_folder(folder: str) -> Path:
    """The folder of that name. Raises InputError where there is none."""
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"There is no folder {folder!r}.")
    return path


def images_in(folder: Path, arrays: bool = False) -> list[Path]:
    """The image files directly inside a folder, by name; with `arrays` .npy files too."""
    known = _suffixes() | {ARRAY} if arrays else _suffixes()
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and p.suffix.lower() in known and not p.name.startswith(".")
    )


@cache
def _suffixes() -> frozenset[str]:
    """The suffixes Pillow can decode."""
    extensions = Image.registered_extensions()
    return frozenset(suffix for suffix, kind in extensions.items() if kind in Image.OPEN)


def _kinds() -> str:
    return "JPEG, PNG, WebP, TIFF and what else Pillow reads, and arrays (H, W, C) as .npy"
