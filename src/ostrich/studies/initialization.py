"""Where to start training: the signal through 30 layers, and what is learned from there (He et al. 2015).

*Signal.* A standard normal signal y_0 passes through layers y_l = W_l relu(y_{l-1}); what is measured is the
second moment of y_l, before the ReLU, and going back that of the gradient with respect to y_l. In the mean
over weights each layer multiplies both by fan_in Var(w) / 2 (eq. 9 and 13): 1 for He, 1/2 for Xavier.
*Training.* A plain network without batch norm is trained from each start; afterwards its loss is measured
along the straight line from where it started to where it ended, and beyond.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ostrich.figures.chart import Chart
from ostrich.models.initialization import STARTS, initialise, standard_deviation
from ostrich.runtime.randomness import keyed
from ostrich.statistics import interval, spread, wilson
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, fitted, loss_and_error, measured, recipe_for
from ostrich.studies.points import by_seed, mean_points
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of
from ostrich.training.loop import logits_of

HE_WITHIN = 0.02  # of one, the mean ratio of second moments of neighbouring layers
XAVIER_WITHIN = 1.0  # of -layers, log2 of last over first second moment
LEARNS, STALLS = 0.5, 0.9  # of chance's loss: below the one a training has learned, above the other it stalls
LINE = tuple(i / 8 for i in range(11))  # from the start, 0, to the end, 1, and beyond
LINE_IMAGES = 200


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`seeds` of the signal, `train_seeds` of the trainings, which cost more."""

    seeds: int = 20
    layers: int = 30
    units: int = 512
    batch: int = 64
    train_seeds: int = 3
    depths: tuple[int, ...] = (20, 32)
    width: float = 0.5
    train: int = 1000
    test: int = 797
    pixels: int = 8
    steps: int = 300
    batch_size: int = 64
    learning_rate: float = 0.05


def trials(spec: Settings) -> list[Trial]:
    training = crossed(spec.train_seeds, start=STARTS, depth=spec.depths)
    return [{"part": "signal", "seed": seed} for seed in range(spec.seeds)] + [
        {"part": "training", **trial} for trial in training
    ]


def decides(trial: Trial) -> set[str]:
    """The settings that decide a trial's rows: neither the number of seeds nor that of depths does."""
    of_signal = {"layers", "units", "batch"}
    if trial["part"] == "signal":
        return of_signal
    return {f.name for f in fields(Settings)} - of_signal - {"seeds", "train_seeds", "depths"}


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    if trial["part"] == "signal":
        return [row for start in STARTS for row in signal(spec, start, trial["seed"])]
    return training(spec, trial, folder)


def signal(spec: Settings, start: str, seed: int) -> list[Row]:
    """log2 of the second moments of pre-activations and of gradients, for each layer; float64."""
    draw = keyed(seed, 16, STARTS.index(start))
    std, n = standard_deviation(start, spec.units), spec.units
    y = torch.randn(spec.batch, n, generator=draw, dtype=torch.float64)  # (N, D)
    forward, passes, weights = [_moment(y)], [], []
    for _ in range(spec.layers):
        w = torch.randn(n, n, generator=draw, dtype=torch.float64)
        w = (
            (2 * torch.rand(n, n, generator=draw, dtype=torch.float64) - 1) * math.sqrt(3)
            if start == "default"
            else w
        )
        weights.append(std * w)
        passes.append(y > 0)
        y = y.clamp_min(0) @ weights[-1].T
        forward.append(_moment(y))
    gradient = torch.randn(spec.batch, n, generator=draw, dtype=torch.float64)
    backward = [_moment(gradient)]
    for w, on in zip(reversed(weights), reversed(passes)):
        gradient = (gradient @ w) * on
        backward.append(_moment(gradient))
    return [
        {"start": start, "layer": layer, "log2_signal": a, "log2_gradient": b}
        for layer, (a, b) in enumerate(zip(forward, reversed(backward)))
    ]


def _moment(x: torch.Tensor) -> float:
    return math.log2(x.square().mean().item())


def expected_ratio(spec: Settings, start: str) -> float:
    """What a layer multiplies second moments by, in the mean."""
    return spec.units * standard_deviation(start, spec.units) ** 2 / 2


def training(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    """The loss on the way, at the end, and along the line through start and end."""
    seed = trial["seed"]
    given = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed)
    network = built(f"plain{trial['depth']},width={spec.width},norm=false", given, seed, spec.device)
    initialise(network, trial["start"], keyed(seed, 17))
    start = copy.deepcopy(network.state_dict())
    recipe = recipe_for(
        given,
        steps=spec.steps,
        batch_size=spec.batch_size,
        seed=seed,
        learning_rate=spec.learning_rate,
        clip_norm=1.0,
    )
    curve = fitted(network, recipe, given, folder)
    rows: list[Row] = [{"what": "way", "step": row["step"], "train_loss": row["train_loss"]} for row in curve]
    rows.append({"what": "end", **measured(network, recipe, given)})
    end = copy.deepcopy(network.state_dict())
    images, labels = (part[:LINE_IMAGES] for part in given.train.tensors())
    for t in LINE:
        network.load_state_dict({name: start[name] + t * (end[name] - start[name]) for name in start})
        loss, _ = loss_and_error(logits_of(network.eval(), recipe, images), labels)
        rows.append({"what": "line", "t": t, "train_loss": loss})
    return rows


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    moved = rows_of(done, part="signal")
    ratios = {start: _ratios(moved, start, "log2_signal") for start in STARTS}
    back = {start: _ratios(moved, start, "log2_gradient") for start in STARTS}
    whole = {start: _whole(moved, start, spec.layers) for start in STARTS}
    he, xavier = interval(_by_seed(moved, "he")), interval(whole["xavier"])
    theory = _within(he, 1, HE_WITHIN) and _within(xavier, -spec.layers, XAVIER_WITHIN)

    ends = rows_of(done, part="training", what="end")
    deep, chance = max(spec.depths), math.log(10)
    losses = {(s, d): by_seed(ends, "train_loss", start=s, depth=d) for s in STARTS for d in spec.depths}
    learning = {s: sum(loss < LEARNS * chance for loss in losses[s, deep].values()) for s in STARTS}
    stalling = {s: sum(not loss <= STALLS * chance for loss in losses[s, deep].values()) for s in STARTS}
    shares = {
        "he": wilson(learning["he"], len(losses["he", deep])),
        **{s: wilson(stalling[s], len(losses[s, deep])) for s in ("xavier", "normal")},
    }
    mean = {key: sum(found.values()) / len(found) if found else math.inf for key, found in losses.items()}
    reproduced = theory and all(low > 0.5 for low, _ in shares.values())
    refuted = not theory or any(high < 0.5 for _, high in shares.values())
    direction = not refuted and all(learning["he"] > learning[s] for s in ("xavier", "normal"))
    because = (
        f"He: the mean ratio of second moments is {he[0]:.4f} (95 % interval {he[1]:.4f} to {he[2]:.4f}); "
        f"Xavier: log2 of last by first is {xavier[0]:.2f} ({xavier[1]:.2f} to {xavier[2]:.2f}) over "
        f"{spec.layers} layers (n = {spec.seeds}). With {deep} layers {learning['he']} of "
        f"{spec.train_seeds} trainings learn from He ({shares['he'][0]:.0%} to {shares['he'][1]:.0%}), "
        f"{learning['xavier']} from Xavier, where {stalling['xavier']} stall, {learning['normal']} from "
        f"N(0, 0.01), where {stalling['normal']} stall; mean losses {mean['he', deep]:.2f}, "
        f"{mean['xavier', deep]:.2f} and {mean['normal', deep]:.2f}, chance {chance:.2f}."
    )
    lines = {f"{s}, measured": _curve(moved, s, "log2_signal") for s in STARTS}
    exact = {
        f"{s}, expected": [{"x": k, "y": k * math.log2(expected_ratio(spec, s))} for k in (0, spec.layers)]
        for s in STARTS
    }
    gradients = {f"{s}, measured": _curve(moved, s, "log2_gradient") for s in STARTS}
    exact_back = {
        f"{s}, expected": [
            {"x": k, "y": (spec.layers - k) * math.log2(expected_ratio(spec, s))} for k in (0, spec.layers)
        ]
        for s in STARTS
    }
    trained = rows_of(done, part="training", depth=deep)
    ways, along = (
        {
            s: mean_points([r for r in trained if r["what"] == what and r["start"] == s], x, "train_loss")
            for s in STARTS
        }
        for what, x in (("way", "step"), ("line", "t"))
    )
    return Findings(
        verdict=decided(reproduced, direction),
        because=because,
        tables=[
            Table(
                title=f"{spec.layers} layers of {spec.units} units, mean ratio of neighbouring second "
                "moments",
                columns=("start", "expected", "signal", "gradient", "log2 of last by first"),
                rows=[
                    (
                        s,
                        expected_ratio(spec, s),
                        spread(ratios[s], 3),
                        spread(back[s], 3),
                        spread(whole[s], 2),
                    )
                    for s in STARTS
                ],
            ),
            Table(
                title=f"Training loss after {spec.steps} steps (chance: {chance:.2f})",
                columns=("start", *(f"{d} layers" for d in spec.depths)),
                rows=[(s, *(spread(list(losses[s, d].values())) for d in spec.depths)) for s in STARTS],
            ),
        ],
        charts=[
            Chart(
                title="The signal",
                x_label="layer",
                y_label="log2 of the second moment",
                series={**lines, **exact},
                dashed=frozenset(exact),
            ),
            Chart(
                title="The gradient",
                x_label="layer",
                y_label="log2 of the second moment",
                series={**gradients, **exact_back},
                dashed=frozenset(exact_back),
            ),
            Chart(
                title=f"Training {deep} layers",
                x_label="steps",
                even=True,
                y_label="training loss",
                fraction=False,
                series=_cut(ways, 3 * chance),
            ),
            Chart(
                title="Along the line",
                x_label="from the start, 0, to the end, 1",
                y_label="training loss",
                fraction=False,
                series=_cut(along, 3 * chance),
            ),
        ],
        compared=[
            ("He: mean ratio of second moments", "1", f"{he[0]:.3f}"),
            (f"Xavier: log2 of last by first of {spec.layers}", f"{-spec.layers}", f"{xavier[0]:.1f}"),
            (
                f"trainings of {deep} layers that learn from He, that stall from Xavier",
                "one of one, one of one (30 layers)",
                f"{learning['he']}, {stalling['xavier']} of {spec.train_seeds}",
            ),
        ],
        figures={
            "he_mean_ratio": he[0],
            "he_ratios": len(ratios["he"]),
            "xavier_log2": xavier[0],
            "he_learns": learning["he"],
            "xavier_stalls": stalling["xavier"],
            "normal_stalls": stalling["normal"],
        },
    )


def _by_seed(rows: Sequence[Row], start: str) -> list[float]:
    """The mean ratio of neighbouring second moments of each seed: ratios of one signal are not
    independent."""
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        ratios = _ratios([row for row in rows if row["seed"] == seed], start, "log2_signal")
        found.append(sum(ratios) / len(ratios))
    return found


def _within(found: tuple[float, float, float], expected: float, margin: float) -> bool:
    """Whether the whole interval lies that near."""
    _, low, high = found
    return expected - margin <= low and high <= expected + margin


def _ratios(rows: Sequence[Row], start: str, name: str) -> list[float]:
    """The ratio of every two neighbouring layers' second moments, in the direction of travel."""
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        mine = [row[name] for row in rows if row["seed"] == seed and row["start"] == start]
        if name == "log2_gradient":
            mine.reverse()
        found += [2 ** (b - a) for a, b in pairwise(mine)]
    return found


def _whole(rows: Sequence[Row], start: str, layers: int) -> list[float]:
    ends = {layer: by_seed(rows, "log2_signal", start=start, layer=layer) for layer in (0, layers)}
    return [ends[layers][seed] - ends[0][seed] for seed in ends[0]]


def _curve(rows: Sequence[Row], start: str, name: str) -> list[dict[str, object]]:
    return mean_points([r for r in rows if r["start"] == start and r["layer"] % 3 == 0], "layer", name)


def _cut(curves: dict[str, list[dict[str, Any]]], top: float) -> dict[str, list[dict[str, Any]]]:
    """Curves without intervals, cut off at the top of the paper."""
    return {
        name: [{"x": p["x"], "y": min(p["y"], top), "label": p["label"]} for p in points]
        for name, points in curves.items()
    }


STUDY = Study(
    name="initialization",
    question="Where should training start, so that signal and gradient survive 30 layers?",
    claim="With variance 2 / fan_in second moments are kept through ReLU layers, with Xavier's 1 / fan_in "
    "they halve with each; a plain network of 30 layers learns from the first and stalls from the second.",
    source="He, Zhang, Ren and Sun 2015, Delving deep into rectifiers, section 2.2, figures 2 and 3, table "
    "2.",
    differs="Signal: nothing, it is a measurement on random layers. Training: plain networks without batch "
    "norm of 20 and 32 layers at half width on 8x8 digits, at scale `hours` of 32 at full width. Xavier is "
    "meant by fan_in, as in the paper. "
    "Both scales first had twelve trainings from each start, of which the rule left it open whether they "
    "learn from He (3 and 9 of 12); with twelve more it is applied once again, and last.",
    rule="Reproduced: the 95 % intervals over seeds of He's mean ratio of second moments and of Xavier's "
    f"log2 of last by first lie within {HE_WITHIN:.0%} of one and within {XAVIER_WITHIN:g} of minus the "
    f"layers; and at the greatest depth more than half of the trainings from He end below {LEARNS:g} of "
    f"chance's loss and more than half of those from Xavier, and from N(0, 0.01), above {STALLS:g} of it, "
    "each with the lower end of the share's 95 % interval (Wilson) above one half. Not reproduced: the "
    "moments do not hold, or one of these intervals lies below one half, or from He no more trainings "
    "learn than from one of the others. Direction only: all else, where more seeds would decide.",
    published=(
        *(
            f"he2015-{depth}-layers-{start}/top1-error"
            for depth, start in ((14, "xavier"), (14, "he"), (30, "he"))
        ),
        "he2015-gradient-shrinks",
    ),
    specs={
        "smoke": Settings(
            units=64, batch=8, train_seeds=3, depths=(8,), width=0.25, train=64, test=60, steps=3
        ),
        "cpu": Settings(train_seeds=24),  # with twelve, the rule left the trainings open, as with the next
        "hours": Settings(train_seeds=24, depths=(32,), width=1.0),
        "gpu": Settings(
            device="cuda",
            data="cifar10",
            depths=(20, 32, 44),
            width=1.0,
            train=50_000,
            test=10_000,
            pixels=32,
            steps=20_000,
            train_seeds=12,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
    decides=decides,
)
