"""Pictures for a process that did not open their data set: where they lie, and how they are brought to size.

A batch of them is a few kilobytes to send, whatever their size. Who reads them compares each with the number
of its content that was found when the data set was listed: another file of the same name is not seen.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from ostrich.data.levels import Levels
from ostrich.data.pictures import open_file
from ostrich.data.walking import is_address
from ostrich.errors import InputError
from ostrich.images import fingerprint, fit, fit_array, from_bytes
from ostrich.runtime.executors import Unseen

Span = tuple[int, int]  # offset and length within a file
Content = Callable[[int], bytes]  # of a file, by its number
FIRST, CHUNK = 2**14, 2**18  # bytes that are read at once: a small picture's, and those of the rest
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # which Windows has


@dataclass(frozen=True)
class Form:
    """The (H, W) = `size` and the `channels` to which pictures are brought; the rest as in `images.fit`."""

    size: tuple[int, int]
    resize: int | tuple[int, int] | None
    interpolation: str
    channels: int

    def pixels(self, picture: Image.Image | np.ndarray, file: str) -> np.ndarray:
        """uint8 (H, W, C). Raises InputError for other channels than these."""
        _check_channels(picture, self.channels, file)
        if isinstance(picture, np.ndarray):
            return fit_array(picture, self.size, self.resize, self.interpolation)
        fitted = fit(picture, self.size, self.resize, self.interpolation)
        return np.asarray(fitted.convert("L"))[..., None] if self.channels == 1 else np.asarray(fitted)


@dataclass(frozen=True)
class Lying:
    """Where pictures lie: `files` below the folder `base`, or addresses; each is called one of `names`.

    `spans` are the parts of the files where these hold several; none: each file is one picture.
    """

    base: str
    files: tuple[str, ...]
    names: tuple[str, ...]
    levels: Levels
    spans: tuple[Span, ...] = ()

    def content(self, place: int) -> bytes:
        """The bytes of one. Raises Unseen where there is no such file."""
        path = self.files[place]
        if not is_address(path):
            path = os.path.join(self.base, path)
        try:
            return read_file(path, self.spans[place] if self.spans else None)
        except OSError:
            raise Unseen(path) from None


@dataclass(frozen=True, eq=False)
class Stored:
    """Pixels by row, read from files that another process listed; their contents have the numbers `keys`."""

    form: Form
    lying: Lying
    keys: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (n, H, W, C). Raises Unseen, and what reading a picture raises."""
        return np.stack([self._pixels(row) for row in rows])

    def _pixels(self, row: int) -> np.ndarray:
        name, content = self.lying.names[row], self.lying.content(row)
        if fingerprint(content) != self.keys[row]:
            raise Unseen(os.path.join(self.lying.base, self.lying.files[row]))
        return self.form.pixels(open_file(name, self.lying.levels, content), name)

    def images(self, rows: Sequence[int]) -> Tensor:
        """Images (n, C, H, W) in [0, 1]. Raises as `pixels` does."""
        return from_bytes(self.pixels(rows))

    def take(self, rows: Sequence[int]) -> Stored:
        """The same, restricted to some rows."""
        lying = self.lying
        files, names = (tuple(some[row] for row in rows) for some in (lying.files, lying.names))
        spans = tuple(lying.spans[row] for row in rows) if lying.spans else ()
        own = Lying(lying.base, files, names, lying.levels, spans)
        return Stored(self.form, own, tuple(self.keys[row] for row in rows))

    def sent(self, rows: range, *, whole: bool) -> Stored:
        """What another process gets of some rows."""
        return self.take(rows)


def in_order(content: Content, order: Sequence[int], *, far: bool = False) -> AbstractContextManager[Content]:
    """`content`, to be called with the numbers of `order` in turn; what is `far` is fetched ahead."""
    if not far:
        return nullcontext(content)
    from ostrich.data.stores import fetched_ahead  # not needed for files

    return fetched_ahead(content, order)


def read_file(path: str, span: Span | None = None) -> bytes:
    """The bytes of a file or an address, or of a part of it, by few calls of the system: it is done for each
    image. Raises OSError.
    """
    if is_address(path):
        from ostrich.data.stores import read_address  # not needed for files

        return read_address(path, span)
    if "\0" in path:  # which no file's name holds
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    descriptor = os.open(path, FLAGS)
    try:
        if span is not None:
            os.lseek(descriptor, span[0], os.SEEK_SET)
            return os.read(descriptor, span[1])
        content = os.read(descriptor, FIRST)
        while more := os.read(descriptor, CHUNK):
            content += more
        return content
    finally:
        os.close(descriptor)


def _check_channels(picture: Image.Image | np.ndarray, channels: int, file: str) -> None:
    """Refuse, by an InputError, an image of other channels than the network takes."""
    shape = picture.shape if isinstance(picture, np.ndarray) else (picture.height, picture.width, 3)
    if shape[2] == channels or (shape[2] == 3 and channels == 1):
        return
    turned = " Its first axis has as many: an array is (H, W, C)." if shape[0] == channels else ""
    raise InputError(f"The network takes {channels} channels; {file!r} has {shape[2]}.{turned}")
