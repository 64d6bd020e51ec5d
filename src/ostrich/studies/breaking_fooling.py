"""Of the study `breaking`: images made from noise, by ascent and by evolution, and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ostrich.attacks import (
    Confident,
    FoolingAscent,
    InputSpecificAttack,
    Result,
)
from ostrich.attacks import attack as run_attack
from ostrich.attacks.fooling import evidence as fooling_evidence
from ostrich.attacks.fooling.ascent import noise, spread
from ostrich.attacks.fooling.map_elites import EvolutionAttack
from ostrich.images import read_png
from ostrich.studies.breaking_images import Opened
from ostrich.studies.schema import Row

CERTAIN, SURE = 0.9999, 0.99
THIRDS = 3  # of many classes, a seed takes every third


def classes_of(own: Opened, count: int, seed: int) -> list[int]:
    """The classes of a share: all where there are few, else other ones for each of three seeds."""
    total = own.classifier.num_classes
    if total <= count:
        return list(range(total))
    every = spread(total, THIRDS * count)
    return every[seed % THIRDS :: THIRDS]


def climbed(own: Opened, count: int, seed: int, folder: Path) -> list[Row]:
    """A row for each class: the confidence of the file that ascent from noise ends with."""
    classes = classes_of(own, count, seed)
    goal = _certain(own, classes, CERTAIN)
    result, confidence = _from_noise(own, FoolingAscent(), goal, seed, folder)
    return [
        own.about(),
        *(
            {"kind": "image", "class": index, "confidence": certain, "forwards": int(result.forwards[i])}
            for i, (index, certain) in enumerate(zip(classes, confidence, strict=True))
            if result.attacked[i]
        ),
    ]


def evolved(own: Opened, method: EvolutionAttack, seed: int, folder: Path) -> list[Row]:
    """One row of the archive of all classes, and the confidence of some files."""
    classes = classes_of(own, 16, seed)
    last: dict[str, Any] = {}

    def watch(step: int, state: Any) -> None:
        last.update(method.metrics(step, state) or {})

    goal = _certain(own, classes, SURE)
    _, confidence = _from_noise(own, method, goal, seed, folder, watch)
    return [
        own.about(),
        {
            "kind": "evolution",
            "of_classes": last["classes"],
            "sure": last["classes_at_0.99"],
            "median": last["median"],
            "mean": last["mean"],
            "generations": last["generation"],
            "population": method.population,
        },
        *({"kind": "file", "class": k, "confidence": p} for k, p in zip(classes, confidence, strict=True)),
    ]


def _certain(own: Opened, classes: Sequence[int], confidence: float) -> Confident:
    return Confident(torch.tensor(classes, device=own.classifier.device), confidence)


def _from_noise(
    own: Opened,
    method: InputSpecificAttack,
    goal: Confident,
    seed: int,
    folder: Path,
    watch: Callable[[int, Any], None] = lambda step, state: None,
) -> tuple[Result, list[float]]:
    """The result, and the probability of its class in each file as it is read back."""
    classifier, classes = own.classifier, goal.classes.tolist()
    assert classifier.size is not None
    start = noise(classes, (classifier.channels, *classifier.size), seed).to(classifier.device)
    result = run_attack(method, classifier, start, goal, seed=seed, shards=folder / "pieces", watch=watch)
    confidence = fooling_evidence.confidence_of(classifier, result, goal)
    fooling_evidence.write(folder / "files", classifier, goal, result, confidence)
    files = sorted((folder / "files/images").glob("*-adversarial.png"))
    again = {int(file.name[:5]): read_png(file) for file in files}
    found = confidence.tolist()
    for i, image in again.items():
        probability = classifier.predict(image[None].to(classifier.device)).double().softmax(1)
        found[i] = probability[0, classes[i]].item()
    return result, found
