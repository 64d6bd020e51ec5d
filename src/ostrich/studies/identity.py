"""The solution by construction: a deeper network that equals a shallower one (He et al. 2016, section 1).

A shallow network is trained; a deeper one is made from it by added layers that compute the identity, and is
trained on. Two networks are the controls, both of as many steps in all: the shallow one trained on, which
says what the further steps alone bring, and one as deep from scratch. What is exact, and in which mode,
`models/net2net.py` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ostrich.figures.chart import Chart
from ostrich.models.net2net import deepened
from ostrich.models.residual import SmallNet
from ostrich.runtime.randomness import seeded
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.points import at_most, by_seed, paired
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
from ostrich.training.loop import logits_of, normalised, to_images

KINDS = ("residual", "plain", "plain without batch norm")
EQUAL = 1e-5  # largest difference of logits, of their scale
KEPT = 0.5  # of what the further steps bring the shallow network, which the deepened one has to keep at least
LOST = 10.0  # what a training loss that is not finite counts as
STATISTICS_IMAGES = 500


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`steps` for the shallow network, `further` for the deepened one; the scratch network has both."""

    shallow: int = 8
    deep: int = 44
    width: float = 0.5
    train: int = 1000
    test: int = 797
    pixels: int = 8
    steps: int = 300
    further: int = 100
    batch_size: int = 64
    learning_rate: float = 0.05
    further_rate: float = 0.005


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, kind=KINDS)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    kind, seed = trial["kind"], trial["seed"]
    given = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed)

    def architecture(depth: int) -> str:
        norm = "false" if kind.endswith("without batch norm") else "true"
        return f"{'resnet' if kind == 'residual' else 'plain'}{depth},width={spec.width},norm={norm}"

    def recipe(steps: int, rate: float):  # type: ignore[no-untyped-def]
        return recipe_for(
            given,
            steps=steps,
            batch_size=spec.batch_size,
            seed=seed,
            learning_rate=rate,
            weight_decay=1e-4,
            clip_norm=1.0,
        )

    first, second = recipe(spec.steps, spec.learning_rate), recipe(spec.further, spec.further_rate)
    shallow = built(architecture(spec.shallow), given, seed, spec.device)
    assert isinstance(shallow, SmallNet)
    fitted(shallow, first, given, folder, name="shallow-")
    rows: list[Row] = [{"what": "shallow", **measured(shallow, first, given)}]

    images = to_images(given.train.tensor()[:STATISTICS_IMAGES], next(shallow.parameters()).device)
    with seeded(seed):
        deep = deepened(shallow, spec.deep, normalised(images, first))
    before, after = (logits_of(net.eval(), first, given.test.tensor()) for net in (shallow, deep))
    rows.append(
        {
            "what": "construction",
            "apart": ((before - after).abs().max() / before.abs().max().clamp_min(1)).item(),
            "predictions_changed": int((before.argmax(1) != after.argmax(1)).sum()),
        }
    )
    fitted(deep, second, given, folder, name="deepened-")
    rows.append({"what": "deepened", **measured(deep, second, given)})
    fitted(shallow, second, given, folder, name="shallow-on-")
    rows.append({"what": "shallow, trained on", **measured(shallow, second, given)})

    whole = recipe(spec.steps + spec.further, spec.learning_rate)
    scratch = built(architecture(spec.deep), given, seed, spec.device)
    fitted(scratch, whole, given, folder, name="scratch-")
    rows.append({"what": "from scratch", **measured(scratch, whole, given)})
    return rows


WHATS = ("shallow", "shallow, trained on", "deepened", "from scratch")


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    losses = {
        (k, w): {seed: _finite(loss) for seed, loss in by_seed(rows, "train_loss", kind=k, what=w).items()}
        for k in KINDS
        for w in WHATS
    }
    made = [row for row in rows if row["what"] == "construction"]
    apart = max(values_of(made, "apart"))
    changed = sum(row["predictions_changed"] for row in made)
    exact = apart <= EQUAL and changed == 0
    control = {k: losses[k, "shallow, trained on"] for k in KINDS}
    gained = {k: paired(losses[k, "shallow"], control[k]) for k in KINDS}
    excess = {k: paired(losses[k, "deepened"], control[k]) for k in KINDS}
    # below zero where the deepened network keeps more than half of what the steps bring the shallow one
    behind = {k: interval([e - KEPT * g for e, g in zip(excess[k], gained[k])]) for k in KINDS}
    above = {k: interval(paired(losses[k, "from scratch"], control[k])) for k in KINDS[1:]}
    every = all(high < 0 for _, _, high in behind.values()) and all(low > 0 for _, low, _ in above.values())
    in_mean = all(mean < 0 for mean, _, _ in behind.values()) and all(
        mean > 0 for mean, _, _ in above.values()
    )
    mean = {key: sum(found.values()) / max(1, len(found)) for key, found in losses.items()}
    told = ". ".join(
        f"{k}: deepened {interval(excess[k])[0]:+.2g}, half of what the control gained "
        f"{KEPT * interval(gained[k])[0]:.2g}, between them {behind[k][0]:+.2g} "
        f"({behind[k][1]:.2g} to {behind[k][2]:.2g})"
        + (
            f"; from scratch {above[k][0]:+.2g} ({above[k][1]:.2g} to {above[k][2]:.2g})"
            if k in above
            else ""
        )
        for k in KINDS
    )
    points = {
        w: [{"x": i, "y": mean[k, w], "label": k.replace(" batch norm", " BN")} for i, k in enumerate(KINDS)]
        for w in WHATS
    }
    return Findings(
        verdict=decided(exact and every, exact and in_mean),
        because=f"A network of {spec.deep} layers made from one of {spec.shallow} differs by at most "
        f"{at_most(apart)} of its logits' scale and in {changed} predictions. Training loss less that of the "
        f"shallow network trained as long, with 95 % intervals: {told} (n = {spec.seeds}).",
        tables=[
            Table(
                title="Training loss, in evaluation mode",
                columns=("network", *(f"{w}" for w in WHATS)),
                rows=[(k, *(spread(list(losses[k, w].values()), 4) for w in WHATS)) for k in KINDS],
            ),
            Table(
                title="The construction: largest difference of logits, of their scale; predictions changed",
                columns=("network", "difference", "changed"),
                rows=[
                    (
                        k,
                        at_most(max(values_of([r for r in made if r["kind"] == k], "apart"))),
                        sum(r["predictions_changed"] for r in made if r["kind"] == k),
                    )
                    for k in KINDS
                ],
            ),
        ],
        charts=[
            Chart(x_label="network", even=True, y_label="training loss, mean", series=points, fraction=False)
        ],
        compared=[("largest difference of the construction, of the logits' scale", "0", at_most(apart))],
        figures={
            "largest_difference": apart,
            **{f"deepened_excess_{k.replace(' ', '_')}": interval(excess[k])[0] for k in KINDS},
        },
    )


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else LOST


STUDY = Study(
    name="identity",
    question="If a deeper network can equal a shallower one, why does training not find it?",
    claim="There is a solution by construction: added layers are the identity and the others are copied. "
    "So a deeper network should have no higher training error; plain networks trained from scratch do.",
    source="He et al. 2016, Deep residual learning, section 1 and figure 1; Chen et al. 2016, Net2Net, for "
    "the construction.",
    differs="The paper argues; here the network is built, compared and trained on. 8x8 digits, half the "
    "width. Scale `hours` takes all of CIFAR-10's training images, half the width, 20 and 56 layers, and "
    "3,000 and 1,000 steps of 64, about 5 epochs in all: nine trials of about half an hour of one core.",
    rule=f"Reproduced: every construction is within {EQUAL:g} of the shallow network's logits (of their "
    "scale) with the same predictions; and by training loss, paired by seed, with 95 % intervals, against "
    "the shallow network trained for as many steps in all: every kind of deepened network keeps more than "
    "half of what the further steps brought the shallow one (the margin usual in tests of "
    "non-inferiority), and the deep plain networks from scratch lie above it. A loss that is not finite "
    f"counts as {LOST:g}. Direction only: the construction is exact and both hold in the mean. Else not "
    "reproduced.",
    specs={
        "smoke": Settings(deep=14, width=0.25, train=60, test=60, steps=6, further=3),
        "cpu": Settings(seeds=8),
        # --data cifar10:PATH takes class folders, and of a test split what is there
        "hours": Settings(
            data="cifar10",
            shallow=20,
            deep=56,
            train=50_000,
            test=1000,
            pixels=32,
            steps=3000,
            further=1000,
        ),
        "gpu": Settings(
            device="cuda",
            data="cifar10",
            shallow=20,
            deep=56,
            width=1.0,
            train=50_000,
            test=10_000,
            pixels=32,
            steps=20_000,
            further=2000,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
