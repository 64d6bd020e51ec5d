"""`detector:cnn`: a small convolutional network slid over the picture at many sizes.

The network is `zoo:face-cnn`, trained here on the train split of scikit-image's faces. A picture is
brought to many sizes, a sixth apart; at each the network scores windows of 24 pixels, two pixels apart,
in one pass. Windows above the threshold are faces, the surest first, and those that overlap a surer one
by 30 % of their union are dropped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.models.classifier import Classifier
from ostrich.models.detectors.detector import Box, Picture
from ostrich.models.face_cnn import STRIDE, WINDOW, FaceCNN
from ostrich.models.untouched import untouched

FACTOR = 7 / 6  # between sizes
THRESHOLD = 3.0  # of the face's logit above the other's
OVERLAP = 0.3  # of the union, above which the less sure one is dropped
NEAR = (0.3, 1.4)  # times the face's side: the sizes that strength looks at


class SlidingCNN:
    """The network as a detector; its confidence is a difference of logits."""

    name = "cnn"
    source = "zoo:face-cnn, slid over the picture"
    settings = f"threshold {THRESHOLD}, sizes {FACTOR:.3f} apart"

    def __init__(self, classifier: Classifier | None = None) -> None:
        if classifier is None:
            from ostrich.models.loading import load

            classifier = load("zoo:face-cnn", device="cpu")
        self.classifier = classifier

    def boxes(self, picture: Picture) -> list[Box]:
        found = [
            box for box in self._windows(picture, WINDOW, min(picture.shape)) if box.confidence > THRESHOLD
        ]
        found.sort(key=lambda box: -box.confidence)
        kept: list[Box] = []
        for box in found:
            if all(_union(box, other) <= OVERLAP for other in kept):
                kept.append(box)
        return kept

    def strength(self, picture: Picture, side: float) -> float:
        """How far the surest window is above the threshold, in logits."""
        smallest, largest = (side * part for part in NEAR)
        scores = [scores.max().item() for scores, _ in self._scores(picture, smallest, largest)]
        return max(scores, default=-THRESHOLD) - THRESHOLD

    def digest(self) -> str:
        return self.classifier.digest()

    def _windows(self, picture: Picture, smallest: float, largest: float) -> list[Box]:
        """The windows above the threshold."""
        found = []
        for scores, scale in self._scores(picture, smallest, largest):
            for row, column in (scores > THRESHOLD).nonzero().tolist():
                left, top = column * STRIDE / scale, row * STRIDE / scale
                found.append(Box(left, top, WINDOW / scale, scores[row, column].item()))
        return found

    @torch.no_grad()
    def _scores(self, picture: Picture, smallest: float, largest: float) -> list[tuple[Tensor, float]]:
        """Scores (h, w) of windows, and the size of the picture in which they are 24 pixels wide."""
        network = self.classifier.network
        assert isinstance(network, FaceCNN), "the detector's network scores windows"
        image = torch.tensor(picture).float().div(255)[None, None]
        image = image.to(self.classifier.device)
        found, side = [], max(float(WINDOW), smallest)
        with untouched(network):
            while side <= min(largest, *picture.shape):
                size = [max(WINDOW, round(length * WINDOW / side)) for length in picture.shape]
                small = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
                logits = network.windows(self.classifier.normalised(small))[0]
                found.append((logits[0] - logits[1], WINDOW / side))
                side *= FACTOR
        return found


def _union(a: Box, b: Box) -> float:
    """The part of their union that two boxes have in common."""
    across = max(0.0, min(a.left + a.side, b.left + b.side) - max(a.left, b.left))
    down = max(0.0, min(a.top + a.side, b.top + b.side) - max(a.top, b.top))
    common = across * down
    return common / (a.side**2 + b.side**2 - common)
