"""Plain against residual networks of several depths (He et al. 2016, sections 1, 4.1 and 4.2).

A deeper plain network has a higher error, on the training images too: it is not overfitting, and with batch
norm not vanishing gradients either, but optimisation that fails. Residual networks of the same layers do not
degrade. The figure that shows it is the training error, measured in evaluation mode without augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ostrich.figures.chart import Chart
from ostrich.published import published
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.points import by_seed, mean_points, paired
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, rows_of

KINDS = ("plain", "residual")
PUBLISHED_DEPTHS = (20, 32, 44, 56, 110)


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """Depths 6n + 2 of the networks for small images, or 18 and 34 of those for ImageNet's."""

    train: int = 1000
    test: int = 797
    pixels: int = 8
    depths: tuple[int, ...] = (8, 20, 56)
    width: float = 0.5
    stem_stride: int = 1
    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 0.1
    shift: int = 1
    schedule: str = "triangle"
    warmup: float = 0.2


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, depth=spec.depths, kind=KINDS)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed = trial["seed"]
    given = open_splits(spec.data, size=spec.pixels, train=spec.train, test=spec.test, seed=seed)
    recipe = recipe_for(
        given,
        steps=spec.steps,
        batch_size=spec.batch_size,
        seed=seed,
        learning_rate=spec.learning_rate,
        schedule=spec.schedule,
        warmup=spec.warmup,
        weight_decay=1e-4,
        nesterov=False,
        shift=spec.shift,
        flip=spec.data != "digits",
    )
    network = built(_architecture(spec, trial["kind"], trial["depth"]), given, seed, spec.device)
    curve = fitted(network, recipe, given, folder)
    rows: list[Row] = [
        {"step": r["step"], "running_train_error": 100 * (1 - r["train_accuracy"])} for r in curve
    ]
    return [*rows, {"step": None, **measured(network, recipe, given)}]


def _architecture(spec: Settings, kind: str, depth: int) -> str:
    name = f"{'plain' if kind == 'plain' else 'resnet'}{depth},width={spec.width}"
    if depth in (18, 34):
        return name + (",shortcut=A" if kind == "residual" else "")  # the paper's table 2
    return f"{name},stem_stride={spec.stem_stride}"


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    ends = [row for row in rows_of(done) if row["step"] is None]
    errors = {
        (kind, depth, split): by_seed(ends, f"{split}_error", kind=kind, depth=depth)
        for kind in KINDS
        for depth in spec.depths
        for split in ("train", "test")
    }
    intervals = {key: interval(list(found.values())) for key, found in errors.items()}
    pairs = [(a, b) for a in spec.depths for b in spec.depths if a < b]
    apart = [
        (a, b) for a, b in pairs if intervals["plain", a, "train"][2] < intervals["plain", b, "train"][1]
    ]
    first, last = min(spec.depths), max(spec.depths)
    grown = interval(paired(errors["residual", last, "train"], errors["residual", first, "train"]))
    plain = interval(paired(errors["plain", last, "train"], errors["plain", first, "train"]))
    between = interval(paired(errors["plain", last, "train"], errors["residual", last, "train"]))
    without = grown[1] <= 0
    reproduced = bool(apart) and without
    direction = plain[0] > 0 and between[0] > 0
    shown = ", ".join(f"{a} and {b}" for a, b in apart) or "no two depths"
    because = (
        f"Training error of plain networks rises by {plain[0]:.1f} points from {first} to {last} layers, "
        f"with intervals apart between {shown}; that of residual networks changes by {grown[0]:+.1f} points "
        f"(95 % interval {grown[1]:.1f} to {grown[2]:.1f}; n = {spec.seeds})."
    )
    curves = {
        f"{kind} {depth}": mean_points(
            [r for r in rows_of(done, kind=kind, depth=depth) if r["step"] is not None],
            "step",
            "running_train_error",
        )
        for kind in KINDS
        for depth in spec.depths
    }
    by_depth = {
        f"{kind}, {'training' if split == 'train' else 'test'} images": mean_points(
            [row for row in ends if row["kind"] == kind], "depth", f"{split}_error"
        )
        for kind in KINDS
        for split in ("train", "test")
    }
    name = "published: residual, CIFAR-10 test"
    by_depth[name] = [
        {"x": d, "y": published(f"cifar10-resnet{d}/test-error").value, "label": str(d)}
        for d in PUBLISHED_DEPTHS
    ]
    return Findings(
        verdict="reproduced" if reproduced else "direction only" if direction else "not reproduced",
        because=because,
        tables=[
            Table(
                title="Error in percent at the end",
                columns=("depth", *(f"{kind}, {split}" for kind in KINDS for split in ("train", "test"))),
                rows=[
                    (
                        d,
                        *(
                            spread(list(errors[k, d, s].values()), 1)
                            for k in KINDS
                            for s in ("train", "test")
                        ),
                    )
                    for d in spec.depths
                ],
            )
        ],
        charts=[
            Chart(
                title="Depth", x_label="layers", y_label="error, %", series=by_depth, dashed=frozenset([name])
            ),
            Chart(
                title="On the way",
                x_label="steps",
                even=True,
                y_label="error on the batches trained on, %",
                series=curves,
                dashed=frozenset(n for n in curves if n.startswith("plain")),
            ),
        ],
        figures={"plain_rise": plain[0], "residual_rise": grown[0], "residual_rise_low": grown[1]},
    )


_CIFAR = Settings(
    device="cuda",
    data="cifar10",
    pixels=32,
    train=50_000,
    test=10_000,
    depths=(20, 32, 44, 56),
    width=1.0,
    stem_stride=1,
    steps=64_000,
    batch_size=128,
    shift=4,
    schedule="steps",
    warmup=0.0,
)
STUDY = Study(
    name="depth",
    question="Why is a deeper plain network worse, and a deeper residual one not?",
    claim="Plain networks degrade with depth in training error: on ImageNet from 27.94 to 28.54 % top-1 "
    "from 18 to 34 layers, on CIFAR-10 beyond 60 % at 110; residual ones do not (27.88 to 25.03; 8.75 to "
    "6.43).",
    source="He et al. 2016, Deep residual learning, figures 1 and 6, tables 2 and 6.",
    differs="Half the width, 1,000 digits of 8x8 pixels, 500 steps. The task is easy, so what is looked at "
    "is whether the training images are fitted; the published CIFAR-10 curve is drawn for its shape.",
    rule="Reproduced: the training errors of plain networks of two depths have 95 % intervals that do not "
    "overlap, the deeper one's higher, and that of residual networks does not rise from the least to the "
    "greatest depth (the interval of the rise, paired by seed, reaches zero or below). Direction only: in "
    "the mean, plain networks rise from the least to the greatest depth, and end above the residual ones. "
    "Else not reproduced.",
    published=(
        *(f"cifar10-resnet{d}/test-error" for d in PUBLISHED_DEPTHS),
        *(f"imagenet-{name}/top1-error" for name in ("plain18", "plain34", "resnet18", "resnet34")),
    ),
    specs={
        "smoke": Settings(train=64, test=50, depths=(8, 14), width=0.25, steps=3),
        "cpu": Settings(seeds=5),
        "gpu": _CIFAR,
        "paper": Settings(
            device="cuda",
            data="folder:IMAGENET",
            train=100_000,
            test=10_000,
            pixels=224,
            depths=(18, 34),
            width=1.0,
            steps=600_000,
            batch_size=256,
            shift=16,
            schedule="steps",
            warmup=0.0,
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
