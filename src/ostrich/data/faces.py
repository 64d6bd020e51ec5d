"""Faces without a download: scikit-image's hundred, and its astronaut.

`faces` is scikit-image's `lfw_subset`: 100 faces and 100 pictures of what is none, 25x25, grey, cut from
Labeled Faces in the Wild (Huang, Ramesh, Berg, Learned-Miller 2007). A picture is brought to 100 pixels
and gets a border of 20, its own edge repeated, so that a detector has room around the face: OpenCV's
default frontal cascade then finds 99 of the 100 faces and none of the 100 others (at scaleFactor 1.05
and minNeighbors 2). Half of each, by a fixed seed, is the test split.

`face-windows` is what a sliding detector learns from, 24x24, grey: every fourth window a face of the
split, turned, moved, of changed size and light; the others are non-faces, faces in the wrong place or
size, and pieces of photographs and toybox scenes, of which the splits have different ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ostrich.data import toyscenes
from ostrich.data.dataset import Dataset
from ostrich.data.split import subset
from ostrich.errors import UnknownName
from ostrich.images import as_rgb, from_bytes
from ostrich.runtime.randomness import keyed
from ostrich.warping import warp

CLASS_NAMES = ("face", "background")
FACES = 100  # the first hundred of the file; a hundred others follow
ENLARGED, BORDER = 100, 20  # pixels
SIDE = ENLARGED + 2 * BORDER
BOX = (17.0, 19.0, 92.0)  # left, top, side: the median box of OpenCV's default frontal cascade
SPLIT_SEED = 0  # fixed: the zoo's detector has seen the rest
SPLITS = ("train", "test")

WINDOW = 24  # pixels, what Viola and Jones 2004 take for the smallest face
WINDOWS = {"train": 64_000, "test": 4_000}
OVERSAMPLED = 4  # a window is resampled at so many times its pixels, and averaged
PHOTOGRAPHS = {
    "train": (
        *("brick", "cell", "chelsea", "clock", "coins", "gravel", "horse"),
        *("hubble_deep_field", "immunohistochemistry", "moon", "text"),
    ),
    "test": ("coffee", "grass", "page", "rocket"),
}


def faces(split: str) -> Dataset:
    """The split "train" or "test", 50 faces and 50 others each; or "astronaut". Raises UnknownName."""
    if split == "astronaut":
        return astronaut()
    if split not in SPLITS:
        raise UnknownName("split of the faces", split, (*SPLITS, "astronaut"))
    pixels, rows = stored(), split_rows(split)
    labels = [int(row >= FACES) for row in rows]
    return Dataset(
        name=f"faces:{split}",
        files=[f"{split}/{CLASS_NAMES[label]}-{row:03d}" for row, label in zip(rows, labels, strict=True)],
        read=lambda i: Image.fromarray(enlarged(pixels[rows[i]])).convert("RGB"),
        content=lambda i: pixels[rows[i]].tobytes(),
        labels=labels,
        class_names=CLASS_NAMES,
        size=(SIDE, SIDE),
    )


def astronaut() -> Dataset:
    """One photograph, 512x512, in colour: Eileen Collins (NASA)."""
    from skimage import data

    return Dataset(
        name="faces:astronaut",
        files=["astronaut"],
        read=lambda i: Image.fromarray(data.astronaut()),
        content=lambda i: data.astronaut().tobytes(),
        size=(512, 512),
    )


@cache
def stored() -> np.ndarray:
    """The pictures as they are, uint8 (200, 25, 25)."""
    from skimage import data

    return np.round(data.lfw_subset() * 255).astype(np.uint8)


def split_rows(split: str) -> list[int]:
    """Which of the 200 pictures a split holds, in order."""
    labels = [int(row >= FACES) for row in range(2 * FACES)]
    test = subset(labels, len(labels), FACES, SPLIT_SEED)
    return test if split == "test" else sorted(set(range(len(labels))) - set(test))


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """A picture (25, 25) at 100 pixels with its border, uint8 (140, 140)."""
    large = Image.fromarray(pixels).resize((ENLARGED, ENLARGED), Image.Resampling.BILINEAR)
    return np.pad(np.asarray(large), BORDER, mode="edge")


# Windows ----------------------------------------------------------------------------------------


def face_windows(split: str) -> Dataset:
    """The split "train" (64,000 windows) or "test" (4,000), rendered when read. Raises UnknownName."""
    if split not in SPLITS:
        raise UnknownName("split of the face windows", split, SPLITS)
    count = WINDOWS[split]
    return Dataset(
        name=f"face-windows:{split}",
        files=[f"{split}/{i:05d}" for i in range(count)],
        read=lambda i: Image.fromarray(window(split, i)).convert("RGB"),
        content=lambda i: window(split, i).tobytes(),
        labels=[int(i % 4 != 0) for i in range(count)],
        class_names=CLASS_NAMES,
        size=(WINDOW, WINDOW),
    )


def window(split: str, number: int) -> np.ndarray:
    """Window `number` of a split, uint8 (24, 24): always the same one."""
    draw = keyed(SPLITS.index(split), number)
    own, others, photographs, scenes = _material(split)
    kind = number % 8
    if kind in (0, 4):
        found = _cut(_any(own, draw), _near(draw), draw)
    elif kind in (1, 5):
        found = _cut(_any(own, draw), _misplaced(draw), draw)
    elif kind in (2, 6):
        found = _cut(_any(photographs, draw), _anywhere, draw)
    else:
        found = _cut(_any(others if kind == 3 else scenes, draw), _anywhere, draw)
    gain, offset, grain = _uniform(draw, 3).tolist()
    found = (found - 0.5) * (1 + 0.4 * gain) + 0.5 + 0.15 * offset
    noise = torch.randn(WINDOW, WINDOW, generator=draw) * 0.015 * (1 + grain)
    return (found + noise).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()


Place = Callable[
    [Tensor, torch.Generator], tuple[float, float, float, float]
]  # centre, side, tilt in degrees


def _cut(picture: Tensor, place: Place, draw: torch.Generator) -> Tensor:
    """The square (24, 24) of a grey picture (H, W) that `place` says, mirrored every other time."""
    x, y, side, tilt = place(picture, draw)
    mirror = -1.0 if torch.rand(1, generator=draw).item() < 0.5 else 1.0
    fine = WINDOW * OVERSAMPLED
    matrix = square(picture.shape, x, y, side, tilt) @ torch.diag(torch.tensor([mirror, 1.0, 1.0]))
    seen = warp(picture[None, None], matrix[None], size=(fine, fine))
    return avg_pool2d(seen, OVERSAMPLED)[0, 0]


def square(shape: torch.Size, x: float, y: float, side: float, tilt: float) -> Tensor:
    """The matrix (3, 3) of `warp` that shows the square of `side` about (x, y), in pixels, turned."""
    height, width = shape
    size, angle = side / min(height, width), math.radians(tilt)
    left, top = (2 * x - width) / min(height, width), (2 * y - height) / min(height, width)
    turn, lean = size * math.cos(angle), size * math.sin(angle)
    return torch.tensor([[turn, -lean, left], [lean, turn, top], [0.0, 0.0, 1.0]])


def _near(draw: torch.Generator) -> Place:
    """The face's own box, by a little off."""
    across, down, size, tilt = _uniform(draw, 4).tolist()

    def place(picture: Tensor, draw: torch.Generator) -> tuple[float, float, float, float]:
        left, top, side = BOX
        middle = side / 2
        x, y = left + middle + 0.06 * side * across, top + middle + 0.06 * side * down
        return x, y, side * math.exp(0.12 * size), 15 * tilt

    return place


def _misplaced(draw: torch.Generator) -> Place:
    """On a face, but far too small, too large, beside it, or turned by a quarter and more."""
    kind = int(torch.randint(4, (1,), generator=draw))
    across, down, size, tilt = _uniform(draw, 4).tolist()

    def place(picture: Tensor, draw: torch.Generator) -> tuple[float, float, float, float]:
        left, top, side = BOX
        x, y = left + side / 2, top + side / 2
        if kind == 0:
            small = side * (0.45 + 0.2 * size)
            return x + (side - small) / 2 * across, y + (side - small) / 2 * down, small, 15 * tilt
        if kind == 1:
            return x + 30 * across, y + 30 * down, side * (1.9 + 0.4 * size), 15 * tilt
        if kind == 2:
            far, way = side * (0.5 + 0.2 * size), math.pi * across
            return x + far * math.cos(way), y + far * math.sin(way), side * (1 + 0.2 * down), 15 * tilt
        return x, y, side * (1 + 0.2 * size), 180 + 90 * tilt

    return place


def _anywhere(picture: Tensor, draw: torch.Generator) -> tuple[float, float, float, float]:
    """A square somewhere inside, of any size from a window's up."""
    height, width = picture.shape
    across, down, size, tilt = torch.rand(4, generator=draw).tolist()
    side = WINDOW * (min(height, width) / WINDOW) ** size
    x, y = side / 2 + (width - side) * across, side / 2 + (height - side) * down
    return x, y, side, 30 * (2 * tilt - 1)


@cache
def _material(split: str) -> tuple[list[Tensor], ...]:
    """Grey pictures (H, W) in [0, 1] of four kinds: faces, non-faces, photographs, toybox scenes."""
    from skimage import data

    rows = split_rows(split)
    pictures = {row: _grey(Image.fromarray(enlarged(stored()[row]))) for row in rows}
    photographs = [_grey(as_rgb(Image.fromarray(getattr(data, name)()))) for name in PHOTOGRAPHS[split]]
    scenes = toyscenes.test_images().images[SPLITS.index(split) :: 2]
    own = [pictures[row] for row in rows if row < FACES]
    others = [pictures[row] for row in rows if row >= FACES]
    return own, others, photographs, [_grey(Image.fromarray(scene)) for scene in scenes]


def _grey(picture: Image.Image) -> Tensor:
    return from_bytes(np.asarray(picture.convert("L"))[..., None])[0]


def _any(pictures: list[Tensor], draw: torch.Generator) -> Tensor:
    return pictures[int(torch.randint(len(pictures), (1,), generator=draw))]


def _uniform(draw: torch.Generator, count: int) -> Tensor:
    """Numbers in [-1, 1)."""
    return 2 * torch.rand(count, generator=draw) - 1
