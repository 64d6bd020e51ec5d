"""`detector:lbp`: scikit-image's frontal cascade of local binary patterns.

Liao, Zhu, Lei, Zhang, Li 2007, "Learning multi-scale block local binary patterns for face recognition"; the
cascade is OpenCV's, read by scikit-image. At scale_factor 1.1 and min_neighbor_number 3 it finds 99 of
scikit-image's 100 faces, and something in one of the 100 others.
"""

from __future__ import annotations

import math
from pathlib import Path

from ostrich.models.detectors.detector import Box, Picture, digest_of

FACTOR, NEIGHBOURS = 1.1, 3
SMALLEST = 24  # pixels, the cascade's window
COARSE = 1.2  # between sizes, where only the strength is asked for
NEAR = (0.3, 1.4)  # times the face's side: the sizes that strength looks at
APART = 2.0  # an overlap that no two windows have, so that each stays by itself


class LocalBinaryPatterns:
    """The cascade. Its confidence is the number of windows: scikit-image tells none."""

    name = "lbp"
    source = "scikit-image's frontal cascade, after Liao et al. 2007"
    settings = f"scale_factor {FACTOR}, min_neighbor_number {NEIGHBOURS}"

    def __init__(self) -> None:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        self.file = Path(lbp_frontal_face_cascade_filename())
        self.cascade = Cascade(str(self.file))

    def boxes(self, picture: Picture) -> list[Box]:
        found = self.cascade.detect_multi_scale(
            picture,
            scale_factor=FACTOR,
            step_ratio=1,
            min_size=(SMALLEST, SMALLEST),
            max_size=picture.shape,
            min_neighbor_number=NEIGHBOURS,
        )
        return [Box(float(one["c"]), float(one["r"]), float(one["width"])) for one in found]

    def strength(self, picture: Picture, side: float) -> float:
        """log(1 + windows), all those that pass, before they are grouped."""
        smallest, largest = (round(side * part) for part in NEAR)
        found = self.cascade.detect_multi_scale(
            picture,
            scale_factor=COARSE,
            step_ratio=1,
            min_size=(smallest, smallest),
            max_size=(largest, largest),
            min_neighbor_number=1,
            intersection_score_threshold=APART,
        )
        return math.log1p(len(found))

    def digest(self) -> str:
        return digest_of(self.file, self.settings)
