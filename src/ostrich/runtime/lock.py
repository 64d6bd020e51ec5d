"""A folder is used by one command at a time.

An advisory lock (flock) on a file of the folder: the system lets go of it when the process ends, however it
ends. On a system without flock there is no lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ostrich.errors import FolderInUse

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


class _Held:
    """By this process: the file descriptor of each folder's lock, and how often it was asked for."""

    files: dict[Path, tuple[int, int]] = {}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within it no other process uses the folder, which is made where it is missing. Raises FolderInUse."""
    take(folder)
    try:
        yield
    finally:
        release(folder)


def take(folder: Path) -> None:
    """Lock a folder for this process, which may ask for it several times. Raises FolderInUse."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, times = _Held.files.get(folder, (-1, 0))
    _Held.files[folder] = (descriptor if times else _descriptor(folder), times + 1)


def release(folder: Path) -> None:
    """Let go of it, and of its file, when it has been released as often as it was taken."""
    folder = folder.resolve()
    descriptor, times = _Held.files.pop(folder)
    if times > 1:
        _Held.files[folder] = (descriptor, times - 1)
        return
    (folder / NAME).unlink(missing_ok=True)
    os.close(descriptor)


def owner(folder: Path) -> int | None:
    """The process that locked a folder, as it wrote it down; it may be gone. None where none did."""
    try:
        return int((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _descriptor(folder: Path) -> int:
    file = folder / NAME
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is None:
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise FolderInUse(
                f"{str(folder)!r} is being used by another command (process {owner or 'unknown'}). Wait for "
                "it to end, or choose another folder (--out)."
            ) from None
        if _is_still(file, descriptor):  # not one that its owner removed between opening and locking
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return descriptor
        os.close(descriptor)


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.stat(file).st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
