"""The DATA spec of the command line, as a data set.

PATH [PATH ...]      image files
images:PATH          a folder of images without labels
folder:PATH          class folders, images inside at any depth    [:train|:val|:test]
csv:FILE, jsonl:FILE a table of paths and labels
npz:FILE             arrays of images and labels                   [:train|:val|:test]
PATH.py:FUNCTION     a torch Dataset, or arrays and labels, of your own
hf:DIR               a folder as Hugging Face's `datasets` writes it  [:train|:val|:test]
webdataset:FILE      a tar file of key.jpg and key.cls or key.json
torchvision:NAME:PATH  a data set of torchvision's on disk          [:train|:test]
toybox               the embedded scenes                 [:train|:test]
photographs          eight that scikit-image and scikit-learn carry, without labels
digits               handwritten digits, 8x8, grey       [:train|:test]
cifar10[:PATH]       CIFAR-10, downloaded or in folders   [:train|:test]
clips:PATH           a folder of videos, or of folders of frames, for generators of clips
faces                100 faces and 100 others, grey       [:train|:test], or faces:astronaut
face-windows         24-pixel windows, faces or not       [:train|:test]
generator:NAME       samples of a generator, bundled or in the folder of its run
mesh:FILE            views of a textured mesh; mesh:toybox/NAME of an object of the toybox
"""

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
from ostrich.data.files import class_folders, image_files, image_folder
from ostrich.data.levels import Levels
from ostrich.data.options import DataOptions, read_class_map
from ostrich.data.photographs import photographs
from ostrich.data.walking import SPLITS
from ostrich.errors import InputError, UnknownName

NAMED = {
    "toybox": "rendered scenes of ten objects, 64x64",
    "photographs": "eight that scikit-image and scikit-learn carry, without labels",
    "digits": "handwritten digits, 8x8, grey",
    "cifar10": "CIFAR-10, or cifar10:PATH",
    "folder:PATH": "class folders, images inside at any depth; folder:PATH:val where it has splits",
    "images:PATH": "a folder of images without labels: the label is the prediction",
    "csv:FILE": "a table with the columns path (or file_name) and label (or class); jsonl:FILE likewise",
    "npz:FILE": "arrays images and labels, x_test and y_test, or as MedMNIST names them",
    "PATH.py:FUNCTION": "a torch Dataset, or arrays and labels, that your function returns",
    "hf:DIR": "a folder of Hugging Face's datasets: metadata beside images, parquet or arrow files",
    "webdataset:FILE": "a tar file of key.jpg and key.cls or key.json",
    "torchvision:NAME:PATH": "MNIST, FashionMNIST, CIFAR10, CIFAR100, SVHN or STL10 as torchvision stores it",
    "clips:PATH": "videos, or folders of frames, for generators of clips",
    "faces": "100 faces and 100 others, grey, 140x140; faces:astronaut is one photograph",
    "face-windows": "faces and what is none in windows of 24x24, grey",
    "generator:NAME": "samples of a generator, bundled or in the folder of its run",
    "mesh:toybox/NAME": "views of an object of the toybox, or mesh:FILE of a textured mesh",
}
FORMS = (
    "image files, images:PATH, folder:PATH, csv:FILE, jsonl:FILE, npz:FILE, PATH.py:FUNCTION, hf:DIR, "
    "webdataset:FILE, torchvision:NAME:PATH, toybox, photographs, digits, cifar10, cifar10:PATH, faces, "
    "face-windows, generator:NAME, mesh:FILE or mesh:toybox/NAME"
)
MESHES = "ostrich.data.meshes"  # not imported before it is asked for: it brings the renderer
GENERATED = "ostrich.generative.dataset"  # a room above, which is not imported before it is asked for
Opener = Callable[[str, str | None, Levels], Dataset]
STORED: dict[
    str, tuple[str, str]
] = {  # forms that name a file or folder: the module and function that read it
    "csv": ("ostrich.data.tables", "csv_table"),
    "jsonl": ("ostrich.data.tables", "json_lines"),
    "npz": ("ostrich.data.arrays", "npz"),
    "hf": ("ostrich.data.huggingface", "hugging_face"),
    "webdataset": ("ostrich.data.webdataset", "webdataset"),
    "torchvision": ("ostrich.data.torchvision_sets", "torchvision_set"),
}
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".npz": "npz", ".tar": "webdataset"}


def known_data() -> list[dict[str, str]]:
    """The rows of `ostrich list data`: data that has a name."""
    return [{"name": name, "what": what} for name, what in NAMED.items()]


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
        raise InputError(f"No data is given. It is {FORMS}.")
    if len(words) > 1:
        return image_files(words, levels)
    word, split = _split(words[0])
    kind, _, path = word.partition(":")
    if kind == "folder" and path:
        return class_folders(path, split, levels=levels)
    if kind in STORED and path:
        module, function = STORED[kind]
        stored: Opener = getattr(import_module(module), function)
        return stored(path, split, levels)
    if split == "val":
        raise InputError(f"{words[0]!r}: {kind} has the splits train and test.")
    if kind == "images" and path:
        return image_folder(words[0].partition(":")[2], levels)
    if kind == "clips" and path:
        raise InputError(f"{word!r} is data for generators of clips; images are needed: {FORMS}.")
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
        raise InputError(f"There is no image file {word!r}. Data is {FORMS}.")
    raise UnknownName("data", word, NAMED, f"Data is {FORMS}.")


def _split(word: str) -> tuple[str, str | None]:
    head, _, tail = word.rpartition(":")
    if not head or tail not in SPLITS or Path(word.partition(":")[2]).exists():
        return word, None
    return head, tail
