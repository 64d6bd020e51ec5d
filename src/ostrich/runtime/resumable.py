"""One resumable computation: pieces of work, each in a file of its own, and checkpoints within a piece.

    with Computation(folder, facts) as kept:
        done = kept.run(pieces, compute)

A piece is keyed by its content or by a fixed word, never by its place or by who computes it. Every file holds
the facts that decide its content (weights, settings, images, labels, seed, versions, ...). What was computed
with other facts is neither taken nor overwritten: it is an error that says what differs. So whoever gives the
same command again gets what would have come without the interruption.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from uuid import uuid4

import torch

from ostrich.errors import InputError
from ostrich.runtime import events, interrupts, stopwatch
from ostrich.runtime.deadline import Deadline
from ostrich.runtime.executors import Executor, Here, Unseen, current
from ostrich.runtime.facts import Facts, compare, deciding_versions
from ostrich.runtime.files import as_bytes, from_bytes, read_json, read_tensors, write_json, write_tensors
from ostrich.runtime.lock import locked

Content = dict[str, Any]  # of tensors, numbers, texts and dictionaries of them; in JSON of what JSON holds
EVERY = 10.0  # seconds at least between two writings of a checkpoint
SHARE = 0.05  # of the time, at most, is spent on them
ABOUT = "computation"  # in every file: the facts, and the seconds it took
HALF = ".half"  # ends the name of a checkpoint's file
HELD = 16  # pieces of which is held what they were computed from, while they wait for their turn
HOME = uuid4().hex  # this process, among all
_Answer = tuple[Content | bytes | None, float]  # see `_Work`
SUFFIX = {"tensors": ".pt", "json": ".json"}


@dataclass(frozen=True)
class Piece:
    """A part of the work: `key` names its file, `facts` decide its content beside those of the whole."""

    key: str
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """What came of it: the contents by key, and the keys that there was no time for."""

    contents: dict[str, Content]
    left: list[str]


class Computation:
    """Pieces of work in the files of a folder; without a folder nothing is kept.

    `facts` are those of the whole. Within `with`, the folder is this process's alone. With `waits`, an
    interrupt waits until a checkpoint is offered or a piece is done. Raises FolderInUse, and OtherComputation
    where the folder holds what was computed with other facts.
    """

    def __init__(
        self, folder: Path | None, facts: Facts, form: str = "tensors", *, waits: bool = True
    ) -> None:
        self.folder, self.form, self.waits = folder, form, waits
        self.facts = {**facts, **deciding_versions()} if folder is not None else {}
        self._open = ExitStack()

    def __enter__(self) -> Computation:
        with ExitStack() as opening:
            if self.folder is not None:
                opening.enter_context(locked(self.folder))
                self._agree(self.folder / f"{ABOUT}.json")
            if self.waits:
                opening.enter_context(interrupts.guarded())
            self._open = opening.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def load(self, piece: Piece, device: torch.device | str = "cpu") -> Content | None:
        """What is kept of a piece. Raises OtherComputation."""
        file = self._file(piece)
        if file is None or not file.exists():
            return None
        content, seconds = _read(file, {**self.facts, **piece.facts}, device)
        stopwatch.found(seconds)
        return content

    def save(self, piece: Piece, content: Content, seconds: float) -> Content:
        """Keep a piece that took so long; what `load` will find of it."""
        file = self._file(piece)
        if file is None:
            return content
        facts = {**self.facts, **piece.facts}
        _write(file, facts, content, seconds)
        return _read(file, facts)[0] if self.form == "json" else content

    def checkpoint(self, piece: Piece) -> Checkpoint:
        """For what is written in the middle of a piece."""
        file = self._file(piece)
        facts = {**self.facts, **piece.facts}
        return Checkpoint(None if file is None else _half(file), facts)

    def run(
        self,
        pieces: Sequence[Piece],
        compute: Callable[[Piece], Content],
        *,
        executor: Executor | None = None,
        deadline: Deadline | None = None,
        device: torch.device | str = "cpu",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Done:
        """Find or compute the pieces; those of one key are one. Stops between two when the time is over."""
        found = self.stream(
            *(pieces, compute), executor=executor, deadline=deadline, device=device, progress=progress
        )
        contents = {piece.key: content for piece, content in found}
        return Done(contents, [piece.key for piece in pieces if piece.key not in contents])

    def stream(
        self,
        pieces: Sequence[Piece],
        compute: Callable[[Piece], Content],
        *,
        executor: Executor | None = None,
        deadline: Deadline | None = None,
        device: torch.device | str = "cpu",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[tuple[Piece, Content]]:
        """The same, one after another, so that one is in memory; those that are found come first."""
        wanted = {piece.key: piece for piece in pieces}
        missing, count = [], 0
        for piece in wanted.values():
            content = self.load(piece, device)
            if content is None:
                missing.append(piece)
                continue
            count += 1
            progress(count, len(wanted))
            yield piece, content
        limit = deadline or Deadline()
        admitted = (piece for piece in missing if not limit.reached)
        with closing((executor or Here()).map(_Timed(compute), admitted)) as computed:
            for piece, (content, seconds) in computed:
                kept = self.save(piece, content, seconds)
                self.checkpoint(piece).drop()
                count += 1
                progress(count, len(wanted))
                yield piece, kept
                interrupts.leave_if_pending()

    def in_order(
        self,
        pieces: Sequence[Piece],
        compute: Callable[[Any, Checkpoint], Content],
        read: Callable[[Piece], Any],
        *,
        whole: Callable[[Any], Any] = lambda given: given,
        here: bool = False,
        device: torch.device | str = "cpu",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[tuple[Piece, Any, Content]]:
        """The same in the order of the pieces, computed by the executor around, or `here`.

        `read` gives in this process what a piece is computed from, a few pieces ahead; `compute` makes its
        content of that, offers where it stands to a checkpoint, and can be pickled. Where `compute` raises
        Unseen, the `whole` of what `read` gave is sent, and from then on of all. Each piece comes with what
        it was computed from.
        """
        wanted = list({piece.key: piece for piece in pieces}.values())
        missing = [piece for piece in wanted if not self._is_there(piece)]
        chosen = Here() if here or len(missing) < 2 else current()
        left, waiting = {piece.key for piece in missing}, _Waiting(self)
        work = _Work(compute, self.form, HOME)
        with closing(self._computed(chosen, work, missing, read, whole)) as computed:
            for count, piece in enumerate(wanted, 1):
                given, found = None, None if piece.key in left else self.load(piece, device)
                if found is None:
                    given, found = waiting.awaited(piece, computed, device)
                progress(count, len(wanted))
                yield piece, read(piece) if given is None else given, found
                interrupts.leave_if_pending()

    def _computed(
        self,
        chosen: Executor,
        work: _Work,
        pieces: Sequence[Piece],
        read: Callable[[Piece], Any],
        whole: Callable[[Any], Any],
    ) -> Generator[tuple[_Order, _Answer], None, None]:
        """The pieces as they are computed, with their answers."""
        left, unseen = deque(pieces), set[str]()

        def orders() -> Iterator[_Order]:
            while left:
                piece = left.popleft()
                given = read(piece)
                yield self._order(piece, whole(given) if unseen else given)

        while left:
            with closing(chosen.map(work, orders())) as answers:
                for order, answer in answers:
                    if not isinstance(answer, Unseen):
                        yield order, answer
                        del order, answer  # not to be held while the next is computed
                        continue
                    assert order.piece.key not in unseen, "what was sent needs no file"
                    if not unseen:
                        events.say(
                            f"images are sent to the workers: one does not see {str(answer)!r} as it is"
                        )
                    unseen.add(order.piece.key)
                    left.appendleft(order.piece)

    def _order(self, piece: Piece, given: Any) -> _Order:
        folder = None if self.folder is None else self.folder.resolve()
        return _Order(piece, given, folder, {**self.facts, **piece.facts})

    def _is_there(self, piece: Piece) -> bool:
        file = self._file(piece)
        return file is not None and file.exists()

    def _file(self, piece: Piece) -> Path | None:
        return None if self.folder is None else self.folder / f"{piece.key}{SUFFIX[self.form]}"

    def _agree(self, file: Path) -> None:
        """Compare the facts with those that the folder was begun with, or write them."""
        if file.exists():
            compare(str(file.parent), _opened(file), self.facts)
        else:
            write_json(file, self.facts)


@dataclass(frozen=True)
class _Timed:
    """A piece's content, and the seconds that it took."""

    compute: Callable[[Piece], Content]

    def __call__(self, piece: Piece) -> tuple[Content, float]:
        with stopwatch.stopwatch() as spent:
            return self.compute(piece), spent.seconds


@dataclass(frozen=True)
class _Order:
    """A piece for whoever computes it: what it is computed from, and its folder and facts."""

    piece: Piece
    given: Any
    folder: Path | None
    facts: Facts


class _Waiting:
    """What was computed before its turn: its content where there is no file, what it was made of if short."""

    def __init__(self, computation: Computation) -> None:
        self._of = computation
        self._contents: dict[str, tuple[Any, Content | None]] = {}

    def awaited(
        self,
        piece: Piece,
        computed: Iterator[tuple[_Order, _Answer]],
        device: torch.device | str,
    ) -> tuple[Any, Content]:
        """What a piece was computed from, or None, and its content, as soon as it is there."""
        while piece.key not in self._contents:
            order, (content, seconds) = next(computed)
            if isinstance(content, bytes):  # of a process that does not see the folder
                content = from_bytes(content, device)
                self._of.save(order.piece, content, seconds)
            held = self._of.folder is None or order.piece.key == piece.key
            given = order.given if held or len(self._contents) < HELD else None
            self._contents[order.piece.key] = given, content if held else None
        given, content = self._contents.pop(piece.key)
        if content is None:
            file = self._of._file(piece)
            assert file is not None
            content = _read(file, {**self._of.facts, **piece.facts}, device)[0]
        return given, content


@dataclass(frozen=True)
class _Work:
    """Computes a piece wherever it is, and writes its file where the folder is seen.

    The answer has the content in the process that asked; elsewhere nothing where there is a file, else the
    content as bytes. Beside it stand the seconds that it took. It is Unseen where `compute` raised that.
    """

    compute: Callable[[Any, Checkpoint], Content]
    form: str
    home: str  # the process that asks

    def __call__(self, order: _Order) -> _Answer | Unseen:
        file = None
        if order.folder is not None and (order.folder / f"{ABOUT}.json").exists():
            file = order.folder / f"{order.piece.key}{SUFFIX[self.form]}"
        checkpoint = Checkpoint(None if file is None else _half(file), order.facts)
        with stopwatch.stopwatch() as spent:
            try:
                content = self.compute(order.given, checkpoint)
            except Unseen as error:
                return error
        if file is not None:
            _write(file, order.facts, content, spent.seconds)
            checkpoint.drop()
            if self.form == "json":
                content = _read(file, order.facts)[0]
        if self.home == HOME:
            return content, spent.seconds
        return None if file is not None else as_bytes(content), spent.seconds


def _half(file: Path) -> Path:
    return file.with_name(f"{file.stem}{HALF}.pt")


class Checkpoint:
    """Where a long computation stands, in one file; without a file nothing is kept.

    Within `with`, an interrupt waits for the next `offer`. Raises OtherComputation where the file was written
    with other facts.
    """

    def __init__(self, file: Path | None, facts: Facts) -> None:
        self.file = file
        self.facts = {**facts, **deciding_versions()} if file is not None else {}
        self._watch, self._due = stopwatch.Stopwatch(), time.monotonic() + EVERY
        self._guard = ExitStack()

    def __enter__(self) -> Checkpoint:
        self._guard.enter_context(interrupts.guarded())
        return self

    def __exit__(self, *error: Any) -> None:
        self._guard.__exit__(*error)

    @property
    def seconds(self) -> float:
        """How long it took so far, in all parts."""
        return self._watch.seconds

    def restore(self, device: torch.device | str = "cpu") -> Content | None:
        """What was written last, None where there is nothing."""
        if self.file is None or not self.file.exists():
            return None
        content, seconds = _read(self.file, self.facts, device)
        self._watch.found += seconds
        stopwatch.found(seconds)
        return content

    def offer(self, content: Callable[[], Content], leaving: bool | None = None) -> None:
        """A place between two steps: write where it stands, if that is due; leave, if that is asked for.

        `leaving` says whether it is, where several processes agree on that.
        """
        leaving = interrupts.pending() if leaving is None else leaving
        if self.file is not None and (leaving or time.monotonic() >= self._due):
            self.save(content())
        if leaving:
            raise KeyboardInterrupt

    def save(self, content: Content) -> None:
        """Write where it stands, due or not."""
        if self.file is None:
            return
        started = time.monotonic()
        _write(self.file, self.facts, content, self.seconds)
        now = time.monotonic()
        self._due = now + max(EVERY, (now - started) / SHARE)

    def drop(self) -> None:
        """Remove the file: what it was for is done."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


def mapped(
    compute: Callable[[Any], Content],
    items: Sequence[Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Content]:
    """The contents made of the items, in order, by the executor around; nothing of it is kept."""
    with Computation(None, {}, waits=False) as kept:
        found = kept.in_order(
            [Piece(str(place)) for place in range(len(items))],
            lambda given, _: compute(given),
            lambda piece: items[int(piece.key)],
            progress=progress,
        )
        for _, _, content in found:
            yield content


def peek(file: Path) -> Content | None:
    """What a checkpoint holds, whatever its facts; None where there is none."""
    return _parsed(file)[0] if file.exists() else None


def kept_pieces(folder: Path) -> int:
    """How many finished pieces lie in the computations within a run directory, whatever they are."""
    places = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{ABOUT}.json")]
    return sum(
        path.suffix in SUFFIX.values() and path.stem != ABOUT and not path.stem.endswith(HALF)
        for place in places
        for path in place.iterdir()
    )


def _write(file: Path, facts: Facts, content: Content, seconds: float) -> None:
    assert ABOUT not in content, "the name is taken"
    about = {"facts": dict(facts), "seconds": seconds}
    (write_json if file.suffix == ".json" else write_tensors)(file, {**content, ABOUT: about})


def _read(file: Path, facts: Facts, device: torch.device | str = "cpu") -> tuple[Content, float]:
    """The content of a file, and the seconds it took. Raises OtherComputation."""
    content, about = _parsed(file, device)
    compare(str(file), about["facts"], facts)
    return content, about["seconds"]


def _parsed(file: Path, device: torch.device | str = "cpu") -> tuple[Content, dict[str, Any]]:
    content = _opened(file, device)
    try:
        about = content.pop(ABOUT)
        return content, {"facts": dict(about["facts"]), "seconds": float(about["seconds"])}
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(file, error) from None


def _opened(file: Path, device: torch.device | str = "cpu") -> Content:
    """The mapping that a file holds. Raises InputError for a damaged file."""
    try:
        content = read_json(file) if file.suffix == ".json" else read_tensors(file, device)
        if not isinstance(content, dict):
            raise TypeError("no mapping")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, UnpicklingError, EOFError) as error:
        raise _damaged(file, error) from None
    return content


def _damaged(file: Path, error: Exception) -> InputError:
    first = (str(error).splitlines() or [""])[0]
    return InputError(
        f"{str(file)!r} cannot be taken up: it is damaged, or of another version of Ostrich "
        f"({type(error).__name__}: {first}). Remove it to compute it anew."
    )
