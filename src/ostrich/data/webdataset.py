"""`webdataset:FILE`: a tar file of samples, whose files share a key: key.jpg, and key.cls or key.json.

The places of the files are listed once; an image is read from the tar file when it is needed.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.elsewhere import Lying, Span, read_file
from ostrich.data.levels import Levels
from ostrich.data.pictures import ARRAY, open_image, picture_suffixes
from ostrich.data.tables import LABELS, numbered
from ostrich.data.walking import is_data
from ostrich.errors import InputError

LABEL_FILES = (".cls", ".json", ".txt")


def webdataset(path: str, split: str | None, levels: Levels) -> Dataset:
    """The samples of a tar file, with labels where each has one. Raises InputError."""
    if split is not None:
        raise InputError(f"webdataset:{path} is one file, which has no split {split!r}: name its file.")
    samples, unused = _listed(path)
    pictures = picture_suffixes() - {ARRAY}
    images: list[tuple[str, Span]] = []
    labels: list[str] = []
    for key, files in samples.items():
        found = sorted(ending for ending in files if ending in pictures)
        label = next((ending for ending in LABEL_FILES if ending in files), None)
        used = found[:1] + ([label] if label and found else [])
        unused.update(ending for ending in files if ending not in used)
        if not found:
            continue
        images.append((key + found[0], files[found[0]]))
        if label:
            labels.append(_label(path, key + label, read_file(path, files[label])))
    if not images:
        raise InputError(f"{path!r} holds no images: key.jpg, key.png and the like are expected.")
    if labels and len(labels) != len(images):
        raise InputError(
            f"{path!r} has labels (key.cls or key.json) for {len(labels)} of {len(images)} images: "
            "all or none."
        )
    numbers, names = numbered(labels) if labels else (None, None)

    def content(i: int) -> bytes:
        return read_file(path, images[i][1])

    def read(i: int) -> Image.Image:
        return open_image(images[i][0], levels, content(i))

    def lying(indices: Sequence[int]) -> Lying:
        chosen = [images[i] for i in indices]
        names, spans = tuple(name for name, _ in chosen), tuple(span for _, span in chosen)
        return Lying(os.getcwd(), (path,) * len(chosen), names, levels, spans)

    return Dataset(
        name=f"webdataset:{path}",
        files=[file for file, _ in images],
        read=read,
        content=content,
        labels=numbers,
        class_names=names,
        unused=unused,
        levels=levels,
        lying=lying,
    )


def _listed(path: str) -> tuple[dict[str, dict[str, Span]], Counter[str]]:
    """For each key the places of its files by suffix; and the files that belong to no sample."""
    samples: dict[str, dict[str, Span]] = {}
    unused: Counter[str] = Counter()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if not member.isfile() or not all(is_data(part) for part in name.parts if part != "."):
                    continue
                stem, dot, ending = name.name.partition(".")
                if not dot:
                    unused["without a suffix"] += 1
                    continue
                key = str(name.with_name(stem))
                places = samples.setdefault(key, {})
                places[f".{ending.lower()}"] = (member.offset_data, member.size)
    except FileNotFoundError:
        raise InputError(f"There is no file {path!r}.") from None
    except (tarfile.TarError, OSError, ValueError) as error:
        packed = " Unpack it first: gunzip." if Path(path).suffix in (".gz", ".tgz") else ""
        raise InputError(f"{path!r} cannot be read as a tar file ({error}).{packed}") from None
    return samples, unused


def _label(path: str, file: str, content: bytes) -> str:
    """A label as text: a number or name, or of a JSON object its `label` or `class`. Raises InputError."""
    try:
        text = content.decode("utf-8").strip()
        if not file.endswith(".json"):
            found: Any = text
        else:
            found = json.loads(text)
            if isinstance(found, dict):
                found = next((found[key] for key in LABELS if key in found), None)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, bool) or not isinstance(found, str | int) or not str(found):
        raise InputError(f"{path!r}: {file} holds no label, which is a number or a name.")
    return str(found)
