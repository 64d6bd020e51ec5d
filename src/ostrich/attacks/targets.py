"""From a data set's labels and the word after --target to a goal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ostrich.attacks.goals import Goal, Targeted, Untargeted
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models.answers import answered, predictions, switched_off
from ostrich.models.batches import Batches
from ostrich.models.classifier import Classifier


def labels(classifier: Classifier, images: Batches, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """The labels (N,), which are the clean predictions where none are given, and the predictions."""
    found = predictions(classifier.predict(images))
    return (found if given is None else given.to(found.device)), found


def check_target(classifier: Classifier, target: str | None) -> None:
    """Refuse a target that the classifier does not have."""
    if target is None:
        return
    if classifier.num_classes < 2:
        raise InputError(f"{classifier.name} has {classifier.num_classes} class: there is nothing to target.")
    if target not in ("random", "least-likely"):
        classifier.class_index(target)


def goal(classifier: Classifier, images: Batches, labels: Tensor, target: str | None, seed: int) -> Goal:
    """Untargeted without a target; else a class by name, a random one, or the least likely one.

    A class that is switched off is none of the latter two.
    """
    if target is None:
        return Untargeted(labels.clamp_min(0))  # no answer is no class, and nothing to be left
    check_target(classifier, target)
    if target == "least-likely":
        logits = classifier.predict(images)
        return Targeted(logits.masked_fill(~possible(switched_off(logits)), torch.inf).argmin(1))
    if target == "random":
        found = []
        for i in range(0, len(images), 64):
            part = images[i : i + 64]
            keys = [key ^ (seed * 0x9E3779B97F4A7C15) for key in fingerprints(part)]
            found.append(another(labels[i : i + 64], switched_off(classifier.predict(part)), keys))
        return Targeted(torch.cat(found))
    return Targeted(torch.full_like(labels, classifier.class_index(target)))


def possible(off: Tensor) -> Tensor:
    """Which classes (n, K) may be targets: those not switched `off`; all where that leaves fewer than two.

    `off` (n, K) is as in `models.answers.switched_off`.
    """
    return ~off | ((~off).sum(1, keepdim=True) < 2)


def off_anywhere(logits: Tensor) -> Tensor:
    """Which classes any answer among the logits (n, K) has switched off, (1, K)."""
    return switched_off(logits[answered(logits)]).any(0, keepdim=True)


def another(labels: Tensor, off: Tensor, keys: Sequence[int]) -> Tensor:
    """For each of the `labels` (n,) another class (n,) that is not switched `off` (n, K), chosen by its key.

    The classes are counted on from the label, round to it.
    """
    count = off.shape[1]
    onwards = (labels[:, None] + torch.arange(1, count, device=labels.device)) % count  # (n, K - 1)
    allowed = possible(off.to(labels.device)).gather(1, onwards)
    places = [key % many for key, many in zip(keys, allowed.sum(1).tolist(), strict=True)]
    passed = allowed.cumsum(1) > torch.tensor(places, device=labels.device)[:, None]
    return onwards.gather(1, passed.to(torch.uint8).argmax(1, keepdim=True))[:, 0]
