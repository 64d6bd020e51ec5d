"""Batch normalisation: accuracy against iterations, with and without (Ioffe and Szegedy 2015).

The paper's Inception reaches 72.2 % after 31.0 million steps; with batch norm and nothing else after 13.3
million. Its BN-x5 does after 2.1 million: that is a bundle of changes (section 4.2.1: a rate five times as
high, no dropout, less weight decay, a faster decay of the rate, no local response normalisation, and more),
of which the rate is one; without batch norm that rate diverges. So the small version asks at each learning
rate, and counts the steps until the best that is reached without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ostrich.figures.chart import Chart
from ostrich.published import published
from ostrich.statistics import interval, spread, wilson
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.points import by_seed, mean_points, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of

FASTER = 2.0  # times fewer steps; the paper's figures are 2.3 at the same rate, 14.8 for the bundle of BN-x5
CHANCE_MARGIN = 5.0  # points above chance: less has not learned


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """Plain networks of `depth` layers; the rates are held constant after the first tenth of the run."""

    train: int = 1000
    test: int = 797
    pixels: int = 8
    depth: int = 14
    width: float = 0.5
    stem_stride: int = 1
    rates: tuple[float, ...] = (0.01, 0.1, 1.0)
    steps: int = 500
    batch_size: int = 64


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, rate=spec.rates, norm=(False, True))


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed = trial["seed"]
    given = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed)
    recipe = recipe_for(
        given,
        steps=spec.steps,
        batch_size=spec.batch_size,
        seed=seed,
        learning_rate=trial["rate"],
        warmup=0.1,
        schedule="constant",
        weight_decay=1e-4,
        nesterov=False,
    )
    options = f"width={spec.width},stem_stride={spec.stem_stride},norm={str(trial['norm']).lower()}"
    network = built(f"plain{spec.depth},{options}", given, seed, spec.device)
    curve = fitted(network, recipe, given, folder, held_out=True)
    rows: list[Row] = [
        {"step": row["step"], "test_accuracy": 100 * row["held_out_accuracy"]} for row in curve
    ]
    return [*rows, {"step": None, "classes": len(given.class_names), **measured(network, recipe, given)}]


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    curves = [row for row in rows_of(done) if row["step"] is not None]
    ends = [row for row in rows_of(done) if row["step"] is None]
    chance = 100 / ends[0]["classes"]
    best = {
        (norm, rate): _best([row for row in curves if row["norm"] == norm and row["rate"] == rate])
        for norm in (False, True)
        for rate in spec.rates
    }
    top = {norm: max(spec.rates, key=lambda rate: _mean(best[norm, rate])) for norm in (False, True)}
    goals = best[False, top[False]]  # by seed
    ratios = []
    for seed, goal in goals.items():
        with_, without = (
            _first([r for r in curves if r["norm"] == n and r["rate"] == top[n] and r["seed"] == seed], goal)
            for n in (True, False)
        )
        if with_ is not None and without is not None:
            ratios.append(without / with_)
    highest = max(spec.rates)
    learning = {norm: _learning(best[norm, highest], chance) for norm in (False, True)}
    lost, learned = (wilson(learning[norm], len(best[norm, highest])) for norm in (False, True))
    ratio, low, high = interval(ratios)
    everywhere = len(ratios) == spec.seeds
    reproduced = everywhere and low >= FASTER and lost[1] < 0.5 < learned[0]
    direction = everywhere and low > 1 and not (lost[0] > 0.5 or learned[1] < 0.5)
    because = (
        f"The best accuracy without batch norm ({_mean(goals):.1f} %, at a rate of {top[False]:g}) is "
        "reached with it "
        + (
            f"in {ratio:.1f} times fewer steps (95 % interval {low:.1f} to {high:.1f})"
            if everywhere
            else "not by every seed"
        )
        + f", at a rate of {top[True]:g}. At {highest:g} {learning[False]} of {spec.seeds} seeds learn "
        f"without it (share {lost[0]:.0%} to {lost[1]:.0%}), {learning[True]} with it ({learned[0]:.0%} to "
        f"{learned[1]:.0%})."
    )
    series = {
        f"rate {rate:g}, {'with' if norm else 'without'} batch norm": mean_points(
            [row for row in curves if row["norm"] == norm and row["rate"] == rate], "step", "test_accuracy"
        )
        for norm in (True, False)
        for rate in spec.rates
    }
    return Findings(
        verdict=decided(reproduced, direction),
        because=because,
        tables=[
            Table(
                title="Best test accuracy on the way, and training error at the end, in percent",
                columns=(
                    "rate",
                    "without: accuracy",
                    "with: accuracy",
                    "without: training error",
                    "with: training error",
                ),
                rows=[
                    (
                        rate,
                        *(spread(list(best[norm, rate].values()), 1) for norm in (False, True)),
                        *(
                            spread(list(by_seed(ends, "train_error", norm=norm, rate=rate).values()), 1)
                            for norm in (False, True)
                        ),
                    )
                    for rate in spec.rates
                ],
            )
        ],
        charts=[
            Chart(
                x_label="steps",
                even=True,
                y_label="test accuracy, %",
                series=series,
                dashed=frozenset(name for name in series if "without" in name),
            )
        ],
        compared=[
            (
                "times fewer steps to the best accuracy without it",
                f"{_steps('') / _steps('-bn-baseline'):.1f}; {_steps('') / _steps('-bn-x5'):.1f} in BN-x5's "
                "bundle",
                ranged((ratio, low, high)) if everywhere else "not reached by every seed",
            )
        ],
        figures={"times_fewer_steps": ratio if everywhere else None},
    )


def _steps(kind: str) -> float:
    """Published million steps to 72.2 %."""
    return published(f"inception{kind}/steps-to-72.2").value


def _best(rows: Sequence[Row]) -> dict[int, float]:
    """The highest accuracy of each seed."""
    found: dict[int, float] = {}
    for row in rows:
        found[row["seed"]] = max(found.get(row["seed"], 0.0), row["test_accuracy"])
    return found


def _learning(best: dict[int, float], chance: float) -> int:
    """How many seeds got above chance."""
    return sum(value > chance + CHANCE_MARGIN for value in best.values())


def _first(rows: Sequence[Row], goal: float) -> int | None:
    """The first step at which the accuracy is reached."""
    return min((row["step"] for row in rows if row["test_accuracy"] >= goal), default=None)


def _mean(values: dict[int, float]) -> float:
    return sum(values.values()) / len(values)


STUDY = Study(
    name="batchnorm",
    question="How much faster does a network learn with batch normalisation?",
    claim="With batch norm the same accuracy takes 2.3 times fewer steps at the same learning rate, and "
    "14.8 times fewer with the whole bundle of changes of BN-x5, one of which is five times that rate; at "
    "that rate the network without batch norm diverges.",
    source="Ioffe and Szegedy 2015, Batch normalization, sections 4.2.1 and 4.2.2, figure 3.",
    differs="A plain network of 14 layers on 1,000 digits of 8x8 pixels instead of Inception on ImageNet; "
    "steps are counted once an epoch, so their ratio is coarse.",
    rule="Reproduced: every seed reaches the best accuracy of the network without batch norm at its best "
    f"rate with it, in at least {FASTER:g} times fewer steps (lower end of the 95 % interval; either rate "
    "is chosen on the test images); and at the highest rate less than half of the seeds learn without it "
    f"and more than half with it (learning: {CHANCE_MARGIN:g} points above chance; Wilson's 95 % intervals "
    "of the shares lie below and above one half). Direction only: every seed reaches it, in surely fewer "
    "steps (lower end above 1), and neither share is surely on the other side of one half. Else not "
    "reproduced.",
    published=tuple(
        f"inception{kind}/{what}"
        for kind in ("", "-bn-baseline", "-bn-x5", "-bn-x30")
        for what in ("steps-to-72.2", "top1-accuracy")
    ),
    specs={
        "smoke": Settings(train=64, test=100, depth=8, width=0.25, rates=(0.05, 1.0), steps=4),
        "cpu": Settings(seeds=20),
        "gpu": Settings(
            device="cuda",
            data="cifar10",
            train=50_000,
            test=10_000,
            pixels=32,
            depth=20,
            width=1.0,
            steps=20_000,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
