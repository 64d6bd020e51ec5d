"""Where the pixels of samples come from: memory, tensors of the user's, or files decoded when asked for.

Pixels are uint8 (n, H, W, C), images float32 (n, C, H, W) in [0, 1]; of clips (n, T, H, W, C) and
(n, C, T, H, W). What is decoded when asked for is decoded anew each time, so that of many large pictures
only a batch is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ostrich.data.elsewhere import Stored
from ostrich.images import LEVELS, to_bytes

MOST_KEPT = 40 * 2**20  # bytes of pixels that stay in memory once decoded: 256 images of 224x224


class Source(Protocol):
    """Pixels by row."""

    def __len__(self) -> int: ...

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (n, H, W, C)."""

    def images(self, rows: Sequence[int]) -> Tensor:
        """Images (n, C, H, W) in [0, 1]."""

    def take(self, rows: Sequence[int]) -> Source:
        """The same, restricted to some rows."""

    def sent(self, rows: range, *, whole: bool) -> Source:
        """What another process gets of some rows: where they lie, or as a `whole` themselves."""


class Part:
    """Images of some rows for whoever computes with them: read when they are asked for, and then held.

    In another process they are read from their files, if it sees them, and Unseen is raised else; what lies
    in no file is sent, and of the `whole` all is.
    """

    def __init__(self, source: Source, rows: range, *, whole: bool = False) -> None:
        self._source, self._rows, self._whole = source, rows, whole
        self._images: Tensor | None = None

    def images(self) -> Tensor:
        """(n, C, H, W) in [0, 1]. Raises Unseen, UnreadableImage."""
        if self._images is None:
            self._images = self._source.images(self._rows)
        return self._images

    def whole(self) -> Part:
        """The same, to be sent as they are."""
        return Part(self._source, self._rows, whole=True)

    def __reduce__(self) -> Any:
        return Part, (self._source.sent(self._rows, whole=self._whole), range(len(self._rows)))


@dataclass(frozen=True, eq=False)
class Kept:
    """Pixels in memory, uint8 (N, H, W, C), or of clips (N, T, H, W, C)."""

    kept: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray) -> Kept:
        """Laid out with channels first, as they are trained on: `Samples.tensor` then copies nothing."""
        return cls(np.moveaxis(np.ascontiguousarray(np.moveaxis(pixels, -1, 1)), 1, -1))

    def __len__(self) -> int:
        return len(self.kept)

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        if isinstance(rows, range) and rows.step == 1:
            return self.kept[rows.start : rows.stop]  # nothing is copied
        return self.kept[list(rows)]

    def images(self, rows: Sequence[int]) -> Tensor:
        return _images(self.pixels(rows))

    def take(self, rows: Sequence[int]) -> Kept:
        return Kept(self.kept[list(rows)])

    def sent(self, rows: range, *, whole: bool) -> Kept:
        return Kept(self.pixels(rows))

    def __reduce__(self) -> Any:
        return _kept, (torch.from_numpy(np.ascontiguousarray(self.kept)),)  # tensors are sent as bytes


@dataclass(frozen=True, eq=False)
class Given:
    """Images (N, C, H, W) that the user has, of any floating type."""

    tensor: Tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        return to_bytes(self.images(rows))

    def images(self, rows: Sequence[int]) -> Tensor:
        return self.tensor[list(rows)]

    def take(self, rows: Sequence[int]) -> Given:
        return Given(self.images(rows))

    def sent(self, rows: range, *, whole: bool) -> Given:
        return self.take(rows)


class Decoded:
    """Pictures that `decode(i)` reads as uint8 (H, W, C), for the places `chosen` in their data set.

    Where batch follows upon batch, one thread decodes the next while one is computed with. `stored(places,
    keys)` is what another process reads them from, by the numbers of their contents.
    """

    def __init__(
        self,
        decode: Callable[[int], np.ndarray],
        chosen: tuple[int, ...],
        keys: tuple[int, ...] = (),
        stored: Callable[[Sequence[int], tuple[int, ...]], Stored] | None = None,
    ) -> None:
        self.decode, self.chosen, self.keys, self.stored = decode, chosen, keys, stored
        self._ahead: tuple[range, Future[np.ndarray]] | None = None
        self._next = 0  # where a batch that follows begins

    def __len__(self) -> int:
        return len(self.chosen)

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == rows:
            found = ahead[1].result()
        else:
            if ahead is not None:
                ahead[1].cancel()
            found = self._decoded(rows)
        if isinstance(rows, range) and rows.step == 1:
            following = range(rows.stop, min(rows.stop + len(rows), len(self)))
            follows, self._next = rows.start == self._next, rows.stop
            if follows and len(rows) > 1 and len(following):
                self._ahead = (following, _decoder().submit(self._decoded, following))
        return found

    def _decoded(self, rows: Sequence[int]) -> np.ndarray:
        return np.stack([self.decode(self.chosen[row]) for row in rows])

    def images(self, rows: Sequence[int]) -> Tensor:
        return _images(self.pixels(rows))

    def take(self, rows: Sequence[int]) -> Decoded:
        keys = tuple(self.keys[row] for row in rows) if self.keys else ()
        return Decoded(self.decode, tuple(self.chosen[row] for row in rows), keys, self.stored)

    def sent(self, rows: range, *, whole: bool) -> Source:
        if whole or self.stored is None:
            return Kept(self.pixels(rows))
        places = self.chosen[rows.start : rows.stop]
        return self.stored(places, self.keys[rows.start : rows.stop])


def _kept(pixels: Tensor) -> Kept:
    """Pixels (n, H, W, C), or of clips, that were sent."""
    return Kept(pixels.numpy())


@cache
def _decoder() -> ThreadPoolExecutor:
    """The one thread that decodes ahead."""
    return ThreadPoolExecutor(1, thread_name_prefix="decode")


def _images(pixels: np.ndarray) -> Tensor:
    """uint8 (n, ..., C) as float32 (n, C, ...) in [0, 1]."""
    return torch.from_numpy(pixels).movedim(-1, 1).contiguous().to(torch.float32).div(LEVELS)
