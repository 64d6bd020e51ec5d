"""Files that are whole or as they were before, also when the disk fills up or the process is killed.

Everything is written beside its place, as `.NAME.PID.partial`, and renamed when it is complete. Tables that
grow by a row (metrics.jsonl) are the exception: there a torn last row is left out when it is read.

Files that are read again hold a checksum of their content, since a flipped bit need not show: `torch.load`
reads tensors without comparing them with the checksums of their archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ostrich.errors import InputError

PARTIAL = ".partial"
CHECKSUM = "checksum"  # the key in a JSON file
WEIGHTS_CHECKSUM = "weights_sha256"  # the key in a card
NOT_TEXT = "backslashreplace"  # bytes of a file's name that are no UTF-8, as an old archive leaves them
DIGEST = hashlib.sha256().digest_size  # bytes at the end of a file of tensors


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
    """Write a text file; a file's name in it that is no text is spelled as NOT_TEXT says."""
    write_bytes(path, text.encode(errors=NOT_TEXT))


def write_json(path: Path, content: Any) -> None:
    """Write JSON, a mapping with its checksum; numbers that are not finite become null."""
    content = _finite(content)
    if isinstance(content, Mapping):
        content = {**content, CHECKSUM: _checksum(content)}
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def json_line(content: Any) -> str:
    """Content as a line of JSON; numbers that are not finite become null."""
    return json.dumps(_finite(content), allow_nan=False)


def read_json(path: Path, *, checked: bool = True) -> Any:
    """What `write_json` wrote, or any JSON that has no checksum. Raises ValueError for a damaged file.

    Without `checked`, one that somebody has edited is read too.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    written = content.pop(CHECKSUM, None) if isinstance(content, dict) else None
    if checked and written not in (None, _checksum(content)):
        raise ValueError("its checksum is another")
    return content


def was_edited(path: Path) -> bool:
    """Whether the checksum of a file of JSON, which can be read, is of other content."""
    try:
        read_json(path)
    except ValueError:
        return True
    return False


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and texts, by name and nested, for `read_tensors`."""
    written = as_bytes(content)
    write_bytes(path, written + hashlib.sha256(written).digest())


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `write_tensors` wrote; no code of the file is run. Raises ValueError for a damaged file."""
    content = path.read_bytes()
    written, digest = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(written).digest() != digest:
        raise ValueError("its checksum is another")
    return from_bytes(written, device)


def as_bytes(content: Mapping[str, Any]) -> bytes:
    """Tensors, numbers and texts, by name and nested, for `from_bytes`."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


def from_bytes(written: bytes, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `as_bytes` gave; no code of it is run."""
    found: dict[str, Any] = torch.load(io.BytesIO(written), weights_only=True, map_location=device)
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
    """The rows of a table, none where there is no file; a torn last one is left out.

    Raises InputError for a damaged row.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a row is no mapping")
    except ValueError as error:
        raise InputError(f"{str(path)!r} is damaged ({error}); begin again with --force.") from None
    return rows


def keep_rows(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Take the other rows, and a torn last one, out of the file; the rows that are left."""
    if not path.exists():
        return []
    kept = [row for row in read_rows(path) if wanted(row)]
    text = "".join(json.dumps(row) + "\n" for row in kept)
    if text != path.read_text(encoding="utf-8"):
        write_text(path, text)
    return kept


def checksum(path: Path) -> str:
    """The SHA-256 of what a file holds, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_card(path: Path, weights: Path, told: Mapping[str, Any]) -> None:
    """Write what a training tells of the weights in a file, with their checksum."""
    write_json(path, {**told, WEIGHTS_CHECKSUM: checksum(weights)})


def read_card(path: Path, weights: Path, told: Collection[str]) -> dict[str, Any] | None:
    """What a training wrote about its weights, at least what is `told`; None where there is no such card.

    It holds the checksum of its weights (an older one does not); beside other weights it is no card.
    """
    try:
        card = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(card, dict) or not card.keys() >= set(told) or not weights.is_file():
        return None
    return card if card.get(WEIGHTS_CHECKSUM) in (None, checksum(weights)) else None


def _checksum(content: Mapping[str, Any]) -> str:
    """Of a mapping as JSON gives it back, whatever the order of its keys."""
    read = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if content == content and abs(content) != float("inf") else None
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
