"""Ensembles: the average of networks that were trained from different starts (Krizhevsky et al. 2012).

Each draw of training images gives one set of networks, and from it all that is compared: a single one, an
ensemble of k of them, averaged as probabilities or as logits. Two comparisons make it a fair one: at equal
test cost one network with k times the multiplications, at equal training cost k networks with a k-th of
the steps each. One network with dropout, which stands for very many (`dropout`), is the line across.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.figures.chart import Chart
from ostrich.published import published
from ostrich.runtime.files import read_tensors, write_tensors
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import Splits, open_splits
from ostrich.studies.fitting import built, fitted, loss_and_error, recipe_for
from ostrich.studies.points import by_seed, mean_points, paired, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of
from ostrich.training.loop import logits_of

LOGITS = "logits.pt"
SUBSETS = 40  # at most so many ensembles of one size are averaged


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """A seed is a draw of `train` images and has `members` networks; `fair` is the k of equal costs."""

    train: int = 500
    test: int = 797
    pixels: int = 8
    hidden: int = 256
    layers: int = 2
    drop: float = 0.5
    members: int = 8
    fair: int = 4
    steps: int = 1200
    batch_size: int = 64
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        Spec.__post_init__(self)
        if not 2 <= self.fair <= self.members:
            raise InputError(f"fair lies between 2 and members; got {self.fair} of {self.members}.")


def trials(spec: Settings) -> list[Trial]:
    many = crossed(spec.seeds, kind=("plain", "dropout"), member=range(spec.members))
    some = crossed(spec.seeds, kind=("short", "wide"), member=range(spec.fair))
    return [*many, *some]


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    kind, seed = trial["kind"], trial["seed"]
    given = _splits(spec, seed)
    own = 1000 * seed + trial["member"]  # of the start and the order
    hidden, drop = spec.hidden, spec.drop if kind == "dropout" else 0.0
    if kind == "wide":
        hidden = _wide(spec, given)
    recipe = recipe_for(
        given,
        steps=spec.steps // spec.fair if kind == "short" else spec.steps,
        batch_size=spec.batch_size,
        seed=own,
        learning_rate=spec.learning_rate,
        weight_decay=0.0,
        clip_norm=1.0,
    )
    network = built(f"mlp,hidden={hidden},layers={spec.layers},dropout={drop}", given, own, spec.device)
    fitted(network, recipe, given, folder)
    images, labels = given.test.tensors()
    logits = logits_of(network.eval(), recipe, images)
    write_tensors(folder / LOGITS, {"logits": logits})
    loss, error = loss_and_error(logits, labels)
    return [{"test_loss": loss, "test_error": error, "multiplications": _cost(spec, given, hidden)}]


def _splits(spec: Settings, seed: int) -> Splits:
    return open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed)


def _cost(spec: Settings, given: Splits, hidden: int) -> int:
    """Multiplications of one image in a network with so many units a layer."""
    inputs = given.channels * given.size[0] * given.size[1]
    return inputs * hidden + (spec.layers - 1) * hidden**2 + hidden * len(given.class_names)


def _wide(spec: Settings, given: Splits) -> int:
    """The units a layer with which one network costs as much as `fair` of the usual ones."""
    target = spec.fair * _cost(spec, given, spec.hidden)
    return next(units for units in itertools.count(spec.hidden) if _cost(spec, given, units) >= target)


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    curve = []
    for seed in range(spec.seeds):
        labels = _splits(spec, seed).test.tensors()[1]
        for kind, most in (("plain", spec.members), ("short", spec.fair)):
            found = _logits(done, kind, seed)
            assert len(found) == most, "every network of a set is needed"
            for k in range(1, most + 1):
                for way in ("softmax", "logits"):
                    error = _ensemble(found, labels, k, way)
                    curve.append({"seed": seed, "kind": kind, "k": k, "way": way, "test_error": error})
    singles = [
        {"seed": seed, "kind": kind, "test_error": _mean(rows_of(done, seed=seed, kind=kind))}
        for seed in range(spec.seeds)
        for kind in ("plain", "dropout", "wide")
    ]

    def errors(rows: Sequence[Row], **wanted: object) -> dict[int, float]:
        return by_seed(rows, "test_error", **wanted)

    single, dropped = errors(singles, kind="plain"), errors(singles, kind="dropout")
    whole = errors(curve, kind="plain", k=spec.members, way="softmax")
    gain, low, high = interval(paired(single, whole))
    fair = errors(curve, kind="plain", k=spec.fair, way="softmax")
    wide, short = errors(singles, kind="wide"), errors(curve, kind="short", k=spec.fair, way="softmax")
    same_test, same_training = interval(paired(wide, fair)), interval(paired(single, short))
    by_logits = interval(paired(errors(curve, kind="plain", k=spec.members, way="logits"), whole))
    equal = [
        k
        for k in range(1, spec.members + 1)
        if _average(errors(curve, kind="plain", k=k, way="softmax")) <= _average(dropped)
    ]
    verdict = decided(low > 0 and same_test[1] > 0, low > 0)
    crossing = f"from {equal[0]} networks on" if equal else f"with none of 1 to {spec.members}"
    because = (
        f"{spec.members} networks take {gain:.2f} points off the error of one (95 % interval {low:.2f} to "
        f"{high:.2f}); at equal test cost {spec.fair} networks are {same_test[0]:+.2f} points better than "
        f"one wide one ({same_test[1]:.2f} to {same_test[2]:.2f}); the ensemble is as good as one network "
        f"with dropout {crossing} (n = {spec.seeds} draws)."
    )
    ks = (1, spec.members)
    level = _average(dropped)
    return Findings(
        verdict=verdict,
        because=because,
        tables=[
            Table(
                title="Test error in percent",
                columns=("what", "error", "better than it at equal cost, paired: an ensemble by"),
                rows=[
                    ("one network", spread(list(single.values())), ""),
                    (f"one with dropout {spec.drop}", spread(list(dropped.values())), ""),
                    *(
                        (
                            f"{k} networks, {way} averaged",
                            spread(list(errors(curve, kind="plain", k=k, way=way).values())),
                            "",
                        )
                        for k in range(2, spec.members + 1)
                        for way in ("softmax", "logits")
                    ),
                    (
                        f"one wide network, the test cost of {spec.fair}",
                        spread(list(wide.values())),
                        spread(paired(wide, fair)),
                    ),
                    (
                        f"{spec.fair} networks, together the training cost of one",
                        spread(list(short.values())),
                        spread(paired(single, short)),
                    ),
                ],
            )
        ],
        charts=[
            Chart(
                x_label="networks in the ensemble",
                y_label="test error, %",
                series={
                    "softmax averaged": mean_points(
                        [r for r in curve if r["kind"] == "plain" and r["way"] == "softmax"],
                        "k",
                        "test_error",
                    ),
                    "logits averaged": mean_points(
                        [r for r in curve if r["kind"] == "plain" and r["way"] == "logits"], "k", "test_error"
                    ),
                    f"short: each with 1/{spec.fair} of the steps": mean_points(
                        [r for r in curve if r["kind"] == "short" and r["way"] == "softmax"],
                        "k",
                        "test_error",
                    ),
                    "one network with dropout": [{"x": k, "y": level} for k in ks],
                    f"one wide network, the test cost of {spec.fair}": [
                        {"x": k, "y": _average(wide)} for k in ks
                    ],
                },
                dashed=frozenset(
                    ["one network with dropout", f"one wide network, the test cost of {spec.fair}"]
                ),
            )
        ],
        compared=[
            (
                f"points of error that {spec.members} networks take off one",
                f"{_published_gain():.1f} of {published('alexnet/top5-error').value:.1f} by five (ImageNet, "
                "top-5)",
                f"{ranged((gain, low, high), 2)} of {_average(single):.2f}",
            )
        ],
        figures={
            "gain": gain,
            "at_equal_test_cost": same_test[0],
            "at_equal_training_cost": same_training[0],
            "logits_less_softmax": by_logits[0],
        },
    )


def _logits(done: Sequence[Done], kind: str, seed: int) -> list[Tensor]:
    return [
        read_tensors(one.folder / LOGITS)["logits"]
        for one in done
        if one.trial["kind"] == kind and one.trial["seed"] == seed
    ]


def _ensemble(logits: Sequence[Tensor], labels: Tensor, k: int, way: str) -> float:
    """The mean error, in percent, of ensembles of k networks: all there are, or some spread over them."""
    values = [one.softmax(1) if way == "softmax" else one for one in logits]
    subsets = list(itertools.combinations(range(len(values)), k))
    chosen = subsets[:: max(1, -(-len(subsets) // SUBSETS))]
    errors = [
        (torch.stack([values[i] for i in subset]).mean(0).argmax(1) != labels).float().mean().item()
        for subset in chosen
    ]
    return 100 * sum(errors) / len(errors)


def _published_gain() -> float:
    one, five = (published(f"alexnet{kind}/top5-error").value for kind in ("", "-5-networks"))
    return one - five


def _mean(rows: Sequence[Row]) -> float:
    return sum(row["test_error"] for row in rows) / len(rows)


def _average(values: dict[int, float]) -> float:
    return sum(values.values()) / len(values)


STUDY = Study(
    name="ensemble",
    question="How many networks is an ensemble worth, and what does it cost?",
    claim="Averaging the predictions of several networks lowers the error of one: by 1.8 points of "
    "ImageNet's top-5 error for five of AlexNet's kind.",
    source="Krizhevsky et al. 2012, section 6 and table 2; Srivastava et al. 2014, section 1, for dropout "
    "as an ensemble.",
    differs="Perceptrons on 8x8 digits. A seed is a draw of the training images, so its networks share "
    "them as the published ones do. Ensembles of one size overlap, so n counts draws, not ensembles.",
    rule="Reproduced: the whole ensemble is better than its networks are in the mean, and `fair` networks "
    "better than one network of the same test cost, both with a 95 % interval, paired by draw, above zero. "
    "Direction only: the first interval alone is above zero: an ensemble helps, but no more than its cost. "
    "Else not reproduced.",
    published=("alexnet/top5-error", "alexnet-5-networks/top5-error"),
    specs={
        "smoke": Settings(train=60, test=100, hidden=16, members=3, fair=2, steps=16),
        "cpu": Settings(seeds=20),
        "gpu": Settings(device="cuda", seeds=10, hidden=1024, steps=10_000),
        "paper": Settings(
            device="cuda",
            data="folder:MNIST",
            seeds=5,
            train=50_000,
            test=10_000,
            pixels=28,
            hidden=1024,
            steps=100_000,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
    rows_suffice=False,  # the networks' logits are in files
)
