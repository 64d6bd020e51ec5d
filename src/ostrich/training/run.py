"""A training run: data, network, loop, and the weights with their card."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ostrich.data.dataset import Samples
from ostrich.data.matching import listed
from ostrich.data.training_data import in_classes_of, open_split
from ostrich.errors import Diverged, InputError
from ostrich.models import architectures, load
from ostrich.models.architectures import Architecture
from ostrich.models.cards import CARD, WEIGHTS, card_of
from ostrich.models.classifier import Classifier, input_channels
from ostrich.runtime import distributed, events
from ostrich.runtime.files import write_bytes, write_card
from ostrich.runtime.resumable import peek
from ostrich.runtime.runs import Run
from ostrich.training.loop import accuracy, steps_of, steps_of_epoch, train
from ostrich.training.recipe import RECIPES, Recipe, command

CHECKPOINT = "checkpoint.pt"
HELD_OUT = 1000  # test images for the accuracy after each epoch


def train_run(recipe: Recipe, data: str | Samples, run: Run, device: torch.device) -> dict[str, Any]:
    """Train by a recipe into a run directory: checkpoint.pt, network.safetensors, card.json.

    `data` is a DATA spec, or samples, of which about a tenth is held out. Where its classes are named and the
    architecture does not say how many there are, the network has as many. Raises InputError for data without
    labels, of other channels or classes than the network has, or with classes in its test images alone; and
    for a `start` or crops that the network does not take.
    """
    network, entry, size = _begun(recipe, device)
    channels = input_channels(network, size)
    if len(recipe.mean) not in (1, channels):
        raise InputError(f"{recipe.name} has {len(recipe.mean)} means, its network {channels} channels.")
    name = data if isinstance(data, str) else data.name
    shape = (channels, *size)
    training = open_split(data, "train", shape, limit=recipe.train_images, seed=recipe.seed)
    test = in_classes_of(training, open_split(data, "test", shape, seed=recipe.seed))
    train_set, (test_images, test_labels) = training.tensors(), test.tensors()
    if not len(training) or not len(test):
        raise InputError(
            f"{name} has {len(training)} images to train on and {len(test)} to test on; one each is needed."
        )
    class_names = training.class_names or ()
    _say_untrained(class_names, train_set[1])
    if entry.leaves_classes_open(recipe.architecture) and _are_names(class_names, entry.classes()):
        recipe = replace(recipe, architecture=f"{recipe.architecture},classes={len(class_names)}")
        network, _, _ = _begun(recipe, device)
        events.say(f"classes: the network has {len(class_names)}, as the data")
    _check_classes(network, recipe, torch.zeros(1, *shape, device=device), class_names)
    _check_crops(network, recipe, torch.zeros(1, *shape, device=device))
    described = {"name": name, "n": len(training), "sha256": training.sha256}
    if training.skipped:
        described["skipped"] = list(training.skipped)
    run.describe(seed=recipe.seed, device=device, data=described)
    run.rewind((peek(run.folder / CHECKPOINT) or {"step": 0})["step"])
    some = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:HELD_OUT]

    def seen(step: int) -> int:  # images, by all processes
        epochs, more = divmod(step, steps_of_epoch(recipe, len(training)))
        return epochs * len(training) + more * recipe.batch_size

    total = seen(steps_of(recipe, len(training)))
    with events.progress(f"training {recipe.name}", total) as advance:
        advance(0, total)
        train(
            network,
            recipe,
            *train_set,
            held_out=(test_images[some], test_labels[some]),
            checkpoint=run.folder / CHECKPOINT,
            log=partial(_note, run, recipe),
            progress=lambda step: advance(seen(step), total),
        )
    # The card tells the accuracy of the weights as they are stored, in half precision.
    network.load_state_dict({k: v.half().to(v.dtype) for k, v in network.state_dict().items()})
    reached = accuracy(network, recipe, test_images, test_labels)
    results = {"test_accuracy": reached, "test_images": len(test), "train_images": len(training)}
    if distributed.is_main():
        save(network, run.folder / WEIGHTS)
        told = card(recipe, name, training.sha256, class_names, results)
        write_card(run.folder / CARD, run.folder / WEIGHTS, told)
    return results


def _begun(recipe: Recipe, device: torch.device) -> tuple[torch.nn.Module, Architecture, tuple[int, int]]:
    """The network that a recipe begins with, its entry, and its image size (H, W)."""
    torch.manual_seed(recipe.seed)  # the initial weights
    network, entry, size = architectures.build(recipe.architecture)
    if recipe.start is not None:
        _start_from(network, recipe)
    return network.to(device), entry, size


def _are_names(class_names: Sequence[str], outputs: int) -> bool:
    """Whether data with these classes would not be matched to so many outputs.

    Numbers from 0 are, also where some are missing at the end.
    """
    return len(class_names) != outputs and list(class_names) != [str(k) for k in range(len(class_names))]


def _say_untrained(class_names: Sequence[str], labels: Tensor) -> None:
    """Say which classes have no image among those to train on."""
    there = set(labels.tolist())
    if absent := [name for k, name in enumerate(class_names) if k not in there]:
        events.say(f"classes: no image of {listed(absent)} is among those to train on")


def _note(run: Run, recipe: Recipe, row: dict[str, float]) -> None:
    """Write a row of the training, which ends where its loss is not finite."""
    run.append(row)
    if not math.isfinite(row["train_loss"]):
        way_out = f"A learning_rate below {recipe.learning_rate:g}, a longer warmup or a clip_norm may help."
        raise Diverged(int(row["step"]), int(row["steps"]), way_out)


def trained(folder: Path, device: str | torch.device = "auto") -> Classifier:
    """The network of a finished training run, as its weights are stored. Raises InputError."""
    card = card_of(folder / WEIGHTS)
    if card is None:
        raise InputError(f"{str(folder)!r} holds no trained network: {WEIGHTS} and its {CARD}.")
    return load(f"arch:{card['architecture']}", weights=folder / WEIGHTS, device=device)


def _start_from(network: torch.nn.Module, recipe: Recipe) -> None:
    """Give the network the weights that the recipe starts from. Raises InputError where they do not fit."""
    trained = load(f"zoo:{recipe.start}", device="cpu").network
    assert isinstance(trained, torch.nn.Module), "the zoo holds networks"
    try:
        network.load_state_dict(trained.state_dict())
    except RuntimeError:  # other names or shapes
        raise InputError(
            f"{recipe.name} starts from zoo:{recipe.start}, whose weights do not fit {recipe.architecture}: "
            "set start=none to begin anew."
        ) from None


@torch.no_grad()
def _check_classes(
    network: torch.nn.Module, recipe: Recipe, image: Tensor, class_names: Sequence[str]
) -> None:
    """Refuse data of more classes than the network has, or of fewer that it could not be matched to."""
    outputs, classes = network.eval()(image).shape[1], len(class_names)
    if classes > outputs or _are_names(class_names, outputs):
        start = "" if recipe.start is None else f" and start=none (zoo:{recipe.start} has {outputs})"
        raise InputError(
            f"The data has {classes} classes, the network {outputs}: "
            f"set architecture=...,classes={classes}{start}."
        )


@torch.no_grad()
def _check_crops(network: torch.nn.Module, recipe: Recipe, image: Tensor) -> None:
    """Refuse crops that are larger than a shifted image, or that the network does not take."""
    height, width = image.shape[2:]
    for _, pixels in recipe.crops:
        fits = pixels <= min(height, width) + 2 * recipe.shift
        try:
            network.eval()(image.new_zeros(1, image.shape[1], pixels, pixels))
        except RuntimeError:  # a layer for one size alone
            fits = False
        if not fits:
            raise InputError(
                f"{recipe.name} trains on crops of {pixels} pixels of images of {height}x{width}, which "
                f"{recipe.architecture} does not take: set another size there, or in Python crops=()."
            )


def save(network: torch.nn.Module, path: Path) -> None:
    """The parameters and statistics in half precision, as safetensors."""
    state = {
        name: (value.half() if value.dtype == torch.float32 else value).contiguous().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_bytes(path, to_safetensors(state))


def card(
    recipe: Recipe, data: str, checksum: str, class_names: tuple[str, ...], results: dict[str, Any]
) -> dict[str, Any]:
    """What anyone should know of the network before they use it; `data` is what it was trained on."""
    return {
        "architecture": recipe.architecture,
        "mean": recipe.mean,
        "std": recipe.std,
        "class_names": class_names,
        "recipe": command("ostrich train", recipe, RECIPES, data),
        "data": data,
        "data_sha256": checksum,
        "test_accuracy": results["test_accuracy"],
        "test_images": results["test_images"],
        "train_images": results["train_images"],
        "date": datetime.date.today().isoformat(),
    }
