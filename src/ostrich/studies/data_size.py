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
from pathlib import Path

from ostrich.figures.chart import Chart
from ostrich.published import published
from ostrich.statistics import slope, spread
from ostrich.studies.datasets import open_splits, with_label_noise
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.points import mean_points
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, rows_of, values_of

LEARNED = 0.8  # of chance's error: the sizes below it belong to the log-linear part
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
    fitting = [row for row in clean if row["n"] in learned]
    x, y = ([math.log10(row[name]) for row in fitting] for name in ("n", "test_error"))
    exponent, low, high = slope(x, y) if len(learned) > 1 else (math.nan, -math.inf, math.inf)
    falls = all(means[a] > means[b] for a, b in zip(spec.sizes, spec.sizes[1:]))
    dear = all(
        _mean([row for row in rows if row["noise"] == noise], n) > means[n]
        for n in spec.sizes
        for noise in spec.noise
        if noise
    )
    theirs = published_exponent()
    reproduced = falls and dear and high < 0
    because = (
        f"The test error goes as n to the {exponent:.2f} (95 % interval {low:.2f} to {high:.2f}; "
        f"{len(fitting)} runs, sizes {', '.join(map(str, learned))}), the published one as n to the "
        f"{theirs:.2f}; it falls {'at every' if falls else 'not at every'} step, and wrong labels cost "
        f"{'at every' if dear else 'not at every'} size (n = {spec.seeds} draws)."
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
        verdict="reproduced" if reproduced else "direction only" if exponent < 0 else "not reproduced",
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
    rule="Reproduced: the mean error falls at every step of n, wrong labels raise it at every n, and the "
    f"exponent of the fit through the sizes with less than {LEARNED:.0%} of chance's error has a 95 % "
    "interval below zero. Direction only: the exponent is below zero. Else not reproduced.",
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
        "cpu": Settings(),
        "gpu": Settings(
            device="cuda",
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
