"""Which of the usual preprocessings is the network right most often with?

`normalization` finds what is clearly wrong. Here are the smaller differences, that cost some points of
accuracy in silence: another of the usual normalisations, another way of resizing, another input size. All are
tried on the same labelled images, and what each reaches is told. One counts as better where McNemar's exact
test says so at 5 % for all that were tried of its kind together (Bonferroni), on at least one image in fifty,
and where it is not by saying the most frequent class. Other sizes are tried on 64 images, evenly spread.

Sources: the mean and deviation of ImageNet are those that torchvision publishes, of CIFAR-10 and MNIST those
of their training images; resize 256, crop 224 is the usual proportion for ImageNet (Krizhevsky 2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable, evenly_spread
from ostrich.diagnosis.normalization import IMAGENET, Numbers, close, normal
from ostrich.diagnosis.significance import clearly_better, p_value_text
from ostrich.errors import OstrichError

FAMILY = 0.05
GAIN = 0.02  # accuracy
PROPORTION = 256 / 224
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
MNIST = ((0.1307,), (0.3081,))
USUAL_SIZES = (28, 32, 48, 64, 96, 128, 160, 192, 224, 240, 256, 288, 299, 384)
FACTOR = 1.6  # sizes further away are not tried
AT_OTHER_SIZES = 64  # images
MOST_SIZES = 4  # the nearest


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A preprocessing in words and as options; labels (n,), predictions with it, and with what is in use."""

    words: str
    options: str
    labels: Tensor
    then: Tensor
    now: Tensor

    @property
    def accuracy(self) -> float:
        return float((self.then == self.labels).double().mean())

    @property
    def before(self) -> float:
        """The accuracy of what is in use, on the same images."""
        return float((self.now == self.labels).double().mean())


def others(model: ModelUnderTest) -> Iterator[Finding]:
    """The best normalisation, and the best way to the network's size, where they are better than in use."""
    if model.labels is None:
        raise NotApplicable("Without labels nothing tells which preprocessing is best.")
    now = model.predictions
    given = Tried(words="as given", options="", labels=model.labels, then=now, now=now)
    for family in (_normalisations(model), _sizes(model)):
        tried = [one for one in family if one is not None]
        model.tried += [_told(one) for one in ([given, *tried] if not model.tried else tried)]
        if (better := _better(tried)) is not None:
            yield better


def _better(tried: Sequence[Tried]) -> Finding | None:
    """The best of what was tried, where it is better than what is in use on the same images."""
    found = []
    for other in tried:
        p = clearly_better(other.then, other.now, other.labels, gain=GAIN, level=FAMILY / len(tried))
        if p is not None:
            found.append((other, p))
    if not found:
        return None
    best, p = max(found, key=lambda one: one[0].accuracy - one[0].before)
    count = len(best.labels)
    listed = "; ".join(_listed(one, count) for one in sorted(tried, key=_accuracy)[::-1])
    return Finding(
        code="other-preprocessing",
        sentence=f"Another preprocessing does better: {best.words}.",
        evidence=f"{best.accuracy:.1%} right instead of {best.before:.1%} (n = {count}, "
        f"{p_value_text(p)}, {len(tried)} tried). {listed}.",
        fix=f"Load it with {best.options}.",
    )


def _accuracy(one: Tried) -> float:
    return one.accuracy


def _listed(one: Tried, count: int) -> str:
    """What was reached, and of how many images where these are others than the `count` of the best."""
    n = len(one.labels)
    others = "" if n == count else f" (n = {n}, {one.before:.1%} as given)"
    return f"{one.accuracy:.1%} with {one.words}{others}"


def _told(one: Tried) -> dict[str, object]:
    """What was tried, for run.json."""
    return {"words": one.words, "options": one.options, "accuracy": one.accuracy, "n": len(one.labels)}


def _normalisations(model: ModelUnderTest) -> Iterator[Tried | None]:
    """The usual ones that are not in use."""
    classifier, x = model.classifier, model.images
    mean, std = classifier.mean or (0.0,) * x.shape[1], classifier.std or (1.0,) * x.shape[1]
    for words, other_mean, other_std in _usual(x.shape[1]):
        if close(mean, other_mean) and close(std, other_std):
            continue
        numbers = [",".join(f"{value:g}" for value in values) for values in (other_mean, other_std)]
        options = f"--mean {numbers[0]} --std {numbers[1]}"
        yield _right(model, normal(x, other_mean, other_std), words, options)


def _usual(channels: int) -> Iterator[tuple[str, Numbers, Numbers]]:
    """Words, mean and deviation per channel."""
    yield "no normalisation", (0.0,) * channels, (1.0,) * channels
    if channels == 3:
        yield "ImageNet's mean and deviation", *IMAGENET
        yield "CIFAR-10's mean and deviation", *CIFAR
    if channels == 1:
        yield "MNIST's mean and deviation", *MNIST
    yield "mean and deviation of 0.5", (0.5,) * channels, (0.5,) * channels


def _sizes(model: ModelUnderTest) -> Iterator[Tried | None]:
    """Other ways of resizing to the network's size, and other sizes that it takes."""
    classifier, samples = model.classifier, model.samples
    if samples is None or samples.decode_at is None or classifier.size is None:
        return
    given = (classifier.size, classifier.resize, classifier.interpolation)
    seen: list[Tensor] = [model.images]
    every = torch.arange(len(model.images))
    for size, resize, interpolation in [*_kinds(*given), *_other_sizes(*given)]:
        rows = every if size == classifier.size else evenly_spread(len(every), AT_OTHER_SIZES)
        try:
            images = samples.at(rows.tolist(), size, resize, interpolation)
        except OstrichError:
            continue
        if any(torch.equal(images, other.to(images)) for other in seen):
            continue  # the files have that size already
        seen.append(images)
        inputs = classifier.normalised(images.to(model.images))
        words, options = _in_words(size, resize, interpolation)
        yield _right(model, inputs, words, options, rows)


Way = tuple[tuple[int, int], "int | tuple[int, int] | None", str]


def _kinds(size: tuple[int, int], resize: int | tuple[int, int] | None, interpolation: str) -> Iterator[Way]:
    """The same size, cut out of a larger picture, of one as large, or by resizing both sides."""
    larger = round(min(size) * PROPORTION)
    for other in (None, larger, size):
        for kind in ("bilinear", "bicubic"):
            if (other, kind) != (resize, interpolation):
                yield size, other, kind


def _other_sizes(
    size: tuple[int, int], resize: int | tuple[int, int] | None, interpolation: str
) -> Iterator[Way]:
    """Usual sizes of square images not far from the network's, resized as in use."""
    side = size[0]
    near = [other for other in USUAL_SIZES if other != side and 1 / FACTOR <= other / side <= FACTOR]
    for other in sorted(near, key=lambda one: abs(one - side))[:MOST_SIZES] if side == size[1] else ():
        scaled = round(resize * other / side) if isinstance(resize, int) else None
        yield (other, other), (other, other) if isinstance(resize, tuple) else scaled, interpolation


def _in_words(size: tuple[int, int], resize: int | tuple[int, int] | None, kind: str) -> tuple[str, str]:
    """A way to a size in words, and as options of the command line."""
    shown = _shown(size)
    if resize is None:
        return f"a plain {kind} resize to {shown}", f"--size {shown} --interpolation {kind}"
    whole = "x".join(map(str, resize)) if isinstance(resize, tuple) else str(resize)
    words = f"{kind} resize to {whole}, crop {shown}"
    if resize == size:
        words = f"both sides resized to {shown}, {kind}"
    return words, f"--resize {whole} --crop {shown} --interpolation {kind}"


def _shown(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def _right(
    model: ModelUnderTest, inputs: Tensor, words: str, options: str, rows: Tensor | slice = slice(None)
) -> Tried | None:
    """What a network reaches on inputs (n, C, H, W) of the images in `rows`; None where it refuses them."""
    assert model.labels is not None
    try:
        scores = model.answers(inputs)
    except Exception:  # of someone else's network, which may take one size alone
        return None
    if scores.shape != (len(inputs), model.logits.shape[1]):
        return None
    labels, now = model.labels[rows], model.predictions[rows]
    return Tried(words=words, options=options, labels=labels, then=scores.argmax(1), now=now)
