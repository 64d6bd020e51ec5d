"""Features off the shelf: a linear classifier on what a network trained on other classes computes.

Razavian et al. 2014 took OverFeat's first fully connected layer, normalised its 4096 numbers to length one,
and trained a linear SVM for other tasks, which beat most of what was built for them. Their figure 2 asks it
of every layer. Here half of the classes train the network, and the other half are told apart by a linear SVM
on each layer's features; beside them stand the pixels, HOG (Dalal and Triggs 2005), and the same network
untrained. C, and the layer of either network, are chosen on a part of the training images of the new classes
(`data/split.py`); the test images are asked once. The network is in evaluation mode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ostrich.data.split import subset
from ostrich.figures.chart import Chart
from ostrich.inspection.units import layers
from ostrich.runtime.randomness import keyed
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, classifier, fitted, measured, recipe_for
from ostrich.studies.linear_features import (
    CLAIM,
    PUBLISHED,
    SOURCE,
    chosen_layers,
    hog,
    layer_features,
    linear,
    pixels,
    published_gains,
)
from ostrich.studies.points import by_seed, mean_points, paired, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`source` classes of the data train the network, the rest are the target; `most` numbers a feature."""

    data: str = "toybox"
    source: int = 5
    train: int = 3000
    test: int = 1000
    pixels: int = 32
    architecture: str = "alexnet-small,stem_stride=1"
    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 0.02
    target_images: int = 500  # of all target classes together, for the linear classifier
    most: int = 1024


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed = trial["seed"]
    every = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed)
    order = torch.randperm(len(every.class_names), generator=keyed(seed, 13)).tolist()
    source, target = every.only(order[: spec.source]), every.only(order[spec.source :])
    recipe = recipe_for(
        source,
        steps=spec.steps,
        batch_size=spec.batch_size,
        seed=seed,
        learning_rate=spec.learning_rate,
        clip_norm=1.0,
        shift=2,
        flip=spec.data != "digits",
    )
    network = built(spec.architecture, source, seed, spec.device)
    untrained = built(spec.architecture, source, seed, spec.device)
    fitted(network, recipe, source, folder)
    few = subset(target.train.tensors()[1].tolist(), len(target.train), spec.target_images, seed)
    target = replace(target, train=target.train.take(few))
    rows: list[Row] = [{"what": "source", **measured(network, recipe, source)}]
    for what, features in (("pixels", pixels), ("HOG", hog)):
        x, test_x = (features(part.tensor()) for part in (target.train, target.test))
        rows.append({"what": what, "layer": what, **linear(x, test_x, target, seed)})
    for what, one in (("trained", network), ("untrained", untrained)):
        own = classifier(one, recipe, source)
        names = [row.name for row in layers(own) if row.type in ("ReLU", "MaxPool2d", "Linear")]
        by_name = [
            layer_features(own, part.tensor(), names, spec.most) for part in (target.train, target.test)
        ]
        for place, name in enumerate(names):
            accuracy = linear(by_name[0][name], by_name[1][name], target, seed)
            rows.append({"what": what, "layer": name, "place": place, **accuracy})
    return rows


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    learned = [row for row in rows if row["what"] == "trained"]
    names = list(dict.fromkeys(row["layer"] for row in learned))
    by_layer = {name: by_seed(learned, "accuracy", layer=name) for name in names}
    random = {name: by_seed(rows, "accuracy", what="untrained", layer=name) for name in names}
    baselines = {what: by_seed(rows, "accuracy", what=what) for what in ("pixels", "HOG")}
    chosen = chosen_layers(rows, "trained")
    ours = {seed: by_layer[name][seed] for seed, name in chosen.items()}
    others = {
        "pixels": baselines["pixels"],
        "HOG": baselines["HOG"],
        "the first layer": by_layer[names[0]],
        "the layer chosen untrained": {
            s: random[name][s] for s, name in chosen_layers(rows, "untrained").items()
        },
    }
    gains = {what: interval(paired(ours, found)) for what, found in others.items()}
    reproduced = all(low > 0 for _, low, _ in gains.values())
    direction = all(gain > 0 for gain, _, _ in gains.values())
    times = Counter(chosen.values()).most_common()
    because = (
        f"The layer chosen on validation images ({', '.join(f'{name} {k} times' for name, k in times)}) has "
        f"{spread(list(ours.values()), 1)} % right on test images: "
        + ", ".join(
            f"{gain:+.1f} points against {what} (95 % interval {low:.1f} to {high:.1f})"
            for what, (gain, low, high) in gains.items()
        )
        + "."
    )

    def level(what: str) -> list[dict[str, float]]:
        mean = sum(baselines[what].values()) / len(baselines[what])
        return [{"x": i, "y": mean} for i in (0, len(names) - 1)]

    def curve(what: str) -> list[dict[str, object]]:
        points = mean_points([row for row in rows if row["what"] == what], "place", "accuracy")
        return [{**point, "label": names[int(point["x"])]} for point in points]

    source = [row["test_error"] for row in rows if row["what"] == "source"]
    return Findings(
        verdict=decided(reproduced, direction),
        because=because,
        tables=[
            Table(
                title="A linear SVM on the other classes, percent right",
                columns=("features", "trained on other classes", "untrained"),
                rows=[
                    *((what, spread(list(found.values()), 1), "-") for what, found in baselines.items()),
                    *(
                        (
                            name,
                            spread(list(by_layer[name].values()), 1),
                            spread(list(random[name].values()), 1),
                        )
                        for name in names
                    ),
                ],
            )
        ],
        charts=[
            Chart(
                x_label="layer",
                even=True,
                y_label="right, %",
                series={
                    "trained on other classes": curve("trained"),
                    "untrained": curve("untrained"),
                    "pixels": level("pixels"),
                    "HOG": level("HOG"),
                },
                dashed=frozenset(["pixels", "HOG"]),
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
            f"over_{what.lower().replace(' ', '_')}{end}": value
            for what, found in gains.items()
            for end, value in zip(("", "_low", "_high"), found)
        },
        notes=[f"The networks' own error on their {spec.source} classes: {spread(source, 1)} %."],
    )


STUDY = Study(
    name="off-the-shelf",
    question="Are the features of a network good for classes that it was not trained on?",
    claim=CLAIM,
    source=SOURCE,
    differs="A small AlexNet trained on half of ten classes, tested on the other half; no augmentation for "
    "the SVM. Maps are averaged down to at most 1,024 numbers. The hand-made features are HOG.",
    rule="For each seed the layer is the one with the best accuracy on validation images, a quarter of the "
    "training images of the new classes; test images are not looked at. Reproduced: its test accuracy, "
    "paired by seed, is above that of pixels, of HOG, of the first layer, and of the layer of the "
    "untrained network that is chosen in the same way, each with a 95 % interval above zero. Direction "
    "only: above all four in the mean. Else not reproduced.",
    published=PUBLISHED,
    specs={
        "smoke": Settings(
            data="digits",
            train=150,
            test=100,
            pixels=8,
            architecture="digits-cnn,width=0.5",
            steps=20,
            target_images=40,
            batch_size=16,
        ),
        "cpu": Settings(seeds=10),
        "gpu": Settings(
            device="cuda",
            seeds=10,
            data="cifar10",
            train=50_000,
            test=10_000,
            steps=20_000,
            target_images=5000,
            most=4096,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
