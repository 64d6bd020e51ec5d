"""The DATA spec of the command line, as a data set. `forms.py` says what a spec may look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ostrich.data import toys
from ostrich.data.cifar import cifar10
from ostrich.data.dataset import Dataset
from ostrich.data.digits import digits
from ostrich.data.faces import face_windows, faces
from ostrich.data.files import class_folders, folder_splits, image_files, image_folder
from ostrich.data.forms import FORMS, LISTED
from ostrich.data.levels import Levels
from ostrich.data.options import DataOptions, read_class_map
from ostrich.data.photographs import photographs
from ostrich.data.walking import SPLITS
from ostrich.errors import InputError, UnknownName

MESHES = "ostrich.data.meshes"  # not imported before it is asked for: it brings the renderer
GENERATED = "ostrich.generative.dataset"  # a room above, which is not imported before it is asked for
Opener = Callable[[str, str | None, Levels], Dataset]
# Forms that name a file or folder: the module, its function that opens it, and the one that tells its splits.
STORED: dict[str, tuple[str, str, str | None]] = {
    "csv": ("ostrich.data.tables", "csv_table", "csv_splits"),
    "jsonl": ("ostrich.data.tables", "json_lines", "json_lines_splits"),
    "npz": ("ostrich.data.arrays", "npz", "npz_splits"),
    "hf": ("ostrich.data.huggingface", "hugging_face", "hugging_face_splits"),
    "webdataset": ("ostrich.data.webdataset", "webdataset", None),
    "torchvision": ("ostrich.data.torchvision_sets", "torchvision_set", "torchvision_splits"),
}
IN_TWO = ("toybox", "digits", "cifar10", "faces", "face-windows")  # of our own, in train and test
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".npz": "npz", ".tar": "webdataset"}


def open_data(
    data: str | Sequence[str],
    *,
    skip_bad: bool = False,
    range: str | float | None = None,
    class_map: str | Path | None = None,
) -> Dataset:
    """The data set that one or more words name.

    With `skip_bad` unreadable images are left out; `range` is the value that is white in images of floats or
    of 10, 12, 16 bits, `class_map` a CSV file folder,class. Raises InputError.
    """
    white = range if range is None or isinstance(range, str) else f"{range:.17g}"
    map_file = None if class_map is None else Path(class_map)
    words = [data] if isinstance(data, str) else list(data)
    return opened(words, DataOptions(skip_bad=skip_bad, range=white, class_map=map_file))


def opened(words: list[str], options: DataOptions) -> Dataset:
    """The data set that words name, read as the options say; those at the end of the words too.

    Raises InputError.
    """
    words, options = options.with_words(words)
    levels = Levels(options.range)
    found = _opened(words, levels)
    if options.range is not None and found.levels is None:
        raise InputError(f"--range belongs to files and arrays of more than 8 bits; {found.name} has 8.")
    class_map = None if options.class_map is None else read_class_map(options.class_map)
    if class_map is not None and found.labels is None:
        raise InputError(f"--class-map says which class a folder or label is; {found.name} has no labels.")
    return replace(found, words=(*words, *options.words()), class_map=class_map, skip_bad=options.skip_bad)


def _opened(words: list[str], levels: Levels) -> Dataset:
    if not words:
        raise InputError(f"No data is given. It is {LISTED}.")
    if len(words) > 1:
        return image_files(words, levels)
    word, split = _split(words[0])
    kind, _, path = word.partition(":")
    if kind == "folder" and path:
        return class_folders(path, split, levels=levels)
    if kind in STORED and path:
        module, function, _ = STORED[kind]
        stored: Opener = getattr(import_module(module), function)
        return stored(path, split, levels)
    if split == "val":
        raise InputError(f"{words[0]!r}: {kind} has the splits train and test.")
    if kind == "images" and path:
        return image_folder(words[0].partition(":")[2], levels)
    if kind == "clips" and path:
        raise InputError(f"{word!r} is data for generators of clips; images are needed: {LISTED}.")
    if kind == "generator" and path:
        made: Dataset = import_module(GENERATED).generated(path)
        return made
    if words[0].startswith("mesh:") and words[0] != "mesh:":
        meshes: Dataset = import_module(MESHES).dataset(words[0].removeprefix("mesh:"))
        return meshes
    if ".py:" in words[0]:
        from ostrich.data.functions import of_function

        return of_function(words[0], levels)
    if kind == "cifar10":
        return cifar10(split or "test", path or None)
    if word == "toybox":
        return toys.dataset(split or "test")
    if word == "photographs":
        return photographs()
    if word == "digits":
        return digits(split or "test")
    if word == "faces" or words[0] == "faces:astronaut":
        return faces(split or words[0].partition(":")[2] or "test")
    if word == "face-windows":
        return face_windows(split or "test")
    return _by_path(words[0], levels)


def splits_of(word: str) -> list[str]:
    """The splits, of train, val and test, that a DATA spec has; none where it has none, or names one itself.

    Raises InputError where what it names cannot be read.
    """
    word, split = _split(word)
    kind, _, path = word.partition(":")
    if split is not None:
        return []
    if word in IN_TWO or kind == "cifar10":
        return ["train", "test"]
    if kind == "folder" and path:
        return folder_splits(path)
    if kind in STORED and path:
        module, _, function = STORED[kind]
        found: list[str] = getattr(import_module(module), function)(path) if function else []
        return found
    return []


def _by_path(word: str, levels: Levels) -> Dataset:
    """An image file; for everything else that is there, or is not, what to type. Raises InputError."""
    ending = Path(word).suffix.lower()
    if ending in SUFFIXES and Path(word).is_file():
        raise InputError(f"{word!r} is no image: write {SUFFIXES[ending]}:{word}.")
    if ending == ".py" and Path(word).is_file():
        raise InputError(
            f"{word!r} is Python: write {word}:FUNCTION, which returns a Dataset or (images, labels)."
        )
    if Path(word).is_file():
        return image_files([word], levels)
    if Path(word).is_dir():
        raise InputError(
            f"{word!r} is a folder: write folder:{word} if it holds class folders, "
            f"images:{word} if it holds images."
        )
    if ending or "/" in word:
        raise InputError(f"There is no image file {word!r}. Data is {LISTED}.")
    raise UnknownName("data", word, FORMS, f"Data is {LISTED}.")


def _split(word: str) -> tuple[str, str | None]:
    head, _, tail = word.rpartition(":")
    if not head or tail not in SPLITS or Path(word.partition(":")[2]).exists():
        return word, None
    return head, tail
