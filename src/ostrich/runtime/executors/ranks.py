"""The processes that torchrun started: rank 0 runs the command and computes with the others.

    code = shared(command)     in every rank; the exit code of the command, which rank 0 alone runs

Each takes the next item when it is free, so a slow one does less. Items lie ready in the store of torchrun, a
few for each rank, and answers come back there.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from ostrich.errors import first_line
from ostrich.runtime import events, interrupts, memory, together
from ostrich.runtime.executors import Here, Lost, computing_on
from ostrich.runtime.executors.sending import answered, failure, opened, packed, raised, unpacked

BROKEN = "broken"  # a rank that cannot compute any more
TELLING = 1.0  # seconds for a rank that fails to say why
AHEAD = 2  # items that lie ready for each of the others
INTERRUPTED = 130
T = TypeVar("T")
R = TypeVar("R")


def shared(command: Callable[[], int]) -> int:
    """The exit code, in every rank, of a command that rank 0 runs; the others compute for it in silence."""
    with together.joined() as main:
        if not main:
            with together.silent():
                return together.ended(_serve())
        code = 1
        try:
            with computing_on(Ranks()):
                code = command()
        finally:
            together.end(code)
        return code


class Ranks:
    """This process and the others of torchrun."""

    shares_files = True

    def __init__(self) -> None:
        self._jobs = count()
        self._told: list[str] = []  # jobs whose work still lies in the store

    def map(
        self,
        compute: Callable[[T], R],
        items: Iterable[T],
        *,
        lost: Lost[T, R] | None = None,
        log: Path | None = None,
    ) -> Generator[tuple[T, R], None, None]:
        """See `Executor.map`; what the others print lies under `logs` in the run directory."""
        try:
            work = _told(compute)
        except Exception as error:  # whatever a user's object raises when it is pickled
            reason = first_line(error)
            events.say(f"one process computes: the work cannot be sent to the others ({reason})")
            yield from Here().map(compute, items)
            return
        job = f"job-{next(self._jobs)}"
        self._forget()
        self._told.append(job)
        together.put(f"{job}/work", work)
        queue = _Queue(job, items)
        try:
            mine = True
            while mine or queue.asked:
                queue.fill()
                yield from queue.answered()
                if mine:
                    number = together.tickets(f"{job}/taken", 1) - 1
                    queue.fill(number)
                    mine = number in queue.asked
                    if mine:
                        item = queue.take(number)
                        yield item, compute(item)
                elif queue.asked:
                    time.sleep(together.POLL)
                _raise_broken()
                interrupts.leave_if_pending()
        finally:
            queue.close()
            together.put(f"{job}/closed", b"")  # what nobody has begun is not to be begun

    def by_all(self, work: Callable[..., R], *own: Any) -> R:
        """See `Executor.by_all`."""
        try:
            sent = _told(_AtOnce(work))
        except Exception as error:  # whatever a user's object raises when it is pickled
            reason = first_line(error)
            events.say(f"one process computes: the work cannot be sent to the others ({reason})")
            return work(*own)
        job = f"job-{next(self._jobs)}"
        self._forget()
        together.put(f"{job}/work", sent)
        while together.tickets(f"{job}/ready") < together.helpers():
            _raise_broken()
            interrupts.leave_if_pending()
            time.sleep(together.POLL)
        together.forget(f"{job}/work")
        try:
            with together.group(job):
                return work(*own)
        except RuntimeError:
            time.sleep(TELLING)  # another process is gone: it may say why
            _raise_broken()
            raise

    def _forget(self) -> None:
        """Take back the work that all have read."""
        for job in list(self._told):
            if together.tickets(f"{job}/read") >= together.helpers():
                together.forget(f"{job}/work")
                self._told.remove(job)


def _told(work: Any) -> bytes:
    """Work for the others, with where their words go and what is kept of kernels."""
    return packed((work, together.logs(), memory.kernels_kept()))


class _AtOnce:
    """Work that all processes do at the same time."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work = work


def _raise_broken() -> None:
    """Raise what another rank has said that it cannot go on for."""
    if together.there(BROKEN):
        raise raised(together.fetch(BROKEN))


class _Queue:
    """The items of a job, numbered: those that were told, and are not answered, are `asked`."""

    def __init__(self, job: str, items: Iterable[Any]) -> None:
        self._job, self._items = job, iter(items)
        self._count, self._more = 0, True
        self.asked: dict[int, Any] = {}

    def fill(self, number: int = -1) -> None:
        """Tell a few items more than are taken, and the one of that number, as far as there are any."""
        taken = together.tickets(f"{self._job}/taken")
        while self._more and self._count < max(taken + AHEAD * together.helpers(), number + 1):
            try:
                item = next(self._items)
            except StopIteration:
                self.close()
                return
            self.asked[self._count] = item
            if self._count != number:  # this process' own need not be told
                together.put(f"{self._job}/item-{self._count}", packed(item))
            self._count += 1

    def take(self, number: int) -> Any:
        """An item that this process computes."""
        together.forget(f"{self._job}/item-{number}")
        return self.asked.pop(number)

    def answered(self) -> Generator[tuple[Any, Any], None, None]:
        """The items that others have computed since. Raises what they raised."""
        for number in list(self.asked):
            key = f"{self._job}/answer-{number}"
            if together.there(key):
                found = together.fetch(key)
                together.forget(key)
                item = self.asked.pop(number)
                yield item, opened(found)

    def close(self) -> None:
        """Say that there are no more items."""
        if self._more:
            self._more = False
            together.put(f"{self._job}/count", str(self._count).encode())


# The other ranks ----------------------------------------------------------------------------------


def _serve() -> int:
    """Compute for rank 0 until it ends; the exit code where this process ends before."""
    try:
        for number in count():
            job = f"job-{number}"
            together.await_main(f"{job}/work", f"{job}/closed")
            if together.there(f"{job}/closed"):
                together.tickets(f"{job}/read", 1)
                continue
            sent = together.fetch(f"{job}/work")
            together.tickets(f"{job}/read", 1)
            compute, folder, kernels = unpacked(sent)
            os.environ.update(kernels)  # read when the first is made
            if folder is not None:
                together.log_to(folder)
            with interrupts.guarded():
                if isinstance(compute, _AtOnce):
                    together.tickets(f"{job}/ready", 1)
                    with together.group(job):
                        compute.work()
                else:
                    _help(job, compute)
    except together.Gone:
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # what was sent cannot be opened here, or rank 0 is gone
        traceback.print_exc()
        with suppress(RuntimeError):
            together.put(BROKEN, failure(error))
        return 3
    raise AssertionError("jobs have no end")


def _help(job: str, compute: Callable[[Any], Any]) -> None:
    """Compute items that nobody has taken until there are none."""
    while (number := _next(job)) is not None:
        key = f"{job}/item-{number}"
        item = together.fetch(key)
        together.forget(key)
        together.put(f"{job}/answer-{number}", answered(compute, item))
        interrupts.leave_if_pending()


def _next(job: str) -> int | None:
    """The number of an item that is this process' own, as soon as it lies there; None where there is none."""
    number = together.tickets(f"{job}/taken", 1) - 1
    while True:
        key = together.await_main(f"{job}/closed", f"{job}/item-{number}", f"{job}/count")
        if key.endswith("closed"):
            return None
        if key.endswith(f"item-{number}"):
            return number
        if number >= int(together.fetch(key)):
            return None
        time.sleep(together.POLL)
        interrupts.leave_if_pending()
