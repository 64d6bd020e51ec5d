"""A command that torchrun started several times, as one: rank 0 is the command, the others help with it.

    code = shared(command)         in every rank
    helps()                        whether this process only computes pieces for rank 0
    take(key)                      whether a piece is this process's: the first to ask has it
    tell(name, text), told(name)   what rank 0 says, and the others wait for

They speak by the store of torch.distributed, which lasts as long as they do: what a killed run had taken is
free again. A rank that dies is noticed by torchrun, which ends the others; the same command goes on. Without
torchrun every piece is this process's, and nothing is said.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from ostrich.errors import WorkerDied

POLL = 0.02  # seconds between two looks
FAREWELL = 10.0  # seconds that rank 0 waits for the others to leave before it ends, and torchrun ends them
MEETING = timedelta(minutes=10)  # for all to start
FOLDER, ENDED, LEFT, COMPLAINT = "folder", "ended", "left", "complaint"


class NothingLeft(Exception):
    """In a rank that helps: there is no piece left to take."""


class _Joined:
    """The store, and this process's number; no store where it works alone."""

    store: Any = None
    rank = 0
    log: BinaryIO | None = None


def count() -> int:
    """How many processes torchrun started; 1 where it did not."""
    named = all(name in os.environ for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
    return int(os.environ.get("WORLD_SIZE", "1")) if named else 1


def helps() -> bool:
    """Whether this process only computes pieces for rank 0: it writes nothing else and prints nothing."""
    return _Joined.rank > 0


def take(key: str) -> bool:
    """Whether a piece is this process's to compute."""
    return _Joined.store is None or _Joined.store.add(f"taken/{key}", 1) == 1


def tell(name: str, text: str = "") -> None:
    """Say something to the ranks that help."""
    if _Joined.store is not None and not helps():
        _Joined.store.set(name, text or " ")


def heard(name: str) -> bool:
    """Whether it has been said."""
    return _Joined.store is not None and _Joined.store.check([name])


def told(name: str) -> str:
    """What rank 0 says. Raises NothingLeft where it ends without saying it."""
    while not heard(name):
        if heard(ENDED):
            raise NothingLeft
        time.sleep(POLL)
    return _text(name)


def complain(sentence: str) -> None:
    """Tell rank 0 why this process cannot help any more."""
    if helps():
        with suppress(RuntimeError):  # rank 0 is gone
            _Joined.store.set(COMPLAINT, f"Rank {_Joined.rank} has ended: {sentence}")


def listen() -> None:
    """Raise WorkerDied where a rank that helps has complained."""
    if not helps() and heard(COMPLAINT):
        raise WorkerDied(_text(COMPLAINT))


def log_to(folder: Path) -> None:
    """What a rank that helps prints is from now on, and was before, in a file of its own in this folder."""
    if _Joined.log is None:
        return
    path = folder / "logs" / f"rank-{_Joined.rank}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    _Joined.log.seek(0)
    with path.open("ab") as file:
        file.write(_Joined.log.read())
        file.flush()
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


def shared(command: Callable[[], int]) -> int:
    """The exit code of a command that every rank runs: rank 0's, in all of them."""
    with _joined():
        if not helps():
            code = 1
            try:
                code = command()
            finally:
                _end(code)
            return code
        with _silent():
            code = command()
            return _ended(code)


@contextmanager
def _joined() -> Iterator[None]:
    import torch
    from torch.distributed.rendezvous import rendezvous

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    _Joined.store, _Joined.rank, _ = next(rendezvous("env://", timeout=MEETING))
    try:
        yield
    finally:
        _Joined.store, _Joined.rank = None, 0


@contextmanager
def _silent() -> Iterator[None]:
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


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _end(code: int) -> None:
    """Say how it ended, and wait a little until the others heard it: the store may go with this process."""
    with suppress(RuntimeError):
        tell(ENDED, str(code))
        limit = time.monotonic() + FAREWELL
        while _Joined.store.add(LEFT, 0) < count() - 1 and time.monotonic() < limit:
            time.sleep(POLL)


def _ended(own: int) -> int:
    """Rank 0's exit code, when it has ended; this process's where rank 0 is gone."""
    try:
        code = int(told(ENDED))
        _Joined.store.add(LEFT, 1)
    except RuntimeError:
        return own or 1
    return code


def _text(name: str) -> str:
    text: bytes = _Joined.store.get(name)
    return text.decode()
