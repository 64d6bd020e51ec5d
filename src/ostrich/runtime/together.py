"""What the processes that torchrun started say to each other, and which of them is the command.

    with joined() as main:     in every rank; whether this one is rank 0, the command
    others()                   in rank 0: machine and process of the others
    put(key, content)          bytes for whoever asks; `fetch` takes them, `there` says whether they have come
    tickets(key)               0, 1, 2, ...: each number to one process alone
    with group(name):          in every rank at once: they are one process group, for what is data-parallel

They speak by the store of torch.distributed, which lasts as long as they do: what a killed run had taken is
free again. A rank that dies is noticed by torchrun, which ends the others; the same command goes on.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

POLL = 0.02  # seconds between two looks
FAREWELL = 10.0  # seconds that rank 0 waits for the others to leave before it ends, and torchrun ends them
MEETING = timedelta(minutes=10)  # for all to start
PART = 2**22  # bytes of one entry: the store takes 8 MiB at most
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
ENDED, LEFT = "ended", "left"


class Gone(Exception):
    """Rank 0 has ended while it was waited for."""


class _Joined:
    """The store, this process's number and that of all; no store where it works alone."""

    store: Any = None
    rank, size = 0, 1
    log: BinaryIO | None = None
    folder: Path | None = None


def count() -> int:
    """How many processes torchrun started; 1 where it did not."""
    named = all(name in os.environ for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
    return int(os.environ.get("WORLD_SIZE", "1")) if named else 1


def helpers() -> int:
    """How many others compute for this process."""
    return _Joined.size - 1


def others() -> list[str]:
    """Of those that have said so, "HOST PROCESS", by rank."""
    keys = (f"process-{rank}" for rank in range(1, _Joined.size))
    return [fetch(key).decode() for key in keys if there(key)]


def put(key: str, content: bytes) -> None:
    """Say something, of any length."""
    parts = [content[i : i + PART] for i in range(0, len(content), PART)]
    for number, part in enumerate(parts):
        _Joined.store.set(f"{key}/{number}", part)
    _Joined.store.set(key, str(len(parts)))


def there(key: str) -> bool:
    """Whether it has been said."""
    found: bool = _Joined.store.check([key])
    return found


def fetch(key: str) -> bytes:
    """What was said; it must be there."""
    return b"".join(_Joined.store.get(f"{key}/{number}") for number in range(int(_Joined.store.get(key))))


def forget(key: str) -> None:
    """Take back what was said, if it is there."""
    if there(key):
        for number in range(int(_Joined.store.get(key))):
            _Joined.store.delete_key(f"{key}/{number}")
        _Joined.store.delete_key(key)


def tickets(key: str, more: int = 0) -> int:
    """How many numbers were drawn; with `more`, that many are drawn now."""
    found: int = _Joined.store.add(key, more)
    return found


def await_main(*keys: str) -> str:
    """The first of the keys that rank 0 has said. Raises Gone where it ends before."""
    while True:
        for key in keys:
            if there(key):
                return key
        if there(ENDED):
            raise Gone
        time.sleep(POLL)


@contextmanager
def joined() -> Iterator[bool]:
    """Within it the ranks know each other; whether this is rank 0. Children of this process are no ranks."""
    import torch
    from torch.distributed.rendezvous import rendezvous

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    _Joined.store, _Joined.rank, _Joined.size = next(rendezvous("env://", timeout=MEETING))
    kept = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    put(f"process-{_Joined.rank}", f"{socket.gethostname()} {os.getpid()}".encode())
    try:
        yield _Joined.rank == 0
    finally:
        os.environ |= kept
        _Joined.store, _Joined.rank, _Joined.size = None, 0, 1


@contextmanager
def group(name: str) -> Iterator[None]:
    """Within it, in every rank at once, the ranks are one process group (`distributed`) of that name."""
    import torch.distributed as dist

    from ostrich.runtime import distributed

    store = dist.PrefixStore(name, _Joined.store)
    dist.init_process_group(distributed.backend(), store=store, rank=_Joined.rank, world_size=_Joined.size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def end(code: int) -> None:
    """In rank 0: say how it ended, and wait a little until the others heard it: the store may go too."""
    with suppress(RuntimeError):
        put(ENDED, str(code).encode())
        limit = time.monotonic() + FAREWELL
        while tickets(LEFT) < helpers() and time.monotonic() < limit:
            time.sleep(POLL)


def ended(own: int = 0) -> int:
    """In another rank: rank 0's exit code, when it has ended; this process's where rank 0 is gone."""
    try:
        await_main(ENDED)
        code = int(fetch(ENDED))
        tickets(LEFT, 1)
    except RuntimeError:
        return own or 1
    return code


@contextmanager
def silent() -> Iterator[None]:
    """Within it nothing reaches the screen."""
    _flush()
    screen = [os.dup(descriptor) for descriptor in (1, 2)]
    with tempfile.TemporaryFile() as log:
        _Joined.log = log
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        try:
            yield
        finally:
            _flush()
            for descriptor, was in zip((1, 2), screen):
                os.dup2(was, descriptor)
                os.close(was)
            _Joined.log = None


def log_to(folder: Path) -> None:
    """What this silent rank prints is from now on, and was before, in a file of its own in this folder."""
    path = folder / f"rank-{_Joined.rank}.txt"
    if _Joined.log is None or not folder.parent.is_dir():
        return
    path.parent.mkdir(exist_ok=True)
    _flush()
    _Joined.log.seek(0)
    with path.open("ab") as file:
        file.write(_Joined.log.read())
        file.flush()
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    _Joined.log = None


def logs_in(folder: Path) -> None:
    """In rank 0: the others' logs lie in this run directory."""
    _Joined.folder = folder.resolve() / "logs"


def logs() -> Path | None:
    """The folder of the others' logs."""
    return _Joined.folder


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
