"""Whether other networks see in a fooling image what it was made for: does it transfer?

Nguyen, Yosinski, Clune 2015, section 3.4, where some images fool two networks and others only the one
they evolved on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostrich.attribution.question import begun_at
from ostrich.errors import InputError
from ostrich.images import fit_array, from_bytes, to_bytes
from ostrich.models.answers import predictions
from ostrich.models.bundled import zoo_cards
from ostrich.models.classifier import Classifier
from ostrich.models.loading import load
from ostrich.statistics import wilson

AT_LEAST = 0.5  # probability from which an image counts as recognised


def transfer(
    images: Tensor, classes: Sequence[int], classifier: Classifier, others: Sequence[Classifier]
) -> dict[str, float]:
    """For each of `others`, by name, the part of the images that it gives the same class at least 50 %.

    `images` (N, C, H, W), at least one; the rest as in `shown`.
    """
    found = {}
    for name, other in by_name(others).items():
        scores, theirs = shown(images, classes, classifier, other)
        probability = scores.double().softmax(1).gather(1, theirs[:, None])[:, 0]
        found[name] = (probability >= AT_LEAST).double().mean().item()
    return found


def recognised(images: Tensor, classes: Sequence[int], classifier: Classifier, other: Classifier) -> Tensor:
    """Whether `other` takes each image for its class first, (N,) bool; the rest as in `shown`.

    No answer recognises nothing.
    """
    scores, theirs = shown(images, classes, classifier, other)
    return predictions(scores) == theirs


def verdicts(
    images: Tensor, classes: Sequence[int], classifier: Classifier, others: Sequence[Classifier]
) -> dict[str, dict[str, Any]]:
    """By name, how many images each of `others` takes for their class first, with a 95 % interval."""
    found = {}
    for name, other in by_name(others).items():
        right = recognised(images, classes, classifier, other)
        hits, count = int(right.sum()), len(right)
        found[name] = {"n": count, "recognised": hits / count, "interval": wilson(hits, count)}
    return found


def by_name(classifiers: Sequence[Classifier]) -> dict[str, Classifier]:
    """Networks by their names; of two with the same, the second is NAME-2."""
    found: dict[str, Classifier] = {}
    for one in classifiers:
        name, number = one.name, 1
        while name in found:
            number += 1
            name = f"{one.name}-{number}"
        found[name] = one
    return found


def shown(
    images: Tensor, classes: Sequence[int], classifier: Classifier, other: Classifier
) -> tuple[Tensor, Tensor]:
    """What `other` says of images, logits (N, K), and the place of each image's class among them (N,).

    `images` (N, C, H, W) are brought to its input size as files would be; `classes` (N,) are those of
    `classifier`. Raises InputError for a network without these classes or channels.
    """
    if other.channels != images.shape[1]:
        raise InputError(f"{other.name} takes {other.channels} channels; the images have {images.shape[1]}.")
    theirs = torch.tensor(_same_classes(classes, classifier, other), device=other.device)
    own = _resized(images, other.size).to(other.device, other.image_dtype)
    with begun_at(0, other):
        return other.predict(own), theirs


def kin(classifier: Classifier) -> list[Classifier]:
    """The other bundled networks with the same class names and channels."""
    names = [name for name, card in zoo_cards().items() if _names(card) == classifier.class_names]
    others = [load(f"zoo:{name}", device=classifier.device) for name in names]
    return [o for o in others if o.name != classifier.name and o.channels == classifier.channels]


def _names(card: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(card["class_names"])


def _same_classes(classes: Sequence[int], classifier: Classifier, other: Classifier) -> list[int]:
    """The classes in the order of `other`: by name, or by number where neither has names."""
    if classifier.class_names and other.class_names:
        return [other.class_index(classifier.class_name(index)) for index in classes]
    if classifier.num_classes != other.num_classes:
        raise InputError(
            f"{other.name} has {other.num_classes} classes, {classifier.name} has {classifier.num_classes}: "
            "without the names of both, theirs cannot be matched."
        )
    return list(classes)


def _resized(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None or size == tuple(images.shape[-2:]):
        return images
    return torch.stack([from_bytes(fit_array(to_bytes(image), size)) for image in images])
