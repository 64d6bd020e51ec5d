"""One thread that does what pages ask for, one thing after another; a page's newer wish ends its older one.

A network is asked by one thread only, so that two cores are enough and answers do not depend on who else
asks. What a job is busy with ends at the network's next answer, by the deadline around it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from ostrich.errors import OstrichError
from ostrich.runtime.deadline import Deadline, TimeUp, until
from ostrich.runtime.events import Level, Listener, Progress, listening
from ostrich.runtime.faults import refused, told

WAITING = 16  # jobs at most; more are refused
LONGEST = 600.0  # seconds of a job
PAUSE = 0.08  # seconds between two events of how far it is
BEHIND = 64  # events that wait for a slow reader; pictures on the way are left out beyond it
ON_THE_WAY = ("step", "progress")
Event = dict[str, Any]  # with its "event"


class Busy(OstrichError):
    """Too many things are waiting."""


class Stopped(Exception):
    """Whoever asked wants what there is by now."""


class Job:
    """One thing to do, and the events by which it answers. `work` is called with the job."""

    def __init__(self, page: str, work: Callable[[Job], None]) -> None:
        self.page, self.stopped = page, threading.Event()
        self._work, self._deadline, self._ended = work, Deadline(LONGEST), threading.Event()
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def emit(self, event: str, **data: Any) -> None:
        """Tell who asked. Raises TimeUp where nobody wants to know any more."""
        if self._ended.is_set():
            raise TimeUp
        if event not in ON_THE_WAY or self._events.qsize() < BEHIND:
            self._tell({"event": event, **data})

    def check_stop(self) -> None:
        """Raise Stopped where whoever asked wants what there is by now."""
        if self.stopped.is_set():
            raise Stopped

    def cancel(self) -> None:
        """End it, soon."""
        self._ended.set()
        self._deadline.end()

    def run(self) -> None:
        """Do it, in the worker's thread. What goes wrong is an event too."""
        try:
            with until(self._deadline), listening(_Told(self)):
                if not self._ended.is_set():
                    self._work(self)
            self._tell({"event": "done"})
        except Stopped:  # there was nothing by then
            self._tell({"event": "done"})
        except TimeUp:
            self._tell({"event": "ended", "sentence": "A newer wish took its place, or its time was over."})
        except OstrichError as error:
            self._tell({"event": "refused", "sentence": str(error)})
        except Exception as error:  # the page says whose fault it is, and the server goes on
            if (sentence := refused(error)) is not None:
                self._tell({"event": "refused", "sentence": sentence[0].upper() + sentence[1:]})
            else:
                self._tell({"event": "fault", "sentence": f"A fault of ours, {told(error)}"})
        finally:
            self._tell(None)

    async def events(self) -> AsyncIterator[Event]:
        """What it tells, until it ends; who stops listening ends it."""
        try:
            while (event := await self._events.get()) is not None:
                yield event
        finally:
            self.cancel()

    def _tell(self, event: Event | None) -> None:
        with suppress(RuntimeError):  # the server is closing
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


class _Told(Listener):
    """Sentences and progress of what a job computes, as its events."""

    level = Level.NORMAL

    def __init__(self, job: Job) -> None:
        self._job = job

    def progress(self, title: str, total: int) -> AbstractContextManager[Progress]:
        said = 0.0

        def advance(done: int, total: int) -> None:
            nonlocal said
            self._job.check_stop()
            if done == total or time.monotonic() - said >= PAUSE:
                said = time.monotonic()
                self._job.emit("progress", title=title, done=done, total=total)

        return nullcontext(advance)

    def say(self, sentence: str) -> None:
        self._job.emit("said", sentence=sentence)


class Worker:
    """The thread, and what waits for it."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Job | None] = queue.Queue(WAITING)
        self._current: dict[str, Job] = {}
        self._thread = threading.Thread(target=self._run, name="playground", daemon=True)
        self._thread.start()

    def submit(self, page: str, work: Callable[[Job], None]) -> Job:
        """Take a page's newest wish, and end its older one. Raises Busy."""
        job = Job(page, work)
        try:
            self._waiting.put_nowait(job)
        except queue.Full:
            raise Busy("Too many wishes are waiting; ask again in a moment.") from None
        older = self._current.pop(page, None)
        if older is not None:
            older.cancel()
        self._current[page] = job
        return job

    def stop(self, page: str) -> None:
        """Let a page's wish end with what there is by now."""
        job = self._current.get(page)
        if job is not None:
            job.stopped.set()

    def close(self) -> None:
        """End what is running; nothing waits any more."""
        for job in list(self._current.values()):
            job.cancel()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(10)

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None:
            job.run()
            if self._current.get(job.page) is job:
                del self._current[job.page]
