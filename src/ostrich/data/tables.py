"""`csv:FILE` and `jsonl:FILE`: a table of image files and their labels.

The file stands in the column path, file_name, filename, file or image, relative to the table, also with the
other system's separators; the label, a name or a number, in label, class, category or target. Without such
a column the images have no labels, which is said. FILE:train, FILE:val and FILE:test are the rows whose
column split says so; where several are told apart, FILE alone is the test images, else those of val.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ostrich.data.dataset import Dataset
from ostrich.data.files import of_files
from ostrich.data.levels import Levels
from ostrich.data.walking import in_order, preferred, split_called
from ostrich.errors import InputError

PATHS = ("path", "file_name", "filename", "file", "image")
LABELS = ("label", "class", "labels", "class_name", "category", "target")
WHOLE = re.compile(r"(\d+)(\.0*)?")  # and as a column of integers that once had gaps is written: 10.0


def csv_table(path: str, split: str | None, levels: Levels) -> Dataset:
    """`csv:FILE`; commas, semicolons or tabs part the columns. Raises InputError."""
    return _table(f"csv:{path}", read_csv(path), Path(path).parent, levels, split)


def json_lines(path: str, split: str | None, levels: Levels) -> Dataset:
    """`jsonl:FILE`, an object a line. Raises InputError."""
    return _table(f"jsonl:{path}", read_json_lines(path), Path(path).parent, levels, split)


def _table(
    name: str, rows: Sequence[Mapping[str, Any]], root: Path, levels: Levels, split: str | None
) -> Dataset:
    if split is None and len(there := _splits(rows)) > 1:
        split = preferred(there)
        return replace(of_rows(name, rows, root, levels, split), name=f"{name}:{split}")
    return of_rows(name, rows, root, levels, split)


def read_csv(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a CSV file by the names of its columns. Raises InputError."""
    text = _text(path)
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{str(path)!r} is no CSV table ({error}).") from None


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line. Raises InputError."""
    rows = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(
                f"{str(path)!r}, line {number}: an object is expected, such as "
                '{"file_name": "a.png", "label": 0}.'
            )
        rows.append(row)
    return rows


def csv_splits(path: str) -> list[str]:
    """The splits that the column `split` of a CSV file tells apart. Raises InputError."""
    return _splits(read_csv(path))


def json_lines_splits(path: str) -> list[str]:
    """The splits that `split` of objects, one a line, tells apart. Raises InputError."""
    return _splits(read_json_lines(path))


def of_rows(
    name: str, rows: Sequence[Mapping[str, Any]], root: Path, levels: Levels, split: str | None = None
) -> Dataset:
    """The image files that rows name, with their labels. Raises InputError."""
    if split is not None:
        rows = [row for row in rows if _split_of(row) == split]
        if not rows:
            raise InputError(f"{name}:{split} has no rows: no column `split` says {split!r}. Write {name}.")
    if not rows:
        raise InputError(f"{name} has no rows.")
    columns = list(dict.fromkeys(column for row in rows for column in row))  # a row may lack some
    file_column = _column(columns, PATHS)
    if file_column is None:
        raise InputError(
            f"{name} has the columns {', '.join(map(str, columns))}; the image files stand in one called "
            f"{', '.join(PATHS[:-1])} or {PATHS[-1]}."
        )
    files = [_cell(row, file_column, name, number) for number, row in enumerate(rows, 1)]
    files = [_separated(root, file) for file in files]
    label_column = _column(columns, LABELS)
    if label_column is None:
        others = ", ".join(column for column in map(str, columns) if column not in (file_column, "split"))
        remarks = {"labels": f"none: no column is called {' or '.join(LABELS[:2])} (there are {others})"}
        return replace(of_files(name, files, root=root, levels=levels), remarks=remarks if others else {})
    said = [_cell(row, label_column, name, number) for number, row in enumerate(rows, 1)]
    labels, class_names = numbered(said)
    return of_files(name, files, labels, class_names, root=root, levels=levels)


def numbered(labels: Iterable[str]) -> tuple[list[int], tuple[str, ...]]:
    """Labels as places among their sorted names, numbers sorted by value; and these names.

    Where all are whole numbers, 10.0 is called 10.
    """
    labels = list(labels)
    whole = [WHOLE.fullmatch(label) for label in labels]
    numeric = all(whole)
    if numeric:
        labels = [match[1] for match in whole if match]
    names = sorted(set(labels), key=int if numeric else str)
    places = {name: place for place, name in enumerate(names)}
    return [places[label] for label in labels], tuple(names)


def _splits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return in_order(set(map(_split_of, rows)))


def _split_of(row: Mapping[str, Any]) -> str | None:
    """The split that a row says it is of, in one of the words that folders are called by."""
    column = _column(list(row), ("split",))
    return None if column is None else split_called(str(row[column]).strip())


def _column(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the known columns that is there."""
    by_name = {str(column).strip().lower(): column for column in columns}
    return next((by_name[name] for name in known if name in by_name), None)


def _separated(root: Path, file: str) -> str:
    """A file's name with this system's separators, where that of another system names no file."""
    other = file.replace("\\", "/")
    return file if other == file or (root / file).exists() else other


def _cell(row: Mapping[str, Any], column: str, name: str, number: int) -> str:
    """What stands there, as text. Raises InputError where nothing does."""
    value = row.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(f"{name}, row {number}: its {column} is {value!r}; a name or a number is expected.")
    return str(value).strip()


def _text(path: str | Path) -> str:
    """A text file. Raises InputError."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The table {str(path)!r} cannot be read ({error}).") from None
