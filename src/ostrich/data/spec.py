"""The DATA spec of the command line, as a data set.

PATH [PATH ...]      image files
images:PATH          a folder of images without labels
folder:PATH          class folders
toybox               the embedded scenes                 [:train|:test]
digits               handwritten digits, 8x8, grey       [:train|:test]
cifar10[:PATH]       CIFAR-10, downloaded or in folders   [:train|:test]
clips:PATH           a folder of videos, or of folders of frames, for generators of clips
faces                100 faces and 100 others, grey       [:train|:test], or faces:astronaut
face-windows         24-pixel windows, faces or not       [:train|:test]
generator:NAME       samples of a generator, bundled or in the folder of its run
mesh:FILE            views of a textured mesh; mesh:toybox/NAME of an object of the toybox
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ostrich.data import toys
from ostrich.data.cifar import cifar10
from ostrich.data.dataset import Dataset
from ostrich.data.digits import digits
from ostrich.data.faces import face_windows, faces
from ostrich.data.files import class_folders, image_files, image_folder
from ostrich.errors import InputError, UnknownName

SPLITS = ("train", "test")
NAMED = {
    "toybox": "rendered scenes of ten objects, 64x64",
    "digits": "handwritten digits, 8x8, grey",
    "cifar10": "CIFAR-10, or cifar10:PATH",
    "clips:PATH": "videos, or folders of frames, for generators of clips",
    "faces": "100 faces and 100 others, grey, 140x140; faces:astronaut is one photograph",
    "face-windows": "faces and what is none in windows of 24x24, grey",
    "generator:NAME": "samples of a generator, bundled or in the folder of its run",
    "mesh:toybox/NAME": "views of an object of the toybox, or mesh:FILE of a textured mesh",
}
FORMS = (
    "image files, images:PATH, folder:PATH, toybox, digits, cifar10, cifar10:PATH, faces, face-windows, "
    "generator:NAME, mesh:FILE or mesh:toybox/NAME"
)
MESHES = "ostrich.data.meshes"  # not imported before it is asked for: it brings the renderer
GENERATED = "ostrich.generative.dataset"  # a room above, which is not imported before it is asked for


def known_data() -> list[dict[str, str]]:
    """The rows of `ostrich list data`: data that has a name."""
    return [{"name": name, "what": what} for name, what in NAMED.items()]


def open_data(data: str | Sequence[str]) -> Dataset:
    """The data set that one or more words name. Raises InputError."""
    words = [data] if isinstance(data, str) else list(data)
    return replace(_opened(words), words=tuple(words))


def _opened(words: list[str]) -> Dataset:
    if not words:
        raise InputError(f"No data is given. It is {FORMS}.")
    if len(words) > 1:
        return image_files(words)
    word, split = _split(words[0])
    kind, _, path = word.partition(":")
    if kind == "folder" and path:
        return class_folders(path)
    if kind == "images" and path:
        return image_folder(path)
    if kind == "clips" and path:
        raise InputError(f"{word!r} is data for generators of clips; images are needed: {FORMS}.")
    if kind == "generator" and path:
        made: Dataset = import_module(GENERATED).generated(path)
        return made
    if words[0].startswith("mesh:") and words[0] != "mesh:":
        meshes: Dataset = import_module(MESHES).dataset(words[0].removeprefix("mesh:"))
        return meshes
    if kind == "cifar10":
        return cifar10(split or "test", path or None)
    if word == "toybox":
        return toys.dataset(split or "test")
    if word == "digits":
        return digits(split or "test")
    if word == "faces" or words[0] == "faces:astronaut":
        return faces(split or words[0].partition(":")[2] or "test")
    if word == "face-windows":
        return face_windows(split or "test")
    if Path(words[0]).is_file():
        return image_files(words)
    if Path(words[0]).is_dir():
        raise InputError(
            f"{words[0]!r} is a folder: write folder:{words[0]} if it holds class folders, "
            f"images:{words[0]} if it holds images."
        )
    if Path(words[0]).suffix or "/" in words[0]:
        raise InputError(f"There is no image file {words[0]!r}. Data is {FORMS}.")
    raise UnknownName("data", words[0], NAMED, f"Data is {FORMS}.")


def _split(word: str) -> tuple[str, str | None]:
    head, _, tail = word.rpartition(":")
    return (head, tail) if head and tail in SPLITS else (word, None)
