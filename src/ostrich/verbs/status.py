"""`ostrich.status`: how far a run is, from the files of its directory; nothing of it is touched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ostrich.runtime import how_far
from ostrich.runtime.resumable import kept_pieces
from ostrich.runtime.runs import read_run
from ostrich.runtime.schema import PartFile
from ostrich.verbs.outcome import Outcome, folder_of

WORDS = {"finished": "finished", "working": "at work", "stopped": "stopped", "unknown": "not known"}
LOGS = "logs"  # of torchrun's other processes


@dataclass(frozen=True, kw_only=True)
class Part:
    """How far one part of a command is; `per_second` and `seconds_left` are None where not known yet."""

    title: str
    unit: str  # what is counted
    done: int
    total: int
    per_second: float | None
    seconds_left: float | None

    @property
    def sentence(self) -> str:
        """In words."""
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        told = [f"{self.title}: {self.done} of {self.total} {self.unit}{share}"]
        if self.per_second is not None:
            told.append(f"{self.per_second:.3g} a second")
        if self.seconds_left is not None:
            told.append(f"{_long(self.seconds_left)} left")
        return ", ".join(told)


@dataclass(frozen=True, kw_only=True, repr=False)
class Status:
    """How far a run is.

    `state` is "finished", "working", "stopped" (the same command goes on), or "unknown", where another
    machine's process is or was at work. `parts` are those that are begun, each within the one before; where
    it stopped, those of that moment. `pieces` of work are kept on disk. `processes` are "HOST PROCESS", the
    command's own first, and `cluster` says whether a Ray cluster computes for it. `heard` is how many
    seconds ago it last said how far it was. Of a finished run `seconds` and `per_second` (images) are given.
    """

    folder: Path
    command: str
    state: str
    parts: tuple[Part, ...] = ()
    pieces: int = 0
    processes: tuple[str, ...] = ()
    cluster: bool = False
    logs: tuple[str, ...] = ()
    heard: float | None = None
    images: int | None = None
    seconds: float | None = None
    per_second: float | None = None

    def __repr__(self) -> str:
        return f"<status of {self.folder}: {self.state}>"

    @property
    def figures(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**asdict(self), "folder": str(self.folder)}

    @property
    def sentences(self) -> list[str]:
        """In words, a line each."""
        return [f"{self.folder}: {WORDS[self.state]}", self.command, *self._more()]

    def _more(self) -> Iterator[str]:
        if self.seconds is not None:
            of = f"{self.images} images in " if self.images is not None else ""
            rate = f", {self.per_second:.3g} a second" if self.per_second is not None else ""
            yield f"{of}{_long(self.seconds)}{rate}"
        yield from (part.sentence for part in self.parts)
        if self.pieces:
            yield f"pieces that are kept: {self.pieces}"
        if self.processes and self.state in ("working", "unknown"):
            yield f"processes: {', '.join(self.processes)}{', and a Ray cluster' if self.cluster else ''}"
        if self.logs and self.state != "finished":
            yield f"what the others print: {', '.join(self.logs)}"
        if self.heard is not None:
            yield f"last heard of {_long(self.heard)} ago"
        if self.state == "stopped":
            yield "The same command goes on from there."


def status(run: str | Path | Outcome) -> Status:
    """How far a run is, in progress or done.

    `run` is its directory, its run.json, or what a verb returned; nothing in it is changed, and the command
    at work is not disturbed. Raises InputError where there is no run.
    """
    path = folder_of(run)
    content = read_run(path)
    folder = path if path.is_dir() else path.parent
    known = how_far.read(folder)
    asked: dict[str, Any] = {"folder": folder, "command": content.get("command") or "not known"}
    asked["logs"] = tuple(str(path.relative_to(folder)) for path in sorted(folder.glob(f"{LOGS}/*.txt")))
    if content.get("finished"):
        return Status(state="finished", **asked, **_done(content["results"] or {}))
    working = how_far.is_working(folder, known)
    state = {True: "working", False: "stopped", None: "unknown"}[working]
    asked["pieces"] = kept_pieces(folder)
    if known is None:
        return Status(state=state, **asked)
    now = time.time()
    return Status(
        state=state,
        parts=tuple(_part(part, now if working else None) for part in known["parts"]),
        processes=tuple(known["processes"]),
        cluster=known["cluster"],
        heard=max(0.0, now - known["updated"]),
        **asked,
    )


def _part(part: PartFile, now: float | None) -> Part:
    """A part as it is told; without `now` nobody works on it, and no time is left to tell."""
    rate = how_far.per_second(part)
    left = None
    if rate is not None and now is not None:
        left = max(0.0, (part["total"] - part["done"]) / rate - (now - part["updated"]))
    return Part(
        title=part["title"],
        unit=part["unit"],
        done=part["done"],
        total=part["total"],
        per_second=rate,
        seconds_left=left,
    )


def _done(results: dict[str, Any]) -> dict[str, Any]:
    """What a finished run says of its time; a check looks at each image many times over."""
    seconds, images = results.get("seconds"), results.get("n")
    found: dict[str, Any] = {}
    if isinstance(images, int):
        found["images"] = images
    if isinstance(seconds, int | float):
        found["seconds"] = float(seconds)
        if isinstance(images, int) and seconds > 0 and "probes" not in results:
            found["per_second"] = images / seconds
    return found


def _long(seconds: float) -> str:
    """So long, in two units at most: 4.2 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for size, name, part, inner in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {inner}" if rest else "")
    raise AssertionError("a minute is left at least")
