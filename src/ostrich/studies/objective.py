"""The objective: loss summed or averaged, and a penalty lambda ||theta||^2.

    L(theta) = sum_i loss(theta, x_i, y_i) + lambda ||theta||^2       summed
    L(theta) = mean_i loss(theta, x_i, y_i) + lambda ||theta||^2      averaged

The gradient of the sum is n times that of the mean, so the same steps are taken with the learning rate
divided and lambda multiplied by n. The penalty's gradient is 2 lambda theta, while an optimiser's
`weight_decay` adds weight_decay * theta: lambda ||theta||^2 is a weight decay of 2 lambda, and one of lambda
penalises half of it. A softmax regression is trained three ways, by the gradient written by hand, by
autograd of the whole objective, and by the optimiser's weight decay; the three must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.figures.chart import Chart
from ostrich.runtime.randomness import keyed
from ostrich.statistics import spread
from ostrich.studies.datasets import open_splits
from ostrich.studies.points import at_least, at_most, mean_points
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

SAME, OTHER = 1e-10, 1e-3  # largest difference of what agrees, least of what does not, relative


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """Lambdas of the averaged objective; steps of whole-batch descent in float64."""

    train: int = 500
    test: int = 797
    pixels: int = 8
    lambdas: tuple[float, ...] = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
    momentum: tuple[float, ...] = (0.0, 0.9)
    steps: int = 300
    learning_rate: float = 0.1


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, momentum=spec.momentum, penalty=spec.lambdas)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    given = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=trial["seed"])
    mean, std = given.statistics()
    sets = []
    for images, labels in (given.train.tensors(), given.test.tensors()):
        x = images.double() / 255
        x = (x - torch.tensor(mean, dtype=x.dtype)[:, None, None]) / torch.tensor(std)[:, None, None]
        sets.append((x.flatten(1), labels))
    (x, y), (test_x, test_y) = sets
    classes, n = len(given.class_names), len(x)
    start = 0.1 * torch.randn(x.shape[1], classes, generator=keyed(trial["seed"], 14), dtype=x.dtype)
    lam, rate, momentum = trial["penalty"], spec.learning_rate, trial["momentum"]

    def descend(way: str, lam: float, rate: float) -> Tensor:
        return WAYS[way](start, x, y, lam, rate, momentum, spec.steps)

    mine = descend("by hand", lam, rate)
    others = {
        "autograd": descend("autograd", lam, rate),
        "weight decay of 2 lambda": descend("weight decay of 2 lambda", lam, rate),
        "summed: lambda n, rate / n": descend("summed", lam * n, rate / n),
        "weight decay of lambda": descend("weight decay of lambda", lam, rate),
        "summed: the same lambda, rate / n": descend("summed", lam, rate / n),
    }
    logits = test_x @ mine
    facts = {
        "train_loss": F.cross_entropy(x @ mine, y).item(),
        "test_loss": F.cross_entropy(logits, test_y).item(),
        "test_error": 100 * (logits.argmax(1) != test_y).double().mean().item(),
        "square": mine.square().sum().item(),
    }
    apart = [{"way": way, "apart": _apart(found, mine)} for way, found in others.items()]
    return [{"way": "by hand", **facts}, *apart]


def by_hand(
    theta: Tensor, x: Tensor, y: Tensor, lam: float, rate: float, momentum: float, steps: int
) -> Tensor:
    """X^T (softmax(X theta) - Y) / n + 2 lambda theta, with momentum; theta (D, K), x (n, D), y (n,)."""
    truth = F.one_hot(y, theta.shape[1]).to(x)
    velocity = torch.zeros_like(theta)
    for _ in range(steps):
        gradient = x.T @ ((x @ theta).softmax(1) - truth) / len(x) + 2 * lam * theta
        velocity = momentum * velocity + gradient
        theta = theta - rate * velocity
    return theta


def _optimised(
    theta: Tensor,
    x: Tensor,
    y: Tensor,
    lam: float,
    rate: float,
    momentum: float,
    steps: int,
    reduction: str = "mean",
    decay: float = 0.0,
) -> Tensor:
    """The same by autograd and torch's SGD: `decay` lambda in the optimiser, or the penalty in the loss."""
    weights = theta.clone().requires_grad_(True)
    optimiser = torch.optim.SGD([weights], lr=rate, momentum=momentum, weight_decay=decay * lam)
    for _ in range(steps):
        loss = F.cross_entropy(x @ weights, y, reduction=reduction)
        if not decay:
            loss = loss + lam * weights.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return weights.detach()


WAYS: dict[str, Callable[..., Tensor]] = {
    "by hand": by_hand,
    "autograd": _optimised,
    "weight decay of 2 lambda": partial(_optimised, decay=2.0),
    "weight decay of lambda": partial(_optimised, decay=1.0),
    "summed": partial(_optimised, reduction="sum"),
}
AGREE = ("autograd", "weight decay of 2 lambda", "summed: lambda n, rate / n")
DIFFER = ("weight decay of lambda", "summed: the same lambda, rate / n")


def _apart(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    penalised = [row for row in rows if row["penalty"] >= 1e-3]  # below, the penalty is too small to tell
    largest = {way: max(values_of([r for r in rows if r["way"] == way], "apart")) for way in AGREE}
    least = {way: min(values_of([r for r in penalised if r["way"] == way], "apart")) for way in DIFFER}
    solved = [row for row in rows if row["way"] == "by hand"]
    falls = all(
        _square(solved, seed, momentum, a) > _square(solved, seed, momentum, b)
        for seed in range(spec.seeds)
        for momentum in spec.momentum
        for a, b in zip(spec.lambdas, spec.lambdas[1:])
    )
    agree = max(largest.values()) <= SAME
    differ = min(least.values()) >= OTHER
    verdict = decided(agree and differ and falls, agree)
    momentum = spec.momentum[-1]
    shown = [row for row in solved if row["momentum"] == momentum]
    ticks = {lam: i for i, lam in enumerate(spec.lambdas)}
    placed = [{**row, "place": ticks[row["penalty"]]} for row in shown]

    def curve(name: str) -> list[dict[str, object]]:
        return [{**p, "label": f"{spec.lambdas[p['x']]:g}"} for p in mean_points(placed, "place", name)]

    return Findings(
        verdict=verdict,
        because=f"By hand, autograd and the optimiser end at most {at_most(max(largest.values()))} apart "
        f"(relative, over {len(done)} runs); a weight decay of lambda instead of 2 lambda, or lambda not "
        f"times n, ends at least {at_least(min(least.values()))} apart; ||theta||^2 "
        f"{'falls' if falls else 'does not always fall'} with lambda.",
        tables=[
            Table(
                title=f"Distance of the parameters from those by hand, relative, after {spec.steps} steps",
                columns=("way", "largest", "least where lambda is 0.001 or more"),
                rows=[
                    (
                        way,
                        f"{max(values_of([r for r in rows if r['way'] == way], 'apart')):.2g}",
                        f"{min(values_of([r for r in penalised if r['way'] == way], 'apart')):.2g}",
                    )
                    for way in (*AGREE, *DIFFER)
                ],
            ),
            Table(
                title=f"What lambda does (momentum {momentum:g})",
                columns=("lambda", "||theta||^2", "training loss", "test loss", "test error, %"),
                rows=[
                    (
                        f"{lam:g}",
                        *(
                            spread(values_of([r for r in shown if r["penalty"] == lam], name), 3)
                            for name in ("square", "train_loss", "test_loss", "test_error")
                        ),
                    )
                    for lam in spec.lambdas
                ],
            ),
        ],
        charts=[
            Chart(
                title="Size",
                x_label="lambda",
                even=True,
                y_label="||theta||^2",
                fraction=False,
                series={"||theta||^2": curve("square")},
            ),
            Chart(
                title="Loss",
                x_label="lambda",
                even=True,
                y_label="loss",
                fraction=False,
                series={"training": curve("train_loss"), "test": curve("test_loss")},
            ),
        ],
        compared=[("largest relative difference of three computations", "0", at_most(max(largest.values())))],
        figures={"largest_difference": max(largest.values())},
    )


def _square(rows: Sequence[Row], seed: int, momentum: float, lam: float) -> float:
    (found,) = (
        row["square"]
        for row in rows
        if (row["seed"], row["momentum"], row["penalty"]) == (seed, momentum, lam)
    )
    return found


STUDY = Study(
    name="objective",
    question="What do a sum instead of a mean, and lambda ||theta||^2 instead of weight decay, change?",
    claim="Nothing but the scale: the summed loss is the averaged one with lambda n and a rate divided by "
    "n, and lambda ||theta||^2 is a weight decay of 2 lambda.",
    source="The lecture's objective; the gradient of softmax regression as in any textbook (Bishop 2006, "
    "section 4.3.4).",
    differs="It is an identity, so there are no published figures: three independent computations stand in.",
    rule=f"Reproduced: autograd, weight decay of 2 lambda, and the summed loss end within {SAME:g} of the "
    f"gradient by hand in every run, while both wrong translations end more than {OTHER:g} away where "
    "lambda is 0.001 or more, and ||theta||^2 falls with every lambda. Direction only: the three agree. "
    "Else not reproduced.",
    specs={
        "smoke": Settings(train=60, test=60, lambdas=(0.0, 1e-3, 1e-1), momentum=(0.9,), steps=60),
        "cpu": Settings(seeds=5),
    },
    trials=trials,
    run=run,
    judge=judge,
)
