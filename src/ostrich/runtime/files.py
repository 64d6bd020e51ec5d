"""Files that are whole or as they were before, also when the disk fills up or the process is killed.

Everything is written beside its place, as `.NAME.PID.partial`, and renamed when it is complete. Tables that
grow by a row (metrics.jsonl) are the exception: there a torn last row is left out when it is read.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

PARTIAL = ".partial"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to in its place: it becomes `path` when the block ends, and goes when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is on the disk, not only in the cache, before it takes its name."""
    with whole(path) as partial, partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON; numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and texts, by name and nested, for `read_tensors`."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_bytes(path, buffer.getvalue())


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `write_tensors` wrote; no code of the file is run."""
    found: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
    return found


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written; nobody else may be writing there."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


# Tables that grow ------------------------------------------------------------------------------


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row, one line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, none where there is no file; a torn last one is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def keep_rows(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Take the other rows, and a torn last one, out of the file; the rows that are left."""
    if not path.exists():
        return []
    kept = [row for row in read_rows(path) if wanted(row)]
    text = "".join(json.dumps(row) + "\n" for row in kept)
    if text != path.read_text(encoding="utf-8"):
        write_text(path, text)
    return kept


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if content == content and abs(content) != float("inf") else None
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
