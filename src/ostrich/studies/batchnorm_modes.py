"""Batch norm's two modes: twelve bugs, each reproduced, the wrong number beside the right one.

The bugs are `batchnorm_bugs.py`; where one leaves a network behind, `ostrich doctor` is asked whether it
sees it from the network and its test images alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ostrich.figures.chart import Chart
from ostrich.statistics import spread
from ostrich.studies.batchnorm_bugs import BUGS, Case, Shown
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, classifier, fitted, recipe_for
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
from ostrich.training.loop import to_images

NAMED = ("training-mode", "batch-dependent-output", "batch-norm-statistics")  # the doctor's words for it
FEWEST_NAMED = 4
DOCTOR_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """The network all bugs start from: a residual one of `depth` layers."""

    train: int = 600
    test: int = 400
    pixels: int = 8
    depth: int = 8
    width: float = 0.5
    steps: int = 120
    batch_size: int = 64
    learning_rate: float = 0.1


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed = trial["seed"]
    given = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed)
    recipe = recipe_for(
        given, steps=spec.steps, batch_size=spec.batch_size, seed=seed, learning_rate=spec.learning_rate
    )
    untrained = built(f"resnet{spec.depth},width={spec.width}", given, seed)
    network = copy.deepcopy(untrained)
    fitted(network, recipe, given, folder)
    case = Case(network=network, untrained=untrained, recipe=recipe, given=given, folder=folder)
    rows: list[Row] = []
    for bug in BUGS:
        shown = bug.show(case)
        rows.append(
            {
                "bug": bug.name,
                "number": bug.number,
                "wrong": shown.wrong,
                "right": shown.right,
                "reproduced": bug.reproduced(shown),
                "doctor": _doctor(case, shown, seed),
            }
        )
    rows.append({"bug": "none", "doctor": _doctor(case, Shown(wrong=0, right=0, network=network), seed)})
    return rows


def _doctor(case: Case, shown: Shown, seed: int) -> str | None:
    """What the doctor says of batch norm in the network with the bug; None where there is no network."""
    from ostrich.diagnosis import ModelUnderTest, examine

    if shown.network is None:
        return None
    images, labels = (part[:DOCTOR_IMAGES] for part in case.given.test.tensors())
    model = ModelUnderTest(
        classifier=classifier(shown.network, case.recipe, case.given),
        images=to_images(images, torch.device("cpu")),
        labels=labels,
        seed=seed,
    )
    found = [finding.code for finding in examine(model, only=NAMED_CHECKS).findings]
    return " ".join(code for code in found if code in NAMED)


NAMED_CHECKS = ("training mode", "the same answer twice", "neighbours in the batch", "batch-norm statistics")


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    table, held, seen = [], [], []
    for bug in BUGS:
        mine = [row for row in rows if row["bug"] == bug.name]
        held.append(bool(mine) and all(row["reproduced"] for row in mine))
        words = [row["doctor"] for row in mine if row["doctor"] is not None]
        seen.append(bool(words) and all(words))
        codes = [code for word in words for code in word.split()]
        told = [f"{code} ({codes.count(code)} of {len(words)})" for code in sorted(set(codes))]
        table.append(
            (
                bug.name,
                bug.number,
                spread(values_of(mine, "wrong")),
                spread(values_of(mine, "right")),
                held[-1],
                ", ".join(told) if told else "not to be seen from outside" if not words else "-",
            )
        )
    false_alarms = sum(bool(row["doctor"]) for row in rows if row["bug"] == "none")
    named = sum(seen)
    reproduced = all(held) and named >= FEWEST_NAMED and not false_alarms
    percent = [bug for bug in BUGS if bug.number.startswith(("test images", "first task"))]
    points: dict[str, list[dict[str, object]]] = {
        which: [
            {
                "x": i,
                "y": sum(found) / len(found),
                "label": f"bug {bug.name.split()[0]}",
            }
            for i, bug in enumerate(percent)
            if (found := values_of([row for row in rows if row["bug"] == bug.name], which))
        ]
        for which in ("wrong", "right")
    }
    return Findings(
        verdict=decided(reproduced, sum(held) >= 10),
        because=f"{sum(held)} of {len(BUGS)} bugs show in every seed, {named} of them are named by the "
        f"doctor in every seed, and it names {false_alarms} of {len(done)} networks without one (n = "
        f"{len(done)}).",
        tables=[
            Table(
                title="The bugs",
                columns=(
                    "bug",
                    "number",
                    "with it",
                    "without it",
                    "shown in every seed",
                    "ostrich doctor says",
                ),
                rows=table,
            )
        ],
        charts=[Chart(x_label="bug", even=True, y_label="test images right, %", series=points)],
        compared=[
            ("bugs that show, and that the doctor names", "-", f"{sum(held)} and {named} of {len(BUGS)}")
        ],
        figures={"shown": sum(held), "named": named, "false_alarms": false_alarms},
    )


STUDY = Study(
    name="batchnorm-modes",
    question="What goes wrong between batch norm's training and evaluation mode, and can one see it?",
    claim="The two modes are one layer's two different functions, and each of twelve mistakes with them, "
    "several of them reported to libraries, gives a wrong number.",
    source="Ioffe and Szegedy 2015, section 3.1, for the modes; the bugs as reported to PyTorch (4741, "
    "5406, 4253, 7716), fastai (1352), robustdg (30), higher (55) and equinox (659).",
    differs="There are no published figures for bugs, and none for how common each is; each has the right "
    "number beside it. Replicas (8) are played by one process.",
    rule="Reproduced: in every seed each wrong number is worse than the right one by at least the margin "
    f"that the bug's entry gives, the doctor names at least {FEWEST_NAMED} bugs in every seed, and none in "
    "the network without a bug. Direction only: at least 10 show in every seed. Else not reproduced.",
    specs={
        "smoke": Settings(train=200, test=120, width=0.25, steps=30),
        "cpu": Settings(seeds=5),
    },
    trials=trials,
    run=run,
    judge=judge,
)
