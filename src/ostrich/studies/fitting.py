"""Training a network within a trial: build, train by a recipe, measure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.models import Classifier, architectures
from ostrich.models.loading import pick_device
from ostrich.runtime.files import append_row, keep_rows, read_rows
from ostrich.runtime.randomness import seeded
from ostrich.studies.datasets import Splits
from ostrich.training.loop import logits_of, train
from ostrich.training.recipe import Recipe

METRICS, CHECKPOINT = "metrics.jsonl", "checkpoint.pt"


def recipe_for(given: Splits, *, steps: int, batch_size: int, seed: int, **settings: Any) -> Recipe:
    """A recipe of so many steps whatever the number of images, normalised by these images.

    Plain images and exact arithmetic unless `settings` say otherwise.
    """
    mean, std = given.statistics()
    per_epoch = -(-len(given.train) // batch_size)
    plain: dict[str, Any] = {"flip": False, "shift": 0, "precision": "exact"}
    return Recipe(
        name="study",
        architecture="-",
        data="-",
        mean=mean,
        std=std,
        epochs=steps / per_epoch,
        batch_size=batch_size,
        seed=seed,
        **{**plain, **settings},
    )


def built(architecture: str, given: Splits, seed: int, device: str = "cpu") -> nn.Module:
    """An untrained network for these images; its weights come from the seed alone."""
    height, width = given.size
    spec = f"{architecture},classes={len(given.class_names)},channels={given.channels},size={height}x{width}"
    with seeded(seed):
        network = architectures.build(spec)[0]
    return network.to(pick_device(device))


def fitted(
    network: nn.Module,
    recipe: Recipe,
    given: Splits,
    folder: Path,
    *,
    name: str = "",
    held_out: bool = False,
) -> list[dict[str, float]]:
    """Train in place; resumed where it was cut off. A row for each epoch.

    `name` tells several trainings of one trial apart.
    """
    metrics = folder / f"{name}{METRICS}"
    train(
        network,
        recipe,
        *given.train.tensors(),
        held_out=given.test.tensors() if held_out else None,
        checkpoint=folder / f"{name}{CHECKPOINT}",
        log=logger(metrics),
    )
    return logged(metrics)


def logger(path: Path) -> Callable[[dict[str, Any]], None]:
    """What appends a row to that file, in which a torn row of before an interruption is gone."""
    keep_rows(path, lambda row: True)
    return partial(append_row, path)


def logged(path: Path) -> list[dict[str, Any]]:
    """The rows by their step; what was trained twice, after an interruption, counts once."""
    rows = {row["step"]: row for row in read_rows(path)}
    return [rows[step] for step in sorted(rows)]


def loss_and_error(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy, and the share of wrong predictions in percent."""
    wrong = (logits.argmax(1) != labels).float().mean()
    return F.cross_entropy(logits, labels).item(), 100 * wrong.item()


def measured(network: nn.Module, recipe: Recipe, given: Splits) -> dict[str, float]:
    """Loss and error (percent) on the training images, without augmentation, and on the test images."""
    network.eval()
    found: dict[str, float] = {}
    for split, (images, labels) in (("train", given.train.tensors()), ("test", given.test.tensors())):
        loss, error = loss_and_error(logits_of(network, recipe, images), labels)
        found |= {f"{split}_loss": loss, f"{split}_error": error}
    return found


def classifier(network: nn.Module, recipe: Recipe, given: Splits) -> Classifier:
    """The trained network as a classifier, with its normalisation and class names."""
    return Classifier(
        network.eval(),
        size=given.size,
        channels=given.channels,
        mean=recipe.mean,
        std=recipe.std,
        class_names=given.class_names,
    )
