"""How much data does a network need: error against the logarithm of the number of images, with label noise.

Mishkin et al. 2017 (section on dataset size) trained one network on 200 thousand to 1.2 million ImageNet
images: accuracy rises with the logarithm of their number, and a share of wrong labels costs as much as fewer
images. Here all runs take the same number of steps, so more images mean fewer passes over each; nothing is
tuned anew for a size. Subsets are class-balanced and nested: a seed's smaller set lies inside its larger
ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import linear_regression

from ostrich.figures.chart import Chart
from ostrich.published import published
from ostrich.statistics import interval, slope, spread
from ostrich.studies.datasets import open_splits, with_label_noise
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.points import by_seed, mean_points, paired, ranged
from ostrich.studies.schema import (
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
    values_of,
)

LEARNED = 0.8  # of chance's error: the sizes below it belong to the log-linear part
WIDEST = 2.0  # times the published exponent: an interval that reaches farther down decides nothing
PUBLISHED_SIZES = (200, 400, 600, 800, 1200)  # thousand images


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`pool` images of the toybox are what the draws are made from; `noise` shares of changed labels."""

    data: str = "toybox"
    sizes: tuple[int, ...] = (100, 300, 1000, 3000)
    noise: tuple[float, ...] = (0.0, 0.25)
    pool: int = 6000
    test: int = 1500
    pixels: int = 32
    architecture: str = "resnet8,width=0.5,stem_stride=2"
    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    shift: int = 2


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, n=spec.sizes, noise=spec.noise)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed = trial["seed"]
    given = open_splits(
        spec.data, size=spec.pixels, train=trial["n"], test=spec.test, seed=seed, pool=spec.pool
    )
    given = with_label_noise(given, trial["noise"], seed)
    recipe = recipe_for(
        given,
        steps=spec.steps,
        batch_size=min(spec.batch_size, trial["n"]),
        seed=seed,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        shift=spec.shift,
        flip=spec.data != "digits",
    )
    network = built(spec.architecture, given, seed, spec.device)
    fitted(network, recipe, given, folder)
    return [{"classes": len(given.class_names), **measured(network, recipe, given)}]


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    clean = [row for row in rows if row["noise"] == 0]
    chance = 100 * (1 - 1 / clean[0]["classes"])
    means = {n: _mean(clean, n) for n in spec.sizes}
    learned = [n for n in spec.sizes if means[n] < LEARNED * chance]
    exponents = _exponents(clean, learned)
    exponent, low, high = interval(exponents)
    steps = {n: interval(_paired(clean, larger, clean, n)) for n, larger in pairwise(spec.sizes)}
    falls = all(top < 0 for _, _, top in steps.values())
    costs = {
        (n, noise): interval(_paired([r for r in rows if r["noise"] == noise], n, clean, n))
        for n in spec.sizes
        for noise in spec.noise
        if noise
    }
    dear = all(bottom > 0 for _, bottom, _ in costs.values())
    theirs = published_exponent()
    agrees = WIDEST * theirs <= low <= theirs <= high < 0
    because = (
        f"The test error goes as n to the {exponent:.2f} (95 % interval {low:.2f} to {high:.2f}; the "
        f"exponents of {len(exponents)} draws through the sizes {', '.join(map(str, learned))}), the "
        f"published one as n to the {theirs:.2f}, which "
        f"{'lies' if low <= theirs <= high else 'does not lie'} within. It falls "
        f"{'surely at every' if falls else 'not surely at every'} step, and wrong labels cost "
        f"{'surely at every' if dear else 'not surely at every'} size (paired by seed, n = {spec.seeds} "
        "draws)."
    )
    series = {
        ("right labels" if not noise else f"{100 * noise:.0f} % wrong labels"): mean_points(
            [row for row in rows if row["noise"] == noise], "n", "test_error"
        )
        for noise in spec.noise
    }
    losses = {
        name: mean_points([r for r in rows if r["noise"] == noise], "n", "test_loss")
        for name, noise in zip(series, spec.noise)
    }
    name = "published: ImageNet, thousand images"
    return Findings(
        verdict=decided(falls and dear and agrees, high < 0),
        because=because,
        tables=[
            Table(
                title="Test error in percent, and test loss",
                columns=("images", *(f"{part}, {s}" for part in series for s in ("error", "loss"))),
                rows=[
                    (
                        n,
                        *(
                            spread(
                                values_of(
                                    [r for r in rows if r["n"] == n and r["noise"] == noise], f"test_{what}"
                                )
                            )
                            for noise in spec.noise
                            for what in ("error", "loss")
                        ),
                    )
                    for n in spec.sizes
                ],
            )
        ],
        charts=[
            Chart(
                title="Error",
                x_label="training images",
                y_label="test error, %",
                series={**series, name: _published_points()},
                dashed=frozenset([name]),
            ),
            Chart(
                title="Loss", x_label="training images", y_label="test loss", series=losses, fraction=False
            ),
        ],
        compared=[("exponent of the error", f"{theirs:.2f}", ranged((exponent, low, high), 2))],
        figures={
            "exponent": exponent,
            "exponent_low": low,
            "exponent_high": high,
            "published_exponent": theirs,
        },
    )


def published_exponent() -> float:
    """The slope of log error on log n of the published accuracies."""
    points = _published_points()
    return slope([math.log10(p["x"]) for p in points], [math.log10(p["y"]) for p in points])[0]


def _published_points() -> list[dict[str, float]]:
    return [{"x": n, "y": 100 * (1 - published(f"caffenet128-{n}k/accuracy").value)} for n in PUBLISHED_SIZES]


def _exponents(rows: Sequence[Row], sizes: Sequence[int]) -> list[float]:
    """Each seed's slope of log error on log n; none where there are fewer than two sizes."""
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        mine = _by_size(rows, seed, sizes)
        if len(mine) > 1 and all(error > 0 for error in mine.values()):
            x, y = ([math.log10(value) for value in values] for values in (mine, mine.values()))
            found.append(linear_regression(x, y).slope)
    return found


def _by_size(rows: Sequence[Row], seed: int, sizes: Sequence[int]) -> dict[int, float]:
    """A seed's test errors by the number of images."""
    return {row["n"]: row["test_error"] for row in rows if row["seed"] == seed and row["n"] in sizes}


def _paired(first: Sequence[Row], n: int, second: Sequence[Row], m: int) -> list[float]:
    """Test error of the first with n images less that of the second with m, for every seed."""
    return paired(by_seed(first, "test_error", n=n), by_seed(second, "test_error", n=m))


def _mean(rows: Sequence[Row], n: int) -> float:
    found = values_of([row for row in rows if row["n"] == n], "test_error")
    return sum(found) / len(found)


STUDY = Study(
    name="data-size",
    question="How much data does a network need, and what do wrong labels cost?",
    claim="Accuracy rises with the logarithm of the number of images, from 0.305 at 200 thousand to 0.471 "
    "at 1.2 million; 5 % wrong labels cost 1.3 points, 50 % 12.4.",
    source="Mishkin, Sergievskiy and Matas 2017, Systematic evaluation of CNN advances on the ImageNet, "
    "and its benchmark tables.",
    differs="A residual network of 8 layers on toybox scenes (or, with --data cifar10:PATH, on CIFAR "
    "images) of 32 pixels; the number of steps is fixed, that of epochs is not. For the published runs it "
    "is not known which was.",
    rule="Everything is paired by seed, with 95 % intervals. Reproduced: the test error falls at every "
    "step of n and wrong labels raise it at every n, each with an interval off zero; and the exponents of "
    f"the draws, each fitted through the sizes with less than {LEARNED:.0%} of chance's error, have an "
    f"interval that holds the published exponent and lies between {WIDEST:g} times it and zero. Direction "
    "only: the exponents' interval lies below zero. Else not reproduced.",
    published=(
        *(f"caffenet128-{n}k/accuracy" for n in PUBLISHED_SIZES),
        *(f"caffenet128-noise{share}/accuracy" for share in (5, 10, 15, 50)),
    ),
    specs={
        "smoke": Settings(
            data="digits",
            sizes=(20, 60, 200),
            test=200,
            pixels=8,
            architecture="digits-cnn,width=0.5",
            steps=15,
            learning_rate=0.05,
            shift=0,
        ),
        "cpu": Settings(seeds=6),
        "hours": Settings(
            seeds=6,
            data="cifar10",
            sizes=(1000, 3000, 10_000, 25_000, 50_000),
            test=1000,
            architecture="resnet8,stem_stride=2",
            steps=3000,
            batch_size=128,
        ),
        "gpu": Settings(
            device="cuda",
            seeds=6,
            data="cifar10",
            sizes=(500, 1000, 2000, 5000, 10_000, 20_000, 50_000),
            noise=(0.0, 0.1, 0.25, 0.5),
            test=10_000,
            architecture="resnet20",
            steps=20_000,
            batch_size=128,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
