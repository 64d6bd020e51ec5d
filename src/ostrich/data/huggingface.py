"""`hf:DIR`: a folder as Hugging Face's `datasets` knows it.

    metadata.csv, metadata.jsonl     beside the images, or in a folder of a split: file_name, label
    *.parquet                        images inside the table (extra `hf`, pyarrow), as on the hub
    *.arrow                          the same, as `save_to_disk` writes it; a cache beside it is not read
    class folders                    as folder:DIR

The names of classes are those that the table's own description has. Where there are splits and none is asked
for, it is the test split, else the validation's. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.files import class_folders
from ostrich.data.levels import Levels
from ostrich.data.matching import listed
from ostrich.data.pictures import open_image
from ostrich.data.tables import LABELS, numbered, of_rows, read_csv, read_json_lines
from ostrich.data.walking import files_below, in_order, preferred, split_called, splits_of, suffix
from ostrich.errors import InputError, MissingExtra, UnreadableImage

METADATA = {"metadata.csv": read_csv, "metadata.jsonl": read_json_lines}
TABLES = (".parquet", ".arrow")
CACHE = re.compile(r"cache-[0-9a-f]+(_\d+_of_\d+)?\.arrow")
IMAGES = ("image", "img", "pixel_values")


def hugging_face(path: str, split: str | None, levels: Levels) -> Dataset:
    """The data set in a folder. Raises InputError, MissingExtra."""
    root = _root(path)
    tables, metadata, unused = _listed(root)
    if not tables and not metadata:
        if split is None:
            split = preferred(splits_of(root))
        return class_folders(path, split, levels=levels)
    chosen, found = _of_split(path, metadata or tables, split)
    name = f"hf:{path}{f':{found}' if found else ''}"
    if metadata:
        rows = []
        for file in chosen:
            folder = os.path.dirname(file)
            for row in METADATA[Path(file).name](root / file):
                rows.append(dict(row) | {"file_name": os.path.join(folder, str(row.get("file_name")))})
        return of_rows(name, rows, root, levels)
    return replace(_of_tables(name, root, [root / file for file in chosen], levels), unused=unused)


def hugging_face_splits(path: str) -> list[str]:
    """The splits that a folder has. Raises InputError."""
    root = _root(path)
    tables, metadata, _ = _listed(root)
    return in_order(set(map(_split_of, metadata or tables)) or splits_of(root))


def _root(path: str) -> Path:
    """The folder. Raises InputError where there is none."""
    root = Path(path)
    if not root.is_dir():
        raise InputError(
            f"There is no folder {path!r}, and nothing is downloaded. For a data set of the hub: "
            f"`huggingface-cli download {path} --repo-type dataset --local-dir DIR`, then hf:DIR."
        )
    return root


def _listed(root: Path) -> tuple[list[str], list[str], Counter[str]]:
    """The tables, the metadata files, and by suffix the tables that are copies. Raises InputError."""
    files = sorted(files_below(root))
    metadata = [file for file in files if Path(file).name in METADATA]
    tables = [file for file in files if Path(file).suffix.lower() in TABLES]
    copies = _copies(root, tables)
    unused = Counter(f"{suffix(file)} of a cache" for file in copies)
    return [file for file in tables if file not in copies], metadata, unused


def _copies(root: Path, tables: Sequence[str]) -> set[str]:
    """The arrow files that are copies of others, as `map` and `filter` keep them in a cache.

    Beside a state.json of `save_to_disk` they are all that it does not name, elsewhere those that are called
    so. Raises InputError where one that it names is not there.
    """
    by_folder: dict[str, set[str]] = defaultdict(set)
    for folder, name in map(os.path.split, tables):
        by_folder[folder] |= {name} if name.endswith(".arrow") else set()
    found: set[str] = set()
    for folder, names in by_folder.items():
        named = _named_by(root / folder / "state.json")
        if named is None:
            named = {name for name in names if not CACHE.fullmatch(name)} or names
        if lost := sorted(named - names):
            raise InputError(f"{str(root / folder / 'state.json')!r} names {listed(lost)}, not there.")
        found |= {os.path.join(folder, name) for name in names - named}
    return found


def _named_by(state: Path) -> set[str] | None:
    """The files that a state.json of `save_to_disk` names; None where there is none."""
    try:
        return {row["filename"] for row in json.loads(state.read_text(encoding="utf-8"))["_data_files"]}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None


def _of_split(path: str, files: Sequence[str], split: str | None) -> tuple[list[str], str | None]:
    """The files of a split, and which it is; None where the files belong to none. Raises InputError."""
    by_split: dict[str | None, list[str]] = {}
    for file in files:
        by_split.setdefault(_split_of(file), []).append(file)
    wanted = split or preferred(by_split)
    if wanted not in by_split:
        there = ", ".join(reversed(in_order(by_split))) or "none"
        raise InputError(f"hf:{path} has no split {wanted!r}. There is {there}.")
    return by_split[wanted], wanted


def _split_of(file: str) -> str | None:
    """The split that a file's name or a folder of its path names: data/test-00000-of-00001.parquet."""
    for part in reversed(Path(file).with_suffix("").parts):
        word = part.lower().split("-")[0].split(".")[0]
        if (split := split_called(word)) is not None:
            return split
    return None


def _of_tables(name: str, root: Path, files: Sequence[Path], levels: Levels) -> Dataset:
    """Parquet or arrow files of one split. Raises InputError, MissingExtra."""
    parts = [part for file in files for part in _parts(file)]
    if not parts or not sum(len(part) for part in parts):
        raise InputError(f"{name} has no rows.")
    starts = np.cumsum([0, *(len(part) for part in parts)])
    _check_parts(name, root, parts)
    labels, names = _labels(name, parts)

    def cell(i: int) -> tuple[str, bytes]:
        place = int(np.searchsorted(starts, i, side="right")) - 1
        value = parts[place].image(int(i - starts[place]))
        content, file = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if content is None and file:
            content = (root / file).read_bytes() if (root / file).is_file() else None
        if not isinstance(content, bytes):
            raise UnreadableImage(f"Row {i} of {name} holds no image.")
        return f"row {i} of {name}", content

    def read(i: int) -> Image.Image:
        row, content = cell(i)
        return open_image(row, levels, content)

    return Dataset(
        name=name,
        files=[f"{i:06d}" for i in range(starts[-1])],
        read=read,
        content=lambda i: cell(i)[1],
        labels=labels,
        class_names=names,
        levels=levels,
    )


class Part:
    """Rows of a table that are read together: a row group of a parquet file, or an arrow file."""

    def __init__(self, file: Path, group: int, rows: int, schema: Any) -> None:
        self.file, self.group, self.rows = file, group, rows
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {})
        self.features: dict[str, Any] = features.get("features", {})
        self.image_column = _image_column(file, schema, self.features)
        self.label_column = _label_column(schema.names, self.features)

    def __len__(self) -> int:
        return self.rows

    def image(self, row: int) -> Any:
        """What stands in the column of images."""
        return _last_column(self.file, self.group, self.image_column)[row].as_py()

    def labels(self) -> list[Any]:
        """The column of labels."""
        assert self.label_column is not None
        return list(_read_column(self.file, self.group, self.label_column).to_pylist())

    @property
    def meaning(self) -> tuple[str, str | None, list[str] | None]:
        """What parts of one data set have in common: the columns of images and labels, and the classes."""
        return self.image_column, self.label_column, self.class_names

    @property
    def class_names(self) -> list[str] | None:
        """The names of classes in the table's description."""
        names = self.features.get(self.label_column or "", {}).get("names")
        return names if isinstance(names, list) else None


def _parts(file: Path) -> list[Part]:
    """The parts of a file. Raises InputError, MissingExtra."""
    try:
        import pyarrow as arrow
        import pyarrow.ipc as stream
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtra(f"{file.name} needs pyarrow: pip install 'ostrich-vision[hf]'.") from None
    try:
        if file.suffix.lower() == ".arrow":
            with arrow.memory_map(str(file)) as mapped, stream.open_stream(mapped) as reader:
                table = reader.read_all()
                return [Part(file, 0, table.num_rows, table.schema)]
        with parquet.ParquetFile(file) as stored:
            groups = range(stored.num_row_groups)
            return [Part(file, g, stored.metadata.row_group(g).num_rows, stored.schema_arrow) for g in groups]
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"{str(file)!r} cannot be read as a table ({error}).") from None


def _check_parts(name: str, root: Path, parts: Sequence[Part]) -> None:
    """Refuse, by an InputError, parts of several data sets, as the configurations of one on the hub."""
    if all(part.meaning == parts[0].meaning for part in parts):
        return
    files = sorted({part.file.relative_to(root) for part in parts})
    folders = sorted({_without_split(file.parent) for file in files} - {Path()})
    what = f"The tables of {name} differ in their columns of images and labels or in their classes"
    if folders:
        raise InputError(
            f"{what}: name one of its folders, {listed([f'hf:{root / one}' for one in folders])}."
        )
    raise InputError(f"{what}: {listed(list(map(str, files)))} need a folder each, as hf:DIR/CONFIG.")


def _without_split(folder: Path) -> Path:
    """A folder, or the one above where its own name is that of a split: CONFIG/test."""
    return folder.parent if folder.name and _split_of(folder.name) else folder


def _read_column(file: Path, group: int, name: str) -> Any:
    """A column of a part."""
    import pyarrow as arrow
    import pyarrow.ipc as stream
    import pyarrow.parquet as parquet

    if file.suffix.lower() == ".arrow":
        return stream.open_stream(arrow.memory_map(str(file))).read_all().column(name)
    with parquet.ParquetFile(file) as stored:
        return stored.read_row_group(group, columns=[name]).column(name)


_last_column = lru_cache(2)(_read_column)  # rows are asked for in their order


def _image_column(file: Path, schema: Any, features: dict[str, Any]) -> str:
    """The column of images. Raises InputError where there is none."""
    described = [
        name for name, one in features.items() if isinstance(one, dict) and one.get("_type") == "Image"
    ]
    known = [name for name in IMAGES if name in schema.names]
    for name in [*described, *known]:
        return name
    raise InputError(f"{str(file)!r} has the columns {', '.join(schema.names)}, and none of images.")


def _label_column(columns: Sequence[str], features: dict[str, Any]) -> str | None:
    """The column of labels, where there is one."""
    known = [name for name in (*LABELS, "fine_label") if name in columns]
    described = [
        name for name, one in features.items() if isinstance(one, dict) and one.get("_type") == "ClassLabel"
    ]
    return next(iter([*known, *described]), None)


def _labels(name: str, parts: Sequence[Part]) -> tuple[list[int] | None, tuple[str, ...] | None]:
    """Labels and the names of their classes; None where there are none, or all are hidden (-1)."""
    if parts[0].label_column is None:
        return None, None
    values = [value for part in parts for value in part.labels()]
    if all(value in (None, -1) for value in values):
        return None, None
    if any(isinstance(value, bool) or not isinstance(value, int | str) for value in values):
        raise InputError(f"{name}: a label in {parts[0].label_column} is no number or name.")
    names = parts[0].class_names
    if names is not None and all(isinstance(value, int) and 0 <= value < len(names) for value in values):
        return [int(value) for value in values], tuple(names)
    return numbered(str(value) for value in values)
