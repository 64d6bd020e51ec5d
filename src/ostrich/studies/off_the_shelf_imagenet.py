"""Features off the shelf, of a network trained on ImageNet by others: the astounding baseline.

Razavian et al. 2014 trained a linear SVM on what a network of ImageNet computes, for tasks it was not trained
on. Here the network is EfficientNet-Lite0 (or another MODEL) and the task CIFAR-10, or what else `data`
names, with few training images; layer by layer, beside the pixels, HOG, the same network untrained, and
networks trained from the beginning on the same images. The layer, C, and which of the networks trained from
the beginning stands for all of them are chosen on a quarter of the training images; the test images are asked
once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ostrich.data.split import hold_out
from ostrich.figures.chart import Chart
from ostrich.images import fit_array
from ostrich.models import Classifier
from ostrich.runtime.randomness import seeded
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import Splits, open_splits
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.linear_features import (
    CLAIM,
    HELD_OUT,
    PUBLISHED,
    SOURCE,
    chosen_layers,
    hog,
    layer_features,
    linear,
    pixels,
    published_gains,
)
from ostrich.studies.networks import named
from ostrich.studies.points import by_seed, mean_points, paired, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of

BATCH = 50
STATISTICS = 100  # training images from which the untrained network's batch norms take their statistics


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`network` is a MODEL, or MODEL@FILE with its weights, `layers` its layers by name, of at most `most`
    numbers each; `rivals` are architectures that are trained on the same images, for `steps`, at `size`
    pixels.
    """

    network: str = "zoo:imagenet-efficientnet-lite0"
    layers: tuple[str, ...] = (
        "bn1",
        *(f"blocks.{i}" for i in range(7)),
        "bn2",
        "global_pool",
        "classifier",
    )
    train: int = 400
    test: int = 400
    size: int = 32
    most: int = 1024
    rivals: tuple[str, ...] = ("resnet8,width=0.5", "digits-cnn")
    steps: int = 400
    batch_size: int = 50
    learning_rate: float = 0.05


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed = trial["seed"]
    given = open_splits(spec.data, size=spec.size, train=spec.train, test=spec.test, seed=seed)
    rows: list[Row] = []
    for what, features in (("pixels", pixels), ("HOG", hog)):
        x, test_x = (features(part.tensor()) for part in (given.train, given.test))
        rows.append({"what": what, "layer": what, **linear(x, test_x, given, seed)})
    rows += _trained_here(spec, given, seed, folder)
    for what in ("trained", "untrained"):
        on_train, on_test = _features(_network(spec, what), given.train.pixels, spec), _of_test(spec, what)
        for place, name in enumerate(spec.layers):
            found = linear(on_train[name], on_test[name], given, seed)
            rows.append({"what": what, "layer": name, "place": place, **found})
    return rows


def _trained_here(spec: Settings, given: Splits, seed: int, folder: Path) -> list[Row]:
    """Validation accuracy of each rival trained on three quarters, test accuracy of each trained on all."""
    labels = given.train.tensors()[1]
    stay, aside = hold_out(given.train.keys, round(HELD_OUT * len(labels)), labels.tolist(), seed=seed)
    quarter = Splits(train=given.train.take(stay), test=given.train.take(aside))
    rows: list[Row] = []
    for i, name in enumerate(spec.rivals):
        row: Row = {"what": "trained here", "layer": name}
        for field, part in (("validation", quarter), ("accuracy", given)):
            recipe = recipe_for(
                part,
                steps=spec.steps,
                batch_size=spec.batch_size,
                seed=seed,
                learning_rate=spec.learning_rate,
                clip_norm=1.0,
                shift=spec.size // 8,
                flip=spec.data != "digits",
            )
            network = built(name, part, seed, spec.device)
            fitted(network, recipe, part, folder, name=f"{i}-{field}-")
            row[field] = 100 - measured(network, recipe, part)["test_error"]
        rows.append(row)
    return rows


@cache
def _network(spec: Settings, what: str) -> Classifier:
    """The network, trained as it comes, or with weights drawn anew and batch norms of training images."""
    own = named(spec.network, spec.device)
    network = own.network
    assert isinstance(network, nn.Module)
    network.to(memory_format=torch.channels_last)
    if what == "untrained":
        some = open_splits(spec.data, size=spec.size, train=STATISTICS, test=1, seed=0).train.pixels
        norms, device = [], own.device
        with seeded(0):  # drawn on the processor, so that they are the same on every device
            for module in network.cpu().modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    norms.append((module, module.momentum))
                    module.momentum = None
                    module.train()
        network.to(device)
        with torch.no_grad():
            own(_images(some, own).to(own.device) / 255)
        for module, momentum in norms:
            module.momentum = momentum
            module.eval()
    return own


def _images(pixels_: np.ndarray, own: Classifier) -> Tensor:
    """Bytes (N, H, W, C) as the network takes them: of its size, one channel as often as it has channels."""
    if pixels_.shape[-1] != own.channels:
        pixels_ = np.repeat(pixels_[..., :1], own.channels, axis=-1)
    if own.size is not None and pixels_.shape[1:3] != own.size:
        pixels_ = np.stack([fit_array(one, own.size, interpolation="bicubic") for one in pixels_])
    return torch.from_numpy(pixels_).movedim(-1, 1)


def _features(own: Classifier, pixels_: np.ndarray, spec: Settings) -> dict[str, np.ndarray]:
    """Each layer's features (N, D); in pieces, since the images grow to the network's size."""
    found = [
        layer_features(own, _images(pixels_[i : i + BATCH], own), spec.layers, spec.most)
        for i in range(0, len(pixels_), BATCH)
    ]
    return {name: np.concatenate([one[name] for one in found]) for name in spec.layers}


@cache
def _of_test(spec: Settings, what: str) -> dict[str, np.ndarray]:
    """The features of the test images, which are the same for all seeds."""
    given = open_splits(spec.data, size=spec.size, train=1, test=spec.test, seed=0)
    return _features(_network(spec, what), given.test.pixels, spec)


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)

    def of(what: str, layer: str | None = None) -> dict[int, float]:
        wanted = {"what": what} if layer is None else {"what": what, "layer": layer}
        return by_seed(rows, "accuracy", **wanted)

    def chosen(what: str) -> dict[int, float]:
        return {seed: of(what, name)[seed] for seed, name in chosen_layers(rows, what).items()}

    layers = chosen_layers(rows, "trained")
    ours = chosen("trained")
    others = {
        "HOG": of("HOG"),
        "pixels": of("pixels"),
        "the network untrained": chosen("untrained"),
        "the network trained here": chosen("trained here"),
    }
    gains = {what: interval(paired(ours, found)) for what, found in others.items()}
    reproduced = all(low > 0 for _, low, _ in gains.values())
    direction = all(gain > 0 for gain, _, _ in gains.values())
    times = Counter(layers.values()).most_common()
    because = (
        f"Of {spec.train} images, the layer chosen on validation images ("
        f"{', '.join(f'{name} {k} times' for name, k in times)}) has {spread(list(ours.values()), 1)} % "
        "right on test images: "
        + ", ".join(f"{ranged(gain, 1, '+')} points against {what}" for what, gain in gains.items())
        + " (95 % intervals)."
    )

    def curve(what: str) -> list[dict[str, object]]:
        points = mean_points([row for row in rows if row["what"] == what], "place", "accuracy")
        return [{**point, "label": spec.layers[int(point["x"])]} for point in points]

    def level(found: dict[int, float]) -> list[dict[str, float]]:
        mean = sum(found.values()) / len(found)
        return [{"x": i, "y": mean} for i in (0, len(spec.layers) - 1)]

    levels = {"trained here": level(chosen("trained here"))}
    levels |= {what: level(of(what)) for what in ("HOG", "pixels")}
    return Findings(
        verdict=decided(reproduced, direction),
        because=because,
        tables=[
            Table(
                title="Percent right on test images",
                columns=("features, and a linear SVM", "trained on ImageNet", "untrained"),
                rows=[
                    *((what, spread(list(of(what).values()), 1), "-") for what in ("pixels", "HOG")),
                    *(
                        (name, *(spread(list(of(w, name).values()), 1) for w in ("trained", "untrained")))
                        for name in spec.layers
                    ),
                ],
            ),
            Table(
                title="Networks trained on the same images alone, percent right",
                columns=("architecture", "on test images", "chosen on validation images, times"),
                rows=[
                    (
                        name,
                        spread(list(of("trained here", name).values()), 1),
                        list(chosen_layers(rows, "trained here").values()).count(name),
                    )
                    for name in spec.rivals
                ],
            ),
        ],
        charts=[
            Chart(
                x_label="layer",
                even=True,
                y_label="right, %",
                series={
                    "trained on ImageNet": curve("trained"),
                    "untrained": curve("untrained"),
                    **levels,
                },
                dashed=frozenset(levels),
            )
        ],
        compared=[
            (
                "points right over features made by hand",
                published_gains(),
                f"{ranged(gains['HOG'], 1, '+')} (HOG)",
            )
        ],
        figures={
            "accuracy": sum(ours.values()) / len(ours),
            **{
                f"over_{what.lower().replace(' ', '_')}{end}": value
                for what, found in gains.items()
                for end, value in zip(("", "_low", "_high"), found)
            },
        },
    )


STUDY = Study(
    name="off-the-shelf-imagenet",
    question="Is a network of ImageNet, never trained for it, the best there is for a small task?",
    claim=CLAIM,
    source=SOURCE,
    differs="EfficientNet-Lite0, or what `--set network=MODEL@FILE --set layers=NAME,NAME` says, in place of "
    "OverFeat; the task is CIFAR-10 with few training images, or faces, brought to 32 pixels and enlarged to "
    "the network's 224; no augmentation for the SVM. Maps are averaged down to about 1,024 "
    "numbers. The hand-made features are HOG. The untrained network's batch norms take their statistics from "
    "training images, and its weights are the same for all seeds.",
    rule="For each seed the layer, of the trained and of the untrained network alike, is the one with the "
    "best accuracy on validation images, a quarter of the training images; and so is the one of the networks "
    "trained here, on the same images alone, that stands for them. Reproduced: the test accuracy at that "
    "layer, paired by seed, is above that of HOG, of pixels, of the untrained network, and of the network "
    "trained here, each with a 95 % interval above zero. Direction only: above all four in the mean. Else "
    "not reproduced.",
    published=PUBLISHED,
    specs={
        "smoke": Settings(
            data="digits",
            network="zoo:cifar10-resnet20",
            layers=("bn1", "layer1", "layer3", "linear"),
            train=60,
            test=30,
            size=8,
            rivals=("digits-cnn,width=0.5", "mlp,hidden=20"),
            steps=20,
            batch_size=20,
        ),
        "cpu": Settings(data="cifar10", seeds=10),
        "hours": Settings(
            data="cifar10",
            seeds=10,
            train=2000,
            test=1000,
            steps=3000,
            rivals=("resnet20", "resnet8,width=0.5", "alexnet-small,stem_stride=1"),
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
