"""Is the input what the network was trained on? Found by trying the alternatives.

An alternative replaces what the classifier does to images before the network sees them. It counts where
it is clearly better on the same images:

- with labels: right on at least a tenth of the images more, McNemar's exact p < 0.001, and not by saying the
  most frequent class;
- without: confident by at least 0.6 on average, which is 0.15 more, and more so on so many images that
  p < 0.001, with other predictions on at least three in ten, spread over as many classes. Confidence alone
  is no evidence: a larger input makes any network confident. So 0..255 also needs twice the spread.

Where batch norm's running statistics fit neither input, they are the fault, and batchnorm.py's.

Sources: mean and deviation of ImageNet as torchvision publishes them; 103.939, 116.779, 123.68 are the means
of blue, green and red of Caffe's networks (Simonyan and Zisserman 2015).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ostrich.diagnosis.batchnorm import statistics_gap
from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable
from ostrich.diagnosis.significance import SURE, clearly_better, p_value_text, sign_test, spread_of

GAIN = 0.1  # accuracy
CONFIDENCE_GAIN, CONFIDENT, CHANGED, SPREAD = 0.15, 0.6, 0.3, 0.95  # without labels
ALIKE = 0.02  # accuracies between which the better known alternative is taken
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = (103.939, 116.779, 123.68)
Numbers = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Other inputs (N, C, H, W) for the network, the fault they would show, and the way out."""

    code: str
    inputs: Tensor
    words: str
    fix: str
    larger: bool = False  # by so much that confidence says nothing


SENTENCES = {
    "missing-normalization": "The network gets images in [0, 1], but was made for normalised ones.",
    "wrong-normalization": "The network was made for another normalisation.",
    "double-normalization": "The network's input is normalised once too often.",
    "wrong-channel-order": "The network was made for BGR: its colours are swapped.",
    "wrong-input-range": "The network was made for values of 0..255, but gets [0, 1] or what is made of it.",
}


def alternatives(model: ModelUnderTest) -> Iterator[Finding]:
    """The best of the alternatives, where it is clearly better than what is."""
    if model.logits.shape[1] < 2 or (model.labels is None and model.classifier.access == "labels"):
        raise NotApplicable("Without labels and scores nothing tells which input is right.")
    found: list[tuple[float, Alternative, str]] = []
    for other in candidate_inputs(model):
        try:
            scores = model.answers(other.inputs)
        except Exception:  # a network may refuse values that it does not expect
            continue
        compared = _with_labels if model.labels is not None else _without_labels
        better = compared(model, scores, other.larger)
        if better is not None:
            found.append((better[0], other, better[1]))
    if not found:
        return
    best = max(value for value, *_ in found)
    _, other, evidence = next(one for one in found if one[0] >= best - ALIKE)
    if _fault_lies_deeper(model, other.inputs):
        return
    yield Finding(
        code=other.code,
        sentence=SENTENCES[other.code],
        evidence=f"With {other.words}: {evidence}",
        fix=other.fix,
    )


def _fault_lies_deeper(model: ModelUnderTest, inputs: Tensor) -> bool:
    """Whether batch norm's statistics do not fit the better inputs either, which only make up for them."""
    try:
        given = statistics_gap(model, model.classifier.normalised(model.images))
        return given.far and statistics_gap(model, inputs).far
    except NotApplicable:
        return False


def candidate_inputs(model: ModelUnderTest) -> Iterator[Alternative]:
    """The alternatives to the classifier's own preprocessing, best known first."""
    classifier, x = model.classifier, model.images
    given = any(v != 0 for v in classifier.mean or ()) or any(v != 1 for v in classifier.std or ())
    code = "wrong-normalization" if given else "missing-normalization"
    for words, mean, std in _normalisations(x):
        if not close(classifier.mean, mean) or not close(classifier.std, std):
            shown = [",".join(f"{v:.3g}" for v in values) for values in (mean, std)]
            fix = f"Load it with --mean {shown[0]} --std {shown[1]}"
            fix += ", or with the exact values of its training." if "images' own" in words else "."
            yield Alternative(code=code, inputs=normal(x, mean, std), words=words, fix=fix)
    if given:
        fix = "Leave --mean and --std out: the network normalises by itself, or was trained without."
        yield Alternative(
            code="double-normalization", inputs=x, words="images in [0, 1] as they are", fix=fix
        )
    else:
        for words, mean, std in _normalisations(x)[:2]:
            undone = x * _view(std, x) + _view(mean, x)
            fix = f"The network normalises twice by itself: take one out (as {words})."
            words = f"one normalisation undone ({words})"
            yield Alternative(code="double-normalization", inputs=undone, words=words, fix=fix)
    if x.shape[1] == 3:
        fix = "Wrap it: `return self.inner(x.flip(1))`. Pictures are read as RGB here."
        inputs = classifier.normalised(x).flip(1)
        yield Alternative(code="wrong-channel-order", inputs=inputs, words="channels reversed", fix=fix)
    yield from _zero_to_255(x)


def _zero_to_255(x: Tensor) -> Iterator[Alternative]:
    """Values of 0..255: as they are, and less the mean in RGB and BGR."""

    def alternative(inputs: Tensor, words: str, fix: str) -> Alternative:
        return Alternative(code="wrong-input-range", inputs=inputs, words=words, fix=fix, larger=True)

    scale = "--mean 0 --std 0.00392157 makes 0..255 of [0, 1]"
    yield alternative(255 * x, "values of 0..255", f"Load it with {scale}.")
    if x.shape[1] == 3:
        means = torch.tensor(CAFFE, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
        fix = "Load it with --mean 0.485,0.458,0.408 --std 0.00392157."
        yield alternative(255 * x - means.flip(1), "values of 0..255 less ImageNet's mean", fix)
        fix += " Its channels are BGR: wrap it, `return self.inner(x.flip(1))`."
        yield alternative(255 * x.flip(1) - means, "BGR values of 0..255 less ImageNet's mean", fix)


def _normalisations(x: Tensor) -> list[tuple[str, Numbers, Numbers]]:
    """The usual ones, and that of the images themselves: words, mean and deviation per channel."""
    channels = x.shape[1]
    mean, std = (
        IMAGENET if channels == 3 else ((0.449,) * channels, (0.226,) * channels)
    )  # grey: the averages
    own = [
        tuple(float(v) for v in values) for values in (x.mean((0, 2, 3)), x.std((0, 2, 3)).clamp_min(1e-3))
    ]
    half = (0.5,) * channels
    return [
        ("ImageNet's mean and deviation", mean, std),
        ("mean and deviation of 0.5", half, half),
        ("the images' own mean and deviation", own[0], own[1]),
    ]


def _with_labels(model: ModelUnderTest, scores: Tensor, larger: bool) -> tuple[float, str] | None:
    """Accuracy and words, where it is clearly better than as given."""
    assert model.labels is not None
    p = clearly_better(scores.argmax(1), model.predictions, model.labels, gain=GAIN)
    if p is None:
        return None
    now, then = model.predictions == model.labels, scores.argmax(1) == model.labels
    return (
        float(then.double().mean()),
        f"{then.double().mean():.1%} right instead of {now.double().mean():.1%} (n = {len(now)}, "
        f"{p_value_text(p)}).",
    )


def _without_labels(model: ModelUnderTest, scores: Tensor, larger: bool) -> tuple[float, str] | None:
    """Mean confidence and words, where it is clearly better than as given."""
    if not torch.isfinite(scores).all():
        return None
    now, then = (s.double().softmax(1).amax(1) for s in (model.logits, scores))
    p = sign_test(int((then > now).sum()), int((then < now).sum()))
    changed = (scores.argmax(1) != model.predictions).double().mean()
    classes = model.logits.shape[1]
    before, after = (spread_of(k, classes) for k in (model.predictions, scores.argmax(1)))
    enough = after >= 2 * before if larger else after >= SPREAD * before
    confident = then.mean() >= max(CONFIDENT, float(now.mean()) + CONFIDENCE_GAIN)
    if not confident or p >= SURE or changed < CHANGED or not enough:
        return None
    return (
        float(then.mean()),
        f"{then.mean():.1%} confident instead of {now.mean():.1%}, other predictions for {changed:.0%}, "
        f"spread like {after:.1f} classes instead of {before:.1f} (n = {len(now)} images without labels, "
        f"{p_value_text(p)}).",
    )


def normal(x: Tensor, mean: Numbers, std: Numbers) -> Tensor:
    """Images (N, C, H, W) less a mean, by a deviation, per channel."""
    return (x - _view(mean, x)) / _view(std, x)


def _view(values: Numbers, x: Tensor) -> Tensor:
    return x.new_tensor(values).view(1, -1, 1, 1)


def close(given: Numbers | None, other: Numbers) -> bool:
    """Whether numbers per channel are the same, as they are published."""
    return given is not None and all(abs(a - b) < 1e-3 for a, b in zip(given, other))
