"""What a data set is, which part of it a command takes, and how it meets a classifier.

A `Dataset` knows its pictures by index and reads them one at a time; `split.subset` chooses
indices; `loading.load` brings the chosen ones to the classifier's size in 8 bits, with labels in the
classifier's own numbering, as `Samples`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.data.elsewhere import Lying
from ostrich.data.levels import Levels
from ostrich.data.matching import Matching
from ostrich.data.sources import Decoded, Given, Kept, Part, Source
from ostrich.errors import InputError
from ostrich.images import (
    check_images,
    fingerprint,
    fingerprints,
    from_bytes,
    off_grid,
    rounded,
    without_rounding_errors,
)

if TYPE_CHECKING:
    from ostrich.data.mesh_views import Views

DecodeAt = Callable[[int, tuple[int, int], "int | tuple[int, int] | None", str], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Pictures with or without labels.

    `name` is what it is called, `files` what each picture is. `read(i)` is the RGB picture i (UnreadableImage
    if it is damaged), or bytes (H, W, C) where it has other than 1 or 3 channels; `content(i)` the bytes that
    its checksum is taken of; `labels` index `class_names`; `size` is the pictures' common (H, W) where they
    have one; `words` the DATA that named them. Those of a mesh are drawn at any size by
    `views(indices, (H, W), channels)`. `unused` counts by suffix the files that are no part of it; `levels`
    says which value of deep images is white, and `class_map` which class is which of the classifier's; with
    `skip_bad` unreadable ones are left out. `lying(indices)` says where the contents of some lie, for other
    processes; `remarks` are what was found out about it, in sentences.
    """

    name: str
    files: Sequence[str]
    read: Callable[[int], Image.Image | np.ndarray]
    content: Callable[[int], bytes]
    labels: Sequence[int] | None = None
    class_names: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    words: tuple[str, ...] = ()
    views: Callable[[Sequence[int], tuple[int, int], int], Views] | None = None
    unused: Mapping[str, int] = field(default_factory=dict)
    levels: Levels | None = None
    class_map: Mapping[str, str] | None = None
    skip_bad: bool = False
    lying: Callable[[Sequence[int]], Lying] | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """The chosen pictures, or clips, as a network sees them.

    `name` is that of the data, `sha256` of their content. `source` gives their pixels, batch by batch;
    `labels` int64 (N,) in the classifier's numbering, or None; `index` the position of each in its data set;
    `keys` a number of the content of each, of its file where it has one, of a mesh's views which view it is:
    what is held out is chosen by them (`split.py`); `skipped` the files that could not be read; `views`, of a
    mesh, what else is known of the pictures; `words` the DATA that named them, as typed, `limit` the most
    that were asked for, and `class_names` those of the data; `matching` says how they became the
    classifier's, and `remarks` what else was found out or guessed about the data, in sentences; `unused`
    counts files by suffix, and `decode_at` reads a picture of the data set again at another size.
    """

    name: str
    files: tuple[str, ...]
    index: tuple[int, ...]
    keys: tuple[int, ...]
    source: Source
    labels: Tensor | None
    sha256: str
    skipped: tuple[str, ...] = field(default=())
    views: Views | None = None
    words: tuple[str, ...] = ()
    limit: int | None = None
    class_names: tuple[str, ...] | None = None
    matching: Matching | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)
    decode_at: DecodeAt | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: slice) -> Tensor:
        """Images (n, C, H, W), or clips (n, C, T, H, W), in [0, 1] of consecutive rows, as of a tensor."""
        return self.source.images(range(*rows.indices(len(self))))

    def images(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Images (n, C, H, W), or clips (n, C, T, H, W), in [0, 1], from `start` up to `stop`, or all."""
        return self[start:stop]

    def part(self, rows: range) -> Part:
        """Consecutive rows for whoever computes with them, in this process or in another."""
        return Part(self.source, rows)

    @property
    def in_memory(self) -> bool:
        """Whether there are so few, or so small ones, that all are held."""
        return not isinstance(self.source, Decoded)

    @property
    def pixels(self) -> np.ndarray:
        """All of them, uint8 (N, H, W, C), or of clips (N, T, H, W, C)."""
        return self.source.pixels(range(len(self)))

    def kept(self) -> Samples:
        """The same with all pixels in memory, for what takes them more than once."""
        return replace(self, source=Kept.of(self.pixels))

    def tensor(self) -> Tensor:
        """All of them, as they are trained on: uint8 (N, C, H, W), or of clips (N, C, T, H, W)."""
        return torch.from_numpy(self.pixels).movedim(-1, 1).contiguous()

    def tensors(self) -> tuple[Tensor, Tensor]:
        """`tensor`, and the labels (N,). Raises InputError where there are none."""
        if self.labels is None:
            raise InputError(f"{self.name!r} has no labels to train on.")
        return self.tensor(), self.labels

    def at(
        self, rows: Sequence[int], size: tuple[int, int], resize: int | tuple[int, int] | None, kind: str
    ) -> Tensor:
        """Images (n, C, H, W) of some `rows` at another `size` (H, W), read again.

        `resize` is the shorter side before the crop, or both, and `kind` the interpolation, as in
        `images.fit`.
        """
        assert self.decode_at is not None
        pixels = [self.decode_at(self.index[row], size, resize, kind) for row in rows]
        return from_bytes(np.stack(pixels))

    def take(self, rows: Sequence[int]) -> Samples:
        """The same, restricted to some rows."""
        rows = list(rows)
        return replace(
            self,
            files=tuple(self.files[i] for i in rows),
            index=tuple(self.index[i] for i in rows),
            keys=tuple(self.keys[i] for i in rows),
            source=self.source.take(rows),
            labels=None if self.labels is None else self.labels[rows],
            views=None if self.views is None else self.views.take(rows),
        )

    def chosen(self, rows: Sequence[int]) -> Samples:
        """Some rows as data of their own, with a checksum of their own: which they are decides results."""
        found = self.take(rows)
        return replace(found, sha256=hashlib.sha256(f"{self.sha256} {found.keys}".encode()).hexdigest())

    def labelled(self, labels: Tensor) -> Samples:
        """The same with other labels (N,). Raises InputError for another number, and for no class numbers."""
        if labels.shape != (len(self),) or labels.is_floating_point() or labels.is_complex():
            got = f"{tuple(labels.shape)} of {labels.dtype}"
            raise InputError(f"Labels are class numbers, one for each of {len(self)} images; got {got}.")
        return replace(self, labels=labels.to(torch.int64))

    @classmethod
    def of(cls, images: Tensor, labels: Tensor | None = None, name: str = "images") -> Samples:
        """`images` (N, C, H, W) in [0, 1] and labels (N,) of one's own, called `name`. Raises InputError.

        They are brought to the 8-bit grid, on which files lie; where that changes any, a remark says so.
        """
        if isinstance(images, Tensor):
            images = without_rounding_errors(images.detach())
        check_images(images)
        remarks = {}
        if (off := off_grid(images)).any():
            images, count = torch.where(off, rounded(images), images), int(off.flatten(1).any(1).sum())
            remarks["rounded"] = (
                f"{count} of {len(images)} images were not on the 8-bit grid of files; all that is computed, "
                "judged and shown is of the images rounded to it"
            )
        found = cls(
            name=name,
            files=tuple(f"{name}[{i}]" for i in range(len(images))),
            index=tuple(range(len(images))),
            keys=tuple(fingerprints(images)),
            source=Given(images),
            labels=None,
            sha256=hashlib.sha256(_content(images)).hexdigest(),
            remarks=remarks,
        )
        return found if labels is None else found.labelled(labels)

    @classmethod
    def of_pixels(
        cls,
        pixels: np.ndarray,
        labels: Tensor | None = None,
        *,
        name: str,
        files: Sequence[str] | None = None,
        class_names: tuple[str, ...] | None = None,
        sha256: str | None = None,
        keys: Sequence[int] | None = None,
    ) -> Samples:
        """Pixels in memory, uint8 (N, H, W, C), or clips (N, T, H, W, C), called `name`.

        `sha256` and `keys` (N,) are of the pixels unless they are given.
        """
        return cls(
            name=name,
            files=tuple(f"{name}[{i}]" for i in range(len(pixels))) if files is None else tuple(files),
            index=tuple(range(len(pixels))),
            keys=tuple((fingerprint(one.tobytes()) for one in pixels) if keys is None else keys),
            source=Kept.of(pixels),
            labels=labels,
            sha256=hashlib.sha256(pixels.tobytes()).hexdigest() if sha256 is None else sha256,
            class_names=class_names,
        )

    def describe(self) -> dict[str, object]:
        """The `data` field of run.json."""
        facts: dict[str, object] = {"name": self.name, "n": len(self), "sha256": self.sha256}
        if self.skipped:
            facts["skipped"] = list(self.skipped)
        if self.matching is not None:
            facts["classes"] = f"matched {self.matching.sentence}"
        return facts | dict(self.remarks)

    def said(self) -> dict[str, str]:
        """What a reader is told of the data: what was found out or guessed, in sentences."""
        skipped = {"left out": f"{len(self.skipped)} that cannot be read"} if self.skipped else {}
        classes = {"classes": str(self.describe()["classes"])} if self.matching is not None else {}
        return classes | dict(self.remarks) | skipped


def _content(images: Tensor) -> bytes:
    """The bytes of a tensor."""
    return images.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
