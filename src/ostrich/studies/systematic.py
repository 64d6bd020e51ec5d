"""What each choice brings, one at a time (Mishkin, Sergievskiy and Matas 2017).

They train one CaffeNet on ImageNet at 128 pixels and change a single thing each time: activation, pooling,
rate policy, batch size, batch norm, width, head, colours. Here the same changes are made to a small network
of the same form (`systematic_variants.py`), and each difference is put beside the published one. A comparison
is of two networks of one seed, on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from ostrich.data.split import hold_out
from ostrich.figures.chart import Chart
from ostrich.models.loading import pick_device
from ostrich.published import published
from ostrich.runtime.randomness import seeded
from ostrich.statistics import interval, rank_correlation, sign_test, spread
from ostrich.studies.datasets import Splits, open_splits
from ostrich.studies.fitting import fitted, recipe_for
from ostrich.studies.points import by_seed, paired, ranged
from ostrich.studies.schema import (
    FEWEST_SEEDS,
    Done,
    Findings,
    Row,
    Spec,
    Study,
    Table,
    Trial,
    crossed,
    decided,
    rows_of,
)
from ostrich.studies.systematic_variants import VARIANTS, Variant, in_colours, network_of, unit_variance
from ostrich.training.loop import accuracy, normalised, to_images
from ostrich.training.recipe import Recipe

SMALL = 1.0  # points: of a smaller published difference no direction is asked
SURE = 0.05  # the sign test's level, one-sided
ORDERED = 0.5  # the least rank correlation with the published differences
START_IMAGES = 256  # on which weights are scaled


@dataclass(frozen=True)
class Comparison:
    """A variant less another, here and as published: two numbers' names, before `/accuracy`."""

    name: str
    variant: str
    against: str
    published: str
    published_against: str

    def theirs(self) -> float:
        """The published difference, points."""
        one, other = (
            published(f"{name}/accuracy").value for name in (self.published, self.published_against)
        )
        return round(100 * (one - other), 1)


COMPARISONS = tuple(
    Comparison(name, variant, against, f"caffenet128-{theirs}", f"caffenet128-{base}")
    for name, variant, against, theirs, base in (
        ("ELU for ReLU", "elu", "baseline", "elu", "1200k"),
        ("tanh for ReLU", "tanh", "baseline", "tanh", "1200k"),
        ("no activation", "linear", "baseline", "linear", "1200k"),
        ("average for max pooling", "average pooling", "baseline", "average-pooling", "max-pooling"),
        ("max and average pooling", "max and average pooling", "baseline", "sum-pooling", "max-pooling"),
        ("pooling without overlap", "pooling without overlap", "baseline", "2x2-pooling", "max-pooling"),
        ("rate falls linearly", "linear rate", "baseline", "linear-rate", "step-rate"),
        ("4x batch", "four times the batch", "baseline", "batch1024", "1200k"),
        ("4x batch and rate", "four times batch and rate", "baseline", "batch1024-rate4", "1200k"),
        ("batch norm before ReLU", "norm before", "baseline", "norm-before", "1200k"),
        ("batch norm after ReLU", "norm after", "baseline", "norm-after", "1200k"),
        ("after for before ReLU", "norm after", "norm before", "norm-after", "norm-before"),
        ("half the width", "half width", "baseline", "half-width", "1200k"),
        ("1.4x the width", "wider", "baseline", "wider", "1200k"),
        ("convolutional head (ELU)", "elu, convolutional head", "elu", "elu-convolutional-head", "elu"),
        ("HSV for RGB", "HSV", "baseline", "hsv", "rgb-normalised"),
        ("YCrCb for RGB", "YCrCb", "baseline", "ycrcb", "rgb-normalised"),
        ("grey for RGB", "grey", "baseline", "grey", "1200k"),
        ("learned colours", "learned colours", "baseline", "learned-colours", "1200k"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`held_out` of the `train` images judge, the others are trained on; `maps` of the first layer.

    `learning_rate` is the baseline's, that of `batch_size` images; `pool` is of the toybox.
    """

    data: str = "toybox"
    train: int = 1800
    held_out: int = 600
    test: int = 512
    pool: int | None = None
    pixels: int = 32
    maps: int = 16
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    shift: int = 2
    precision: str = "fast"


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, variant=tuple(VARIANTS))


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed, variant = trial["seed"], VARIANTS[trial["variant"]]
    given, held_out = _opened(spec, seed, variant.colours)
    recipe = recipe_of(spec, variant, given, seed)
    images = given.train.tensors()[0]
    every = max(1, len(images) // START_IMAGES)  # folders are read class by class
    some = to_images(images[::every][:START_IMAGES], torch.device("cpu"))
    with seeded(seed):
        network = network_of(
            variant,
            maps=spec.maps,
            classes=len(given.class_names),
            channels=given.channels,
            size=spec.pixels,
        )
        unit_variance(network, normalised(some, recipe))
    network.to(pick_device(spec.device))
    curve = fitted(network, recipe, given, folder)
    rows: list[Row] = [{"epoch": r["epoch"], "running_accuracy": 100 * r["train_accuracy"]} for r in curve]
    end = {
        f"{name}_accuracy": 100 * accuracy(network, recipe, *part.tensors())
        for name, part in (("held_out", held_out.train), ("test", given.test))
    }
    return [*rows, {"epoch": None, **end}]


def recipe_of(spec: Settings, variant: Variant, given: Splits, seed: int) -> Recipe:
    """How a variant is trained: as many images whatever the batch."""
    batch = variant.batch * spec.batch_size
    return recipe_for(
        given,
        steps=spec.epochs * -(-len(given.train) // batch),
        batch_size=batch,
        seed=seed,
        learning_rate=variant.rate * spec.learning_rate,
        schedule=variant.schedule,
        warmup=0.0,
        nesterov=False,
        weight_decay=spec.weight_decay,
        flip=True,
        shift=spec.shift,
        precision=spec.precision,
    )


def _opened(spec: Settings, seed: int, colours: str) -> tuple[Splits, Splits]:
    """Images to train and to test on, and those held out, in these colours."""
    stay, aside = _parted(spec, seed)
    return in_colours(stay, colours), in_colours(aside, colours)


@lru_cache(maxsize=1)
def _parted(spec: Settings, seed: int) -> tuple[Splits, Splits]:
    """The images of a seed in RGB, read once for all its variants where they run in one process."""
    every = open_splits(
        spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed, pool=spec.pool
    )
    labels = every.train.tensors()[1].tolist()
    stay, aside = hold_out(every.train.keys, spec.held_out, labels, seed=seed)
    return replace(every, train=every.train.take(stay)), replace(every, train=every.train.take(aside))


def differences(rows: Sequence[Row], field: str = "held_out_accuracy") -> dict[str, list[float]]:
    """Of each comparison the difference of every seed that has both networks, points."""
    ends = [row for row in rows if row["epoch"] is None]
    found = {
        one.name: paired(by_seed(ends, field, variant=one.variant), by_seed(ends, field, variant=one.against))
        for one in COMPARISONS
    }
    return {name: values for name, values in found.items() if values}


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    ours = differences(rows)
    theirs = {one.name: one.theirs() for one in COMPARISONS if one.name in ours}
    means = {name: interval(values) for name, values in ours.items()}
    asked = [name for name in ours if abs(theirs[name]) >= SMALL]
    agree = [name for name in asked if means[name][0] * theirs[name] > 0]
    against = [name for name in asked if _surely(means[name]) * theirs[name] < 0]
    chance = sign_test(len(agree), len(asked))
    order = rank_correlation([theirs[name] for name in asked], [means[name][0] for name in asked])
    same_way = chance <= SURE
    verdict = decided(same_way and order >= ORDERED and not against, same_way)
    ordered = sorted(ours, key=lambda name: theirs[name])
    on_test = differences(rows, "test_accuracy")
    return Findings(
        verdict=verdict,
        because=f"{len(agree)} of {len(asked)} differences have the published direction (by chance so many "
        f"with a probability of {chance:.3f}); their rank correlation with the published is {order:.2f}; "
        + (
            f"surely the other way {'goes' if len(against) == 1 else 'go'} {', '.join(against)}."
            if against
            else "none goes surely the other way."
        ),
        compared=[
            (f"{name}, points of accuracy", f"{theirs[name]:+.1f}", _told(ours[name])) for name in ordered
        ],
        tables=[
            Table(
                title="Differences of accuracy in points, paired by seed",
                columns=("change", "published", "here, held-out images", "same direction", "test images"),
                rows=[
                    (
                        name,
                        theirs[name],
                        _told(ours[name]),
                        name in agree if name in asked else f"not asked below {SMALL:g}",
                        _told(on_test[name]),
                    )
                    for name in ordered
                ],
            ),
            Table(
                title="Accuracy in percent",
                columns=("network", "held-out images", "test images", "batches of the last epoch"),
                rows=[(name, *_accuracies(rows, name)) for name in VARIANTS],
            ),
        ],
        charts=[
            Chart(
                x_label="change",
                y_label="accuracy, points",
                even=True,
                fraction=False,
                series={
                    "here": [
                        {"x": i, "y": centre, "label": name}
                        | ({"low": low, "high": high} if len(ours[name]) >= FEWEST_SEEDS else {})
                        for i, name in enumerate(ordered)
                        for centre, low, high in [means[name]]
                    ],
                    "published (ImageNet)": [
                        {"x": i, "y": theirs[name], "label": name} for i, name in enumerate(ordered)
                    ],
                },
                dashed=frozenset(["published (ImageNet)"]),
            )
        ],
        figures={
            "same_direction": len(agree),
            "of": len(asked),
            "by_chance": chance,
            "rank_correlation": order,
            "surely_the_other_way": len(against),
        },
    )


def _told(values: Sequence[float]) -> str:
    """A difference in words; one seed has no interval."""
    return ranged(interval(values), 1, "+") if len(values) > 1 else f"{values[0]:+.1f} (one seed)"


def _surely(found: tuple[float, float, float]) -> int:
    """1 or -1 where the whole interval lies on that side of zero, else 0."""
    _, low, high = found
    return (low > 0) - (high < 0)


def _accuracies(rows: Sequence[Row], variant: str) -> tuple[str, str, str]:
    mine = [row for row in rows if row["variant"] == variant]
    last = max((row["epoch"] for row in mine if row["epoch"] is not None), default=None)
    return (
        spread(list(by_seed(mine, "held_out_accuracy", epoch=None).values()), 1),
        spread(list(by_seed(mine, "test_accuracy", epoch=None).values()), 1),
        spread(list(by_seed(mine, "running_accuracy", epoch=last).values()), 1),
    )


# --data cifar10:PATH takes class folders train/ and test/, of which the test split may be short
_CIFAR = Settings(data="cifar10", train=30_000, held_out=10_000, test=1000, epochs=8, learning_rate=0.01)
STUDY = Study(
    name="systematic",
    question="What do activation, pooling, rate, batch size, batch norm, width, head and colours each bring?",
    claim="CaffeNet at 128 pixels has 47.1 % right on ImageNet. ELU, the sum of max and average pooling, "
    "pooling without overlap, a rate that falls linearly, batch norm after the rectifier, more width, a "
    "convolutional head and learned colours each bring 1 to 4 points; tanh, no activation, average pooling, "
    "a larger batch at the same rate, half the width, HSV, YCrCb and grey each cost 1 to 8.",
    source="Mishkin, Sergievskiy and Matas 2017, Systematic evaluation of CNN advances on the ImageNet, and "
    "the tables of its benchmark.",
    differs="The network is small: convolutions of 16, 32 and 32 maps and a hidden layer of 128 for images "
    "of 32 pixels, without dropout, in bf16 where the processor has it. At scale `hours` it sees 20,000 "
    "images of CIFAR-10 for 8 epochs, where theirs see ImageNet's for 64: none of ours overfits, so what is "
    "compared is how far each gets in that time too. It is judged on 10,000 training images that are held "
    "out, since the 1,000 test images tell no point apart. The rate is the baseline's best of .01, .02 and "
    ".04 on a seed that does not count; it falls to a tenth after half and after three quarters of the run, "
    "theirs after each 100,000 of 320,000 steps. The batch is 64 images, theirs 256, and theirs are single "
    "runs. Colour spaces are Pillow's, in 8 bits, each channel brought to mean 0 and deviation 1; so HSV and "
    "YCrCb are compared with their RGB that batch norm normalised. Scale `gpu` has twice the width, 40,000 "
    "images and 64 epochs; scale `cpu` takes the toybox, of few colours.",
    rule=f"Asked of every comparison whose published difference is {SMALL:g} point or more: has the mean "
    "over seeds, at least three, of the difference in accuracy on held-out images, paired by seed, the "
    "published sign? Same direction: by a one-sided sign test so many agree by chance with a probability of "
    f"at most {SURE:g}, which of 17 takes 13. (They share a baseline, so they are not independent; since "
    "nine are published as gains and eight as losses, a lucky baseline favours neither.) Reproduced: same "
    "direction, no such comparison whose 95 % interval over seeds lies wholly on the other side of zero, and "
    f"a rank correlation of these differences with the published ones of at least {ORDERED:g}. Direction "
    "only: same direction. Else not reproduced. Smaller published differences are shown, and nothing is "
    "asked of them.",
    published=tuple(
        dict.fromkeys(
            f"{name}/accuracy" for one in COMPARISONS for name in (one.published_against, one.published)
        )
    ),
    specs={
        "smoke": Settings(
            train=48, held_out=16, test=16, pixels=16, maps=2, epochs=1, batch_size=8, precision="exact"
        ),
        "cpu": Settings(),
        "hours": _CIFAR,
        "gpu": replace(_CIFAR, device="cuda", train=50_000, test=10_000, maps=32, epochs=64),
    },
    trials=trials,
    run=run,
    judge=judge,
    row_by_row=True,
)
