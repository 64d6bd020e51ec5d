"""Batch normalisation on MNIST (Ioffe and Szegedy 2015, section 4.1 and figure 1).

Three layers of 100 sigmoids, weights from a small Gaussian, 50,000 steps of 60 images. Their figure shows the
test accuracy on the way, and the 15th, 50th and 85th percentile of the input of one sigmoid of the last
hidden layer: with batch norm the network is faster and better, and the distribution is steadier. Neither the
rate nor the Gaussian's width is published, so each network has the best rate of a grid, chosen on held-out
training images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ostrich.data.split import hold_out
from ostrich.figures.chart import Chart
from ostrich.runtime.randomness import seeded
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import open_splits
from ostrich.studies.points import by_seed, mean_points, paired, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of
from ostrich.studies.steps import as_floats, error, outputs, stepped

PERCENTILES = (15, 50, 85)  # figure 1 (b, c)
LOOKS = 30  # on the way, evenly in the logarithm of the steps
WARM = 0.1  # of the steps: how steady the inputs are is measured after these
UNIT = 0  # the sigmoid whose input is drawn


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`units` sigmoids in each of three layers; weights from N(0, `start`); `held_out` images choose the
    rate."""

    train: int = 1597
    test: int = 200
    pixels: int = 8
    held_out: int = 300
    units: int = 100
    start: float = 0.1
    rates: tuple[float, ...] = (0.01, 0.1, 1.0)
    steps: int = 5000
    batch_size: int = 60


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, rate=spec.rates, norm=(False, True))


def network_of(spec: Settings, features: int, classes: int, norm: bool) -> nn.Sequential:
    """Images (N, D) to logits; batch norm between a layer's weights and its sigmoid, which then have no
    bias."""
    layers: list[nn.Module] = []
    for before in (features, spec.units, spec.units):
        layers.append(nn.Linear(before, spec.units, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(spec.units))
        layers.append(nn.Sigmoid())
    layers.append(nn.Linear(spec.units, classes))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=spec.start)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def looks(steps: int) -> list[int]:
    """The steps after which it is looked at, the last one among them."""
    return sorted({round(math.exp(math.log(steps) * i / LOOKS)) for i in range(LOOKS + 1)})


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed = trial["seed"]
    given = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed, grey=True)
    stay, aside = hold_out(given.train.keys, spec.held_out, given.train.tensors()[1].tolist(), seed=seed)
    (images, labels), (test, test_labels) = (
        as_floats(part, spec.device) for part in (given.train, given.test)
    )
    with seeded(seed):
        network = network_of(spec, images.shape[1], len(given.class_names), trial["norm"]).to(images.device)
    medians: list[Tensor] = []
    widths: list[Tensor] = []

    def watch(step: int) -> Row:
        inputs = outputs(network[:-2], test)  # (N, units), of the last hidden layer's sigmoids
        low, middle, high = (inputs.quantile(p / 100, dim=0) for p in PERCENTILES)
        if step >= WARM * spec.steps:
            medians.append(middle)
            widths.append(high - low)
        accuracy = 100 - error(network, test, test_labels)
        at = zip(PERCENTILES, (low, middle, high))
        return {"step": step, "test_accuracy": accuracy, **{f"p{p}": x[UNIT].item() for p, x in at}}

    optimiser = torch.optim.SGD(network.parameters(), lr=trial["rate"])
    rows = stepped(
        network,
        optimiser,
        images[stay],
        labels[stay],
        steps=spec.steps,
        batch_size=spec.batch_size,
        seed=seed,
        at=looks(spec.steps),
        watch=watch,
    )
    drift = torch.stack(medians).std(0).mean() / torch.stack(widths).mean().clamp_min(1e-12)
    end = {
        "held_out_accuracy": 100 - error(network, images[aside], labels[aside]),
        "test_accuracy": 100 - error(network, test, test_labels),
        "drift": drift.item(),
    }
    return [*rows, {"step": None, **end}]


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    curves, ends = ([r for r in rows if (r["step"] is None) == end] for end in (False, True))

    def of(what: str, norm: bool, rate: float) -> dict[int, float]:
        return by_seed(ends, what, norm=norm, rate=rate)

    best = {
        norm: max(spec.rates, key=lambda rate: sum(of("held_out_accuracy", norm, rate).values()))
        for norm in (False, True)
    }
    accuracy, drift = (
        {norm: of(what, norm, best[norm]) for norm in (False, True)} for what in ("test_accuracy", "drift")
    )
    gain = interval(paired(accuracy[True], accuracy[False]))
    steadier = interval(paired(drift[False], drift[True]))
    ratios = []
    for seed, goal in accuracy[False].items():
        with_, without = (
            _first([r for r in curves if (r["norm"], r["rate"], r["seed"]) == (norm, best[norm], seed)], goal)
            for norm in (True, False)
        )
        if with_ is not None and without is not None:
            ratios.append(without / with_)
    every = len(ratios) == spec.seeds
    faster = interval(ratios)
    sooner = every and faster[1] > 1
    reproduced = sooner and gain[1] > 0 and steadier[1] > 0
    speed = f"in {ranged(faster)} times fewer steps" if every else "not by every seed"
    because = (
        f"Each at its best rate ({best[False]:g} without, {best[True]:g} with), batch norm ends "
        f"{ranged(gain, 2, '+')} points higher on test images; the last accuracy of the network without is "
        f"reached with it {speed}; the medians of the last sigmoids' inputs move by "
        f"{spread(list(drift[False].values()))} of the inputs' width without, by "
        f"{spread(list(drift[True].values()))} with."
    )
    if max(spec.rates) in best.values():
        because += f" No rate above {max(spec.rates):g} was tried; a better one may lie there."
    named = {False: "without batch norm", True: "with batch norm"}
    series = {
        f"{named[norm]}, rate {rate:g}": mean_points(
            [r for r in curves if r["norm"] == norm and r["rate"] == rate], "step", "test_accuracy"
        )
        for norm in (False, True)
        for rate in spec.rates
    }
    inputs = {
        f"{named[norm]}, {p} %": mean_points(
            [r for r in curves if (r["norm"], r["rate"], r["seed"]) == (norm, best[norm], 0)], "step", f"p{p}"
        )
        for norm in (False, True)
        for p in PERCENTILES
    }
    return Findings(
        verdict=decided(reproduced, sooner),
        because=because,
        compared=[
            (
                "test accuracy with batch norm less without, points; times fewer steps",
                "higher; faster (figure 1)",
                f"{ranged(gain, 2, '+')}; {ranged(faster) if every else 'not by every seed'}",
            )
        ],
        tables=[
            Table(
                title=f"After {spec.steps} steps of {spec.batch_size}, percent right",
                columns=("rate", *(f"{named[n]}, {w}" for n in (False, True) for w in ("held out", "test"))),
                rows=[
                    (
                        rate,
                        *(
                            spread(list(of(f"{w}_accuracy", norm, rate).values()))
                            for norm in (False, True)
                            for w in ("held_out", "test")
                        ),
                    )
                    for rate in spec.rates
                ],
            )
        ],
        charts=[
            Chart(
                title="Accuracy",
                x_label="steps",
                y_label="test images right, %",
                series=series,
                dashed=frozenset(name for name in series if name.startswith("without")),
            ),
            Chart(
                title="The input of one sigmoid",
                x_label="steps",
                y_label="15, 50, 85 % of the test images",
                series=inputs,
                dashed=frozenset(name for name in inputs if name.startswith("without")),
                fraction=False,
            ),
        ],
        figures={
            "gain": gain[0],
            "gain_low": gain[1],
            "times_fewer_steps": faster[0] if every else None,
            "steadier": steadier[0],
        },
    )


def _first(rows: Sequence[Row], goal: float) -> int | None:
    """The first step at which the accuracy is reached."""
    return min((row["step"] for row in rows if row["test_accuracy"] >= goal), default=None)


STUDY = Study(
    name="batchnorm-mnist",
    question="Does batch normalisation train a network of sigmoids faster and better, with steadier inputs?",
    claim="On MNIST, batch norm helps a network of three layers of 100 sigmoids to train faster and to a "
    "higher accuracy, and makes the distribution of a sigmoid's inputs more stable (figure 1).",
    source="Ioffe and Szegedy 2015, Batch normalization, section 4.1 and figure 1.",
    differs="At scale `hours` three layers of 100 and 50,000 steps of 60 on MNIST, as published "
    "(`npz:mnist.npz`, Keras's file, or the same four arrays x_train, y_train, x_test, y_test). Not "
    "published are the rate, here the best of a grid for each network, chosen on 5,000 training images "
    "that are held out, so that 55,000 are trained on; and the Gaussian of the first weights, here 0.1 wide. "
    "Networks are looked at on the way, each time after 1.4 times as many steps as before: by so much a "
    "number of steps may be too large. Scale `cpu` takes 8x8 digits.",
    rule="Each network at the rate of the grid with which it is best on held-out training images, in the "
    "mean; paired by seed, with 95 % intervals. Reproduced: with batch norm every seed reaches the last "
    "test accuracy of the network without, in fewer steps (lower end of the ratio above 1); its last test "
    "accuracy is higher (lower end above zero); and the medians of the inputs of the last sigmoids move "
    f"less over the run, after the first {WARM:.0%} of it, as a share of the inputs' width (lower end of "
    "the difference above zero). Direction only: the first. Else not reproduced.",
    specs={
        "smoke": Settings(train=200, held_out=40, units=10, rates=(0.1, 1.0), steps=30, batch_size=20),
        "cpu": Settings(seeds=8),
        "hours": Settings(
            data="npz:mnist.npz",
            seeds=20,
            train=60_000,
            test=10_000,
            pixels=28,
            held_out=5000,
            steps=50_000,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
