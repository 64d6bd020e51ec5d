"""`webdataset:FILE`: a tar file of samples, whose files share a key: key.jpg, and key.cls or key.json.

Several are one data set: all of a folder, or those that braces name, `shards/part-{000..099}.tar`. Each may
be an address. The places of the files are listed once; an image is read from its tar file when it is needed.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.elsewhere import Lying, Span, in_order, read_file
from ostrich.data.levels import Levels
from ostrich.data.pictures import ARRAY, open_image, picture_suffixes
from ostrich.data.stores import files_below_address, opened_address
from ostrich.data.tables import LABELS, numbered
from ostrich.data.walking import files_in, is_address, is_data
from ostrich.errors import InputError

BRACES = re.compile(r"\{([^{}]*)\}")
LABEL_FILES = (".cls", ".json", ".txt")


def webdataset(path: str, split: str | None, levels: Levels) -> Dataset:
    """The samples of tar files, with labels where each has one. Raises InputError."""
    if split is not None:
        raise InputError(f"webdataset:{path} has no split {split!r}: name the files of one.")
    shards = _shards(path)
    pictures = picture_suffixes() - {ARRAY}
    unused: Counter[str] = Counter()
    images: list[tuple[str, str, Span]] = []  # name, tar file, place in it
    said: list[tuple[str, str, Span]] = []  # the same of the files with labels
    for shard in shards:
        samples, others = _listed(shard)
        unused += others
        within = f"{PurePosixPath(shard).name}/" if len(shards) > 1 else ""
        for key, files in samples.items():
            found = sorted(ending for ending in files if ending in pictures)
            label = next((ending for ending in LABEL_FILES if ending in files), None)
            used = found[:1] + ([label] if label and found else [])
            unused.update(ending for ending in files if ending not in used)
            if not found:
                continue
            images.append((within + key + found[0], shard, files[found[0]]))
            if label:
                said.append((key + label, shard, files[label]))
    if not images:
        raise InputError(f"{path!r} holds no images: key.jpg, key.png and the like are expected.")
    if said and len(said) != len(images):
        raise InputError(
            f"{path!r} has labels (key.cls or key.json) for {len(said)} of {len(images)} images: all or none."
        )
    numbers_of, far = range(len(said)), is_address(shards[0])
    with in_order(lambda i: read_file(*said[i][1:]), numbers_of, far=far) as label_of:
        labels = [_label(shard, file, label_of(i)) for i, (file, shard, _) in enumerate(said)]
    numbers, names = numbered(labels) if labels else (None, None)

    def content(i: int) -> bytes:
        return read_file(*images[i][1:])

    def read(i: int) -> Image.Image:
        return open_image(images[i][0], levels, content(i))

    def lying(indices: Sequence[int]) -> Lying:
        chosen = [images[i] for i in indices]
        names, files, spans = ((), (), ()) if not chosen else zip(*chosen)
        return Lying(os.getcwd(), files, names, levels, spans)

    return Dataset(
        name=f"webdataset:{path}",
        files=[name for name, _, _ in images],
        read=read,
        content=content,
        labels=numbers,
        class_names=names,
        unused=unused,
        levels=levels,
        lying=lying,
    )


def _shards(path: str) -> list[str]:
    """The tar files that a path names. Raises InputError."""
    if BRACES.search(path):
        return list(_without_braces(path))
    if is_address(path) and not path.endswith(".tar"):
        below = [file for file in files_below_address(path) if file.endswith(".tar")]
        found = [f"{path.rstrip('/')}/{file}" for file in below]
    elif Path(path).is_dir():
        found = [os.path.join(path, file) for file in files_in(path) if file.endswith(".tar")]
    else:
        return [path]
    if not found:
        raise InputError(f"The folder {path!r} holds no tar files.")
    return found


def _without_braces(path: str) -> Iterator[str]:
    """What {000..012} and {a,b} stand for, one after the other. Raises InputError."""
    part = BRACES.search(path)
    if part is None:
        yield path
        return
    first, dots, last = part[1].partition("..")
    if not dots:
        words = part[1].split(",")
    elif first.isdigit() and last.isdigit() and int(first) <= int(last):
        words = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    else:
        raise InputError(f"{part[0]} in {path!r} is no range of numbers, such as {{000..012}}.")
    for word in words:
        yield from _without_braces(path[: part.start()] + word + path[part.end() :])


def _listed(path: str) -> tuple[dict[str, dict[str, Span]], Counter[str]]:
    """For each key the places of its files by suffix; and the files that belong to no sample."""
    samples: dict[str, dict[str, Span]] = {}
    unused: Counter[str] = Counter()
    try:
        with _open(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
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


def _open(path: str) -> AbstractContextManager[IO[bytes]]:
    return opened_address(path) if is_address(path) else open(path, "rb")


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
