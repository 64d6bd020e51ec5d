"""What a folder holds, listed without opening anything: images by name, and what is not used by suffix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ostrich.data.pictures import HEIF, picture_suffixes, reads_heif
from ostrich.errors import InputError

NO_DATA = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "__pycache__"))
SPLITS = {  # of data, and what folders and rows of them are called
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
BELOW = "in folders below"


def is_address(path: str) -> bool:
    """Whether a path is an address, which `stores.py` reads: `s3://...`, `https://...`, `memory://...`."""
    return "://" in path


def the_folder(folder: str) -> Path:
    """The folder of that name. Raises InputError where there is none."""
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"There is no folder {folder!r}.")
    return path


def is_data(name: str) -> bool:
    """Whether a file or folder is somebody's data, and not what a computer leaves beside it."""
    return not name.startswith(".") and name.lower() not in NO_DATA


def suffix(name: str) -> str:
    """The suffix of a file, as it is counted."""
    return os.path.splitext(name)[1].lower() or "without a suffix"


def is_picture(name: str) -> bool:
    """Whether a file of that name can be decoded."""
    return suffix(name) in picture_suffixes()


def images_in(folder: str | Path) -> tuple[list[str], Counter[str]]:
    """The images directly inside a folder by name, and the other files, those below included, by suffix."""
    here = files_in(folder)
    unused = Counter(suffix(name) for name in here if not is_picture(name))
    for name in folders_in(folder):
        unused.update(f"{suffix(file)} {BELOW}" for file in files_below(os.path.join(folder, name)))
    return [name for name in here if is_picture(name)], unused


def images_below(folder: str | Path) -> tuple[list[str], Counter[str]]:
    """The images at any depth by their relative path, and the other files by suffix."""
    found, unused = [], Counter[str]()
    for name in files_below(folder):
        if is_picture(name):
            found.append(name)
        else:
            unused[suffix(name)] += 1
    return sorted(found), unused


def files_in(folder: str | Path) -> list[str]:
    """The files directly inside, by name."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_data(entry.name) and _is_file(entry))


def files_below(folder: str | Path) -> Iterator[str]:
    """The files at any depth, by their relative path; a folder that is linked into itself is read once."""
    seen: set[str] = set()

    def below(path: str, prefix: str) -> Iterator[str]:
        real = os.path.realpath(path)
        if real in seen:
            return
        seen.add(real)
        with os.scandir(path) as entries:
            for entry in entries:
                if not is_data(entry.name):
                    continue
                if entry.is_dir():
                    yield from below(entry.path, f"{prefix}{entry.name}{os.sep}")
                elif _is_file(entry):
                    yield prefix + entry.name

    return below(str(folder), "")


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to nothing, which is named when it is read."""
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


def folders_in(folder: str | Path) -> list[str]:
    """The folders directly inside, by name."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and is_data(entry.name))


def splits_of(folder: Path) -> dict[str, Path]:
    """The splits train, val, test that a folder has as folders with class folders in them."""
    found = splits_among(folders_in(folder), lambda name: bool(folders_in(folder / name)))
    return {split: folder / name for split, name in found.items()}


def splits_among(names: Sequence[str], has_classes: Callable[[str], bool]) -> dict[str, str]:
    """Which of these folders is which split: the first that is called so and has class folders."""
    called = {split: [name for name in names if split_called(name) == split] for split in SPLITS}
    with_classes = {split: next(filter(has_classes, some), None) for split, some in called.items()}
    return {split: name for split, name in with_classes.items() if name is not None}


def in_order(splits: Collection[str | None]) -> list[str]:
    """Those that are splits, in the order of SPLITS."""
    return [split for split in SPLITS if split in splits]


def preferred(splits: Collection[str | None]) -> str | None:
    """The split that is taken where none is asked for, the last of them; None where there is none."""
    return next(reversed(in_order(splits)), None)


def split_called(word: str) -> str | None:
    """The split that is called so."""
    return next((split for split, words in SPLITS.items() if word.lower() in words), None)


def only_splits(folder: Path) -> dict[str, Path]:
    """The splits of a folder whose folders are no classes, as `only_splits_among` has it."""
    found = only_splits_among(folders_in(folder), lambda name: bool(folders_in(folder / name)))
    return {split: folder / name for split, name in found.items()}


def only_splits_among(names: Sequence[str], has_classes: Callable[[str], bool]) -> dict[str, str]:
    """As `splits_among`, where these folders are splits and no classes: two or more of them are, whatever
    lies beside them, or all are called so.
    """
    found = splits_among(names, has_classes)
    return found if len(found) > 1 or all(map(split_called, names)) else {}


def counted(unused: Mapping[str, int]) -> str:
    """Files by suffix, the most first: "2 .heic, 1 .npy"."""
    kinds = sorted(unused.items(), key=lambda kind: (-kind[1], kind[0]))
    return ", ".join(f"{number} {kind}" for kind, number in kinds)


def unused_sentence(unused: Mapping[str, int]) -> str | None:
    """What was not used, by suffix: "3 files were not used: 2 .heic, 1 .npy"."""
    count = sum(unused.values())
    if not count:
        return None
    heif = set(unused) & HEIF and not reads_heif()
    way_out = " (HEIC needs pip install 'ostrich-vision[heif]')" if heif else ""
    return f"{count} file{'s were' if count > 1 else ' was'} not used: {counted(unused)}{way_out}"
