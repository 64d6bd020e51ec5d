"""A face detector: from a grey picture to the boxes of faces, and to one number that says how surely.

Boxes are squares from the brows' upper edge to the chin, as Viola and Jones draw them; all detectors here
draw them so (on scikit-image's faces their median boxes agree within a pixel of 92).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ostrich.images import picture as to_picture

Picture = np.ndarray  # uint8 (H, W), grey


@dataclass(frozen=True)
class Box:
    """A face: the left and upper edge and the side of its square, in pixels, and how surely it is one."""

    left: float
    top: float
    side: float
    confidence: float = 1.0

    def overlaps(self, other: Box) -> bool:
        """Whether the squares have anything in common."""
        across = min(self.left + self.side, other.left + other.side) - max(self.left, other.left)
        down = min(self.top + self.side, other.top + other.side) - max(self.top, other.top)
        return across > 0 and down > 0


@runtime_checkable
class Detector(Protocol):
    """Finds faces. `settings` is what it is asked with, for the record."""

    name: str
    source: str
    settings: str

    def boxes(self, picture: Picture) -> list[Box]:
        """The faces in a picture, of any size from 24 pixels up."""

    def strength(self, picture: Picture, side: float) -> float:
        """A number that falls as a face of about `side` pixels is found less surely; what attacks follow."""

    def digest(self) -> str:
        """A checksum of what it computes."""


def grey(image: Tensor) -> Picture:
    """One image (C, H, W) in [0, 1] as a detector takes it: grey as Pillow and OpenCV make it."""
    return np.asarray(to_picture(image).convert("L"))


def digest_of(file: Path, settings: str) -> str:
    """The `digest` of a detector that is all in a file, asked with these settings."""
    return hashlib.sha256(file.read_bytes() + settings.encode()).hexdigest()[:16]
