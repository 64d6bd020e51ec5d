"""`detector:viola-jones`: OpenCV's default frontal cascade of Haar features (extra `faces`).

Viola and Jones 2004, "Robust real-time face detection". scaleFactor 1.05 and minNeighbors 2: of
scikit-image's faces it finds 99 of 100, and nothing in the 100 others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ostrich.errors import MissingExtra
from ostrich.models.detectors.detector import Box, Picture, digest_of

FILE = "haarcascade_frontalface_default.xml"
FACTOR, NEIGHBOURS = 1.05, 2
COARSE = 1.15  # between sizes, where only the strength is asked for
NEAR = (0.3, 1.4)  # times the face's side: the sizes that strength looks at


class ViolaJones:
    """The cascade; it computes on one thread, so that windows are grouped in one order."""

    name = "viola-jones"
    source = "OpenCV's default frontal cascade, after Viola and Jones 2004"
    settings = f"scaleFactor {FACTOR}, minNeighbors {NEIGHBOURS}"

    def __init__(self) -> None:
        self._cv2 = cv2 = _opencv()
        self.file = Path(cv2.data.haarcascades) / FILE
        self.cascade = cv2.CascadeClassifier(str(self.file))

    def boxes(self, picture: Picture) -> list[Box]:
        with self._one_thread():
            found, _, weights = self.cascade.detectMultiScale3(
                picture, FACTOR, NEIGHBOURS, outputRejectLevels=True
            )
        return [
            Box(float(x), float(y), float(side), float(weight))
            for (x, y, side, _), weight in zip(found, weights)
        ]

    def strength(self, picture: Picture, side: float) -> float:
        """log(1 + windows), all those that pass, before they are grouped."""
        smallest, largest = (round(side * part) for part in NEAR)
        with self._one_thread():
            found = self.cascade.detectMultiScale(
                picture, COARSE, 0, minSize=(smallest, smallest), maxSize=(largest, largest)
            )
        return math.log1p(len(found))

    def digest(self) -> str:
        return digest_of(self.file, self.settings)

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        before = self._cv2.getNumThreads()
        self._cv2.setNumThreads(1)
        try:
            yield
        finally:
            self._cv2.setNumThreads(before)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingExtra(
            "detector:viola-jones needs OpenCV, which is not installed: pip install 'ostrich-vision[faces]'."
        ) from None
    return cv2
