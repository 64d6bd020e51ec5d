"""What a data set is, which part of it a command takes, and how it meets a classifier.

A `Dataset` knows its pictures by index and reads them one at a time; `split.subset` chooses
indices; `load` brings the chosen ones to the classifier's size in 8 bits, with labels in the
classifier's own numbering, as `Samples`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.data.matching import match_classes, places, plain
from ostrich.data.sources import MOST_KEPT, Decoded, Given, Kept, Source
from ostrich.data.split import subset
from ostrich.errors import InputError, UnreadableImage
from ostrich.images import check_images, fingerprint, fingerprints, fit, fit_array, to_bytes
from ostrich.runtime.events import detail

if TYPE_CHECKING:
    from ostrich.data.views import Views


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Pictures with or without labels.

    `read(i)` is the RGB picture i (UnreadableImage if it is damaged), or bytes (H, W, C) where it has other
    than 1 or 3 channels; `content(i)` the bytes that its checksum is taken of; `labels` index `class_names`;
    `size` is the pictures' common (H, W) where they have one; `words` the DATA that named them. Those of a
    mesh are drawn at any size by `views(indices, (H, W), channels)`.
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

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """The chosen pictures, or clips, as a network sees them.

    `source` gives their pixels, batch by batch; `labels` int64 (N,) in the classifier's numbering, or None;
    `index` the position of each in its data set; `keys` a number of the content of each, of its file where
    it has one, of a mesh's views which view it is: what is held out is chosen by them (`split.py`);
    `skipped` the files that could not be read; `views`, of a mesh, what else is known of the pictures;
    `words` the DATA that named them, as typed, `limit` the most that were asked for, and `class_names` those
    of the data.
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

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: slice) -> Tensor:
        """Images (n, C, H, W), or clips (n, C, T, H, W), in [0, 1] of consecutive rows, as of a tensor."""
        return self.source.images(range(*rows.indices(len(self))))

    def images(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Images (n, C, H, W), or clips (n, C, T, H, W), in [0, 1]."""
        return self[start:stop]

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

    def labelled(self, labels: Tensor) -> Samples:
        """The same with other labels (N,). Raises InputError for another number, and for no class numbers."""
        if labels.shape != (len(self),) or labels.is_floating_point() or labels.is_complex():
            got = f"{tuple(labels.shape)} of {labels.dtype}"
            raise InputError(f"Labels are class numbers, one for each of {len(self)} images; got {got}.")
        return replace(self, labels=labels.to(torch.int64))

    @classmethod
    def of(cls, images: Tensor, labels: Tensor | None = None, name: str = "images") -> Samples:
        """Images (N, C, H, W) in [0, 1] and labels (N,) of one's own. Raises InputError."""
        check_images(images)
        found = cls(
            name=name,
            files=tuple(f"{name}[{i}]" for i in range(len(images))),
            index=tuple(range(len(images))),
            keys=tuple(fingerprints(images)),
            source=Given(images),
            labels=None,
            sha256=hashlib.sha256(_content(images)).hexdigest(),
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
        """Pixels in memory, uint8 (N, H, W, C), or clips (N, T, H, W, C).

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
        return facts


def _content(images: Tensor) -> bytes:
    """The bytes of a tensor."""
    return images.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def load(
    dataset: Dataset,
    *,
    size: tuple[int, int],
    resize: int | tuple[int, int] | None = None,
    interpolation: str = "bilinear",
    channels: int = 3,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> Samples:
    """Read the chosen pictures at (H, W) = `size`, in 8 bits; `resize` and `interpolation` as in `fit`.

    `limit` is a choice by position (`split.subset`): it is made before any file is read. `class_names` and
    `num_classes` are the classifier's, to which the labels are matched.
    Raises UnreadableImage unless `skip_bad`, InputError where nothing is left.
    """
    chosen = subset(dataset.labels, len(dataset), limit, seed)
    if dataset.views is not None:
        return replace(_drawn(dataset, dataset.views(chosen, size, channels), class_names), limit=limit)

    def decode(i: int) -> np.ndarray:
        picture = dataset.read(i)
        _check_channels(picture, channels, dataset.files[i])
        if isinstance(picture, np.ndarray):
            return fit_array(picture, size, resize, interpolation)
        fitted = fit(picture, size, resize, interpolation)
        return np.asarray(fitted.convert("L"))[..., None] if channels == 1 else np.asarray(fitted)

    keep = len(chosen) * size[0] * size[1] * channels <= MOST_KEPT
    checksum = hashlib.sha256()
    kept, keys, skipped, pixels = [], [], [], []
    for i in chosen:
        try:
            found = decode(i)
        except UnreadableImage:
            if not skip_bad:
                raise
            skipped.append(dataset.files[i])
            continue
        pixels += [found] if keep else []
        content = dataset.content(i)
        checksum.update(content)
        keys.append(fingerprint(content))
        kept.append(i)
    if not kept:
        raise InputError(f"{dataset.name} holds no readable image.")
    detail(f"data {dataset.name}: {len(kept)} of {len(dataset)} images, read at {size[0]}x{size[1]}")
    labels = None
    if dataset.labels is not None:
        translate = match_classes(dataset.class_names, class_names, num_classes)
        labels = torch.tensor([translate[dataset.labels[i]] for i in kept])
    return Samples(
        name=dataset.name,
        files=tuple(dataset.files[i] for i in kept),
        index=tuple(kept),
        keys=tuple(keys),
        source=Kept(np.stack(pixels)) if keep else Decoded(decode, tuple(kept)),
        labels=labels,
        sha256=checksum.hexdigest(),
        skipped=tuple(skipped),
        words=dataset.words,
        limit=limit,
        class_names=dataset.class_names,
    )


def _check_channels(picture: Image.Image | np.ndarray, channels: int, file: str) -> None:
    """Refuse, by an InputError, an image of other channels than the network takes."""
    shape = picture.shape if isinstance(picture, np.ndarray) else (picture.height, picture.width, 3)
    if shape[2] == channels or (shape[2] == 3 and channels == 1):
        return
    turned = " Its first axis has as many: an array is (H, W, C)." if shape[0] == channels else ""
    raise InputError(f"The network takes {channels} channels; {file!r} has {shape[2]}.{turned}")


def _drawn(dataset: Dataset, views: Views, class_names: Sequence[str] | None) -> Samples:
    """Views of a mesh; its label is the class of its name, where the classifier has that."""
    checksum = hashlib.sha256()
    for i in views.numbers:
        checksum.update(dataset.content(i))
    found = places(class_names)[plain((dataset.class_names or ("",))[0])]
    return Samples(
        name=dataset.name,
        files=tuple(dataset.files[i] for i in views.numbers),
        index=views.numbers,
        keys=views.numbers,
        source=Kept(to_bytes(views.untouched)),
        labels=torch.tensor(found * len(views)) if len(found) == 1 else None,
        sha256=checksum.hexdigest(),
        views=views,
        words=dataset.words,
        class_names=dataset.class_names,
    )
