"""The chosen pictures of a data set at a network's size, with labels in its numbering."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from ostrich.data.dataset import Dataset, Samples
from ostrich.data.elsewhere import Form, Stored
from ostrich.data.looking import Wanted, look
from ostrich.data.matching import Names, match_classes
from ostrich.data.mesh_views import Views
from ostrich.data.sources import MOST_KEPT, Decoded, Kept
from ostrich.data.split import subset
from ostrich.data.walking import unused_sentence
from ostrich.errors import InputError
from ostrich.images import to_bytes
from ostrich.runtime.events import detail

if TYPE_CHECKING:
    from ostrich.models.classifier import Classifier

DECODED_FIRST = 2048  # of images that are not kept: enough to meet every kind of file, in seconds


def load_for(
    dataset: Dataset,
    classifier: Classifier,
    *,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> Samples:
    """As `load`, at the classifier's size and by its preprocessing, with labels matched to its classes."""
    assert classifier.size is not None
    return load(
        dataset,
        size=classifier.size,
        resize=classifier.resize,
        interpolation=classifier.interpolation,
        channels=classifier.channels,
        class_names=classifier.class_names,
        num_classes=classifier.num_classes,
        limit=limit,
        seed=seed,
        skip_bad=skip_bad,
    )


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
    """Read the chosen pictures of `dataset` at (H, W) = `size`, in 8 bits.

    `resize` and `interpolation` are as in `fit`; `channels` are those that the network takes: 1, 3, or as
    many as the data have.

    `limit` is a choice by position (`split.subset`): it is made before any file is read. `class_names` and
    `num_classes` are the classifier's, to which the labels are matched; without both they stay the data's.

    Each image is decoded once, to find those that are unreadable before anything is computed; of more than
    are kept in memory DECODED_FIRST, evenly spread, unless `skip_bad` asks for all.
    Raises UnreadableImage unless `skip_bad`, InputError where nothing is left.
    """
    chosen = subset(dataset.labels, len(dataset), limit, seed)
    if dataset.views is not None:
        return replace(_drawn(dataset, dataset.views(chosen, size, channels), class_names), limit=limit)
    one_at_a_time = Lock()  # what somebody's function reads need not bear threads
    form, lying = Form(size, resize, interpolation, channels), dataset.lying

    def decode_at(
        i: int, size: tuple[int, int], resize: int | tuple[int, int] | None, interpolation: str
    ) -> np.ndarray:
        with one_at_a_time:
            picture = dataset.read(i)
        return Form(size, resize, interpolation, channels).pixels(picture, dataset.files[i])

    def decode(i: int) -> np.ndarray:
        return decode_at(i, size, resize, interpolation)

    def stored(places: Sequence[int], keys: tuple[int, ...]) -> Stored:
        assert lying is not None
        return Stored(form, lying(places), keys)

    keep = len(chosen) * size[0] * size[1] * channels <= MOST_KEPT
    skip_bad = skip_bad or dataset.skip_bad
    tried = frozenset(chosen if skip_bad or keep else _spread(chosen, DECODED_FIRST))
    seen = look(dataset, chosen, Wanted(form=form, tried=tried, keep=keep, skip_bad=skip_bad))
    kept = seen.indices
    if not kept:
        raise InputError(f"{dataset.name} holds no readable image.")
    detail(f"data {dataset.name}: {len(kept)} of {len(dataset)} images, read at {size[0]}x{size[1]}")
    matching = None
    for_a_network = class_names is not None or num_classes is not None or dataset.class_map is not None
    if dataset.labels is not None and for_a_network:
        matching = match_classes(dataset.class_names or (), class_names, num_classes, dataset.class_map)
    labels = None
    if dataset.labels is not None:
        numbers = [dataset.labels[i] for i in kept]
        labels = torch.tensor(numbers if matching is None else [matching.classes[k] for k in numbers])
    remarks = {**dataset.remarks, "unused": unused_sentence(dataset.unused)}
    if dataset.levels is not None:
        dataset.levels.check(dataset.name)
        remarks["range"] = dataset.levels.remark()
    if matching is not None and matching.same and dataset.levels is None:
        matching = None  # data of our own with its own names: nothing was matched
    index, numbers_of_content, readable = tuple(kept), tuple(seen.keys), set(kept)
    elsewhere = None if lying is None else stored
    return Samples(
        name=dataset.name,
        files=tuple(dataset.files[i] for i in kept),
        index=index,
        keys=numbers_of_content,
        source=Kept(np.stack(seen.pixels)) if keep else Decoded(decode, index, numbers_of_content, elsewhere),
        labels=labels,
        sha256=seen.checksum.hex(),
        skipped=tuple(dataset.files[i] for i in chosen if i not in readable),
        words=dataset.words,
        limit=limit,
        class_names=dataset.class_names,
        matching=matching,
        unused=dataset.unused,
        decode_at=decode_at,
        remarks={what: sentence for what, sentence in remarks.items() if sentence},
    )


def _spread(chosen: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, evenly spread."""
    return [chosen[k * len(chosen) // count] for k in range(count)] if len(chosen) > count else list(chosen)


def _drawn(dataset: Dataset, views: Views, class_names: Sequence[str] | None) -> Samples:
    """Views of a mesh; its label is the class of its name, where the classifier has that."""
    checksum = hashlib.sha256()
    for i in views.numbers:
        checksum.update(dataset.content(i))
    found = Names(class_names or ()).places((dataset.class_names or ("",))[0])
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
