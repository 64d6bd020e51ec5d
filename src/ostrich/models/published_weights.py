"""Which of the weights that torchvision publishes for a network a file holds, or most likely follows.

They can differ in how images are prepared: resnet50's shorter side becomes 256 for IMAGENET1K_V1 and 232 for
V2, and vit_b_16 takes 224 pixels or, of SWAG, 384. A file is known by the first 8 digits of its SHA-256,
which stand in the published name; else by that name; else, of a vision transformer, by its number of
positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ostrich.models.checkpoints import Checkpoint
from ostrich.runtime.files import checksum


def followed(entries: Iterable[Any], default: Any, checkpoint: Checkpoint | None, side: int | None) -> Any:
    """The entry of torchvision's whose preprocessing is taken, and by what, in words; None: nothing to say.

    `entries` are a network's, `default` one of them, and `side` that of the images it is built for, where
    that is known.
    """
    choice = list(entries)
    if checkpoint is not None and len({_preparation(entry) for entry in choice}) > 1:
        digest, file = checksum(checkpoint.path), checkpoint.path.name
        for entry in choice:
            if digest.startswith(_digits(entry)):
                return entry, "whose file this is"
        for entry in choice:
            if _digits(entry) in file:
                return entry, "as the file's name says"
    fitting = [entry for entry in choice if entry.meta["min_size"] == (side, side)]
    if side is not None and fitting and default not in fitting:
        return fitting[0], f"which is for {side} pixels"
    others = [entry.name for entry in choice if _preparation(entry) != _preparation(default)]
    said = f"by default; that of {', '.join(others)} is another one" if others else None
    return default, said if checkpoint is not None else None


def side_of(checkpoint: Checkpoint | None) -> int | None:
    """The side of the images that a vision transformer in a file takes: a patch's, times those in a row."""
    shapes = {
        what: tuple(entry.value.shape)
        for entry in (checkpoint.entries.values() if checkpoint is not None else ())
        for what in ("encoder.pos_embedding", "conv_proj.weight")
        if entry.key.endswith(what)
    }
    positions, patches = shapes.get("encoder.pos_embedding", ()), shapes.get("conv_proj.weight", ())
    if len(positions) != 3 or len(patches) != 4 or positions[1] < 2:
        return None
    return patches[3] * math.isqrt(positions[1] - 1)  # and a position of the class token


def _preparation(entry: Any) -> tuple[Any, ...]:
    found = entry.transforms()
    crop, resize = tuple(found.crop_size), tuple(found.resize_size)
    return crop, resize, found.interpolation, tuple(found.mean), tuple(found.std)


def _digits(entry: Any) -> str:
    """resnet50-0676ba61.pth: the digits."""
    return str(entry.url).rpartition("-")[2].partition(".")[0]
