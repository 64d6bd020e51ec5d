"""A first look at the chosen pictures of a data set: what each holds, and whether it can be read.

Each is read once, in blocks of `BLOCK`, by whoever computes: rank 0 alone would keep many workers waiting.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from ostrich.data.dataset import Dataset
from ostrich.data.elsewhere import Content, Form, Lying, in_order
from ostrich.data.pictures import open_file
from ostrich.data.walking import is_address
from ostrich.errors import UnreadableImage
from ostrich.images import fingerprint
from ostrich.runtime.executors import Here, Unseen, current

BLOCK = 4096  # pictures


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which pictures are decoded (`tried`, by their index in the data set) and whether their pixels are kept;
    with `skip_bad` unreadable ones are left out.
    """

    form: Form
    tried: frozenset[int]
    keep: bool
    skip_bad: bool


@dataclass
class Seen:
    """Of pictures that could be read: their `indices`, a number of the content of each, a `checksum` of all,
    and pixels (H, W, C) of each where they are kept.
    """

    indices: list[int] = field(default_factory=list)
    keys: array[int] = field(default_factory=lambda: array("q"))
    checksum: bytes = b""
    pixels: list[np.ndarray] = field(default_factory=list)


def look(dataset: Dataset, chosen: Sequence[int], wanted: Wanted) -> Seen:
    """The chosen pictures that can be read, in order. Raises UnreadableImage unless `skip_bad`.

    The checksum is that of all contents, or, of more than a block, that of the blocks' checksums.
    """
    blocks = [chosen[start : start + BLOCK] for start in range(0, len(chosen), BLOCK)]
    found = dict(_looked_at(dataset, blocks, wanted))
    parts = [found[number] for number in range(len(blocks))]
    if len(parts) == 1:
        return parts[0]
    whole = Seen(checksum=hashlib.sha256(b"".join(part.checksum for part in parts)).digest())
    for part in parts:
        whole.indices += part.indices
        whole.keys += part.keys
        whole.pixels += part.pixels
    return whole


def _looked_at(
    dataset: Dataset, blocks: Sequence[Sequence[int]], wanted: Wanted
) -> Iterator[tuple[int, Seen]]:
    """Each block's number and what is seen of it, in any order."""

    def here(indices: Sequence[int]) -> Seen:
        def decoded(index: int, content: bytes) -> np.ndarray:
            return wanted.form.pixels(dataset.read(index), dataset.files[index])

        return _seen(indices, dataset.content, decoded, wanted)

    lying = dataset.lying
    if lying is None:
        yield from ((number, here(indices)) for number, indices in enumerate(blocks))
        return
    orders = (
        _Order(number, tuple(some), tuple(dataset.files[i] for i in some), lying(some))
        for number, some in enumerate(blocks)
    )
    executor = current() if len(blocks) > 1 else Here()
    with closing(executor.map(_Look(wanted), orders)) as answers:
        for order, answer in answers:
            if answer is None:
                yield order.number, here(order.indices)  # which says what is wrong with a file
                continue
            if dataset.levels is not None:
                for kind, high in answer.high.items():
                    dataset.levels.see(kind, answer.low[kind], high)
            yield order.number, answer.seen


@dataclass(frozen=True)
class _Order:
    """A block for whoever looks at it; its pictures are called `files`."""

    number: int
    indices: tuple[int, ...]
    files: tuple[str, ...]
    lying: Lying


@dataclass(frozen=True)
class _Answer:
    """What is seen, and the lowest and highest values of deep images, by their kind."""

    seen: Seen
    low: dict[str, float]
    high: dict[str, float]


@dataclass(frozen=True)
class _Look:
    """Looks at a block; None where a file of it is not seen from here."""

    wanted: Wanted

    def __call__(self, order: _Order) -> _Answer | None:
        lying, places = order.lying, {index: place for place, index in enumerate(order.indices)}

        def content(index: int) -> bytes:
            return lying.content(places[index])

        def decoded(index: int, content: bytes) -> np.ndarray:
            place = places[index]
            picture = open_file(lying.names[place], lying.levels, content)
            return self.wanted.form.pixels(picture, order.files[place])

        try:
            seen = _seen(order.indices, content, decoded, self.wanted, far=is_address(lying.files[0]))
        except Unseen:
            return None
        return _Answer(seen, lying.levels.low, lying.levels.high)


def _seen(
    indices: Sequence[int],
    content: Content,
    decoded: Callable[[int, bytes], np.ndarray],
    wanted: Wanted,
    *,
    far: bool = False,
) -> Seen:
    """What is seen of some pictures."""
    seen, checksum = Seen(), hashlib.sha256()
    with in_order(content, indices, far=far) as content_of:
        for index in indices:
            try:
                held = content_of(index)
                pixels = decoded(index, held) if index in wanted.tried else None
            except UnreadableImage:
                if not wanted.skip_bad:
                    raise
                continue
            if wanted.keep and pixels is not None:
                seen.pixels.append(pixels)
            checksum.update(held)
            seen.keys.append(fingerprint(held))
            seen.indices.append(index)
    seen.checksum = checksum.digest()
    return seen
