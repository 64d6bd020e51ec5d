"""Is the answer to the same image always the same?

A few asks at the opening (`batch_dependence`) find a network that answers at random most of the time. One
that does so rarely shows itself later: by an image that is answered otherwise than before. Then it is asked
again and again about the same images; where any answer moves, nothing that one ask says can be believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ostrich.errors import InputError
from ostrich.models.answers import predictions
from ostrich.runtime.deadline import in_its_own_time

if TYPE_CHECKING:
    from ostrich.models.classifier import Classifier

ASKS = 100  # at most: an answer that is another one in 20 times escapes them once in 170 runs
IMAGES = 16  # that are asked about together
SAME = 1e-5  # of the largest score: the same batch is answered alike to a few last bits


class RandomAnswers(InputError):
    """Answers that one ask was believed of, and that are others when asked again."""


def refuse_other_answers(classifier: Classifier, images: Tensor, what: str) -> None:
    """Refuse, by RandomAnswers, a network whose answers to images (n, C, H, W) are not always the same.

    `what` is how that was noticed, the beginning of a sentence. Nothing is known, and nothing asked, where
    answers are drawn several times anyway or depend on the neighbours.
    """
    if not len(images) or classifier.draws > 1 or classifier.neighbours is not None:
        return
    asks, turned = _until_they_move(classifier, images[:IMAGES])
    if asks:
        raise RandomAnswers(
            f"{what}: the answers of {classifier.name} are random, or change from call to call. Asked "
            f"{asks} times about the same images, it gave other scores, and to {turned} of "
            f"{len(images[:IMAGES])} another class. Let each answer be drawn 20 times, of which 16 have to "
            "fool: --draws 20 (in Python: ostrich.load(network, draws=20))."
        )


def _until_they_move(classifier: Classifier, images: Tensor) -> tuple[int, int]:
    """After how many asks any score moved, 0 where none did, and the images with another class then."""
    with in_its_own_time():
        first = classifier.predict(images)
        for asks in range(2, ASKS + 1):
            again = classifier.predict(images)
            if moved(first, again, SAME).any():
                return asks, int((predictions(again) != predictions(first)).sum())
    return 0, 0


def moved(first: Tensor, again: Tensor, part: float) -> Tensor:
    """Which answers (n,) to the same images differ, by more than a part of the largest score of (n, K)."""
    same = (again == first) | (again.isnan() & first.isnan())
    largest = first.abs().masked_fill(~first.isfinite(), 0).amax() if len(first) else 0.0
    return (~same & ~((again - first).abs() <= part * largest)).any(1)
