"""From a data set's labels and the word after --target to a goal."""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks.goals import Goal, Targeted, Untargeted
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models.answers import predictions
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
    """Untargeted without a target; else a class by name, a random one, or the least likely one."""
    if target is None:
        return Untargeted(labels.clamp_min(0))  # no answer is no class, and nothing to be left
    check_target(classifier, target)
    classes = classifier.num_classes
    if target == "least-likely":
        return Targeted(classifier.predict(images).argmin(1))
    if target == "random":
        # A step of 1 to K - 1 from the label, keyed by the image: never the label itself.
        keys = [key for i in range(0, len(images), 64) for key in fingerprints(images[i : i + 64])]
        steps = [(key ^ (seed * 0x9E3779B97F4A7C15)) % (classes - 1) + 1 for key in keys]
        return Targeted((labels + torch.tensor(steps, device=labels.device)) % classes)
    return Targeted(torch.full_like(labels, classifier.class_index(target)))
