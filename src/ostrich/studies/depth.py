"""Plain against residual networks of several depths (He et al. 2016, sections 1, 4.1 and 4.2).

A deeper plain network has a higher error, on the training images too: it is not overfitting, and with batch
norm not vanishing gradients either, but optimisation that fails. Residual networks of the same layers do not
degrade. The figure that shows it is the training error, measured in evaluation mode without augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ostrich.figures.chart import Chart
from ostrich.published import published
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.points import by_seed, mean_points, paired, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of

KINDS = ("plain", "residual")
PUBLISHED_DEPTHS = (20, 32, 44, 56, 110)
# points: the least published degradation, plain networks from 18 to 34 layers, 28.54 - 27.94
MARGIN = round(
    published("imagenet-plain34/top1-error").value - published("imagenet-plain18/top1-error").value, 2
)


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """Depths 6n + 2 of the networks for small images, or 18 and 34 of those for ImageNet's.

    `precision` is that of training, "fast" bf16 where the processor computes in it; with `watch_test` the
    test error is measured on the way too, once an epoch.
    """

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
    precision: str = "exact"
    watch_test: bool = False


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
        precision=spec.precision,
    )
    network = built(_architecture(spec, trial["kind"], trial["depth"]), given, seed, spec.device)
    curve = fitted(network, recipe, given, folder, held_out=spec.watch_test)
    rows: list[Row] = [
        {
            "step": r["step"],
            "running_train_error": 100 * (1 - r["train_accuracy"]),
            "running_test_error": 100 * (1 - r["held_out_accuracy"]) if spec.watch_test else None,
        }
        for r in curve
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
    first, last = min(spec.depths), max(spec.depths)

    def rise(kind: str, split: str) -> tuple[float, float, float]:
        return interval(paired(errors[kind, last, split], errors[kind, first, split]))

    plain, residual, test = rise("plain", "train"), rise("residual", "train"), rise("residual", "test")
    degrades, holds, falls = plain[1] > MARGIN, residual[2] < MARGIN, test[2] < 0
    because = (
        f"From {first} to {last} layers the training error of plain networks changes by "
        f"{ranged(plain, sign='+')} points (95 % interval; n = {spec.seeds}), that of residual ones by "
        f"{ranged(residual, sign='+')}, {'less' if holds else 'not surely less'} than {MARGIN:.2f}, their "
        f"test error by {ranged(test, sign='+')}."
    )
    ways = {
        what: {
            f"{kind} {depth}": mean_points(
                [r for r in rows_of(done, kind=kind, depth=depth) if r["step"] is not None],
                "step",
                f"running_{what}_error",
            )
            for kind in KINDS
            for depth in spec.depths
        }
        for what in ("train", "test")
        if what == "train" or spec.watch_test
    }
    curves = ways["train"]
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
        verdict=decided(degrades and holds and falls, degrades and holds),
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
                title="Depth",
                x_label="layers",
                y_label="error, %",
                series=by_depth,
                dashed=frozenset(n for n in by_depth if not n.endswith("training images")),
            ),
            Chart(
                title="On the way",
                x_label="steps",
                even=True,
                y_label="error on the batches trained on, %",
                series=curves,
                dashed=frozenset(n for n in curves if n.startswith("plain")),
            ),
            *(
                Chart(
                    title="On the way, test images",
                    x_label="steps",
                    even=True,
                    y_label="test error, %",
                    series=series,
                    dashed=frozenset(n for n in series if n.startswith("plain")),
                )
                for what, series in ways.items()
                if what == "test"
            ),
        ],
        compared=[
            (
                f"plain, rise of the training error from {first} to {last} layers, points",
                f"{MARGIN:+.2f} from 18 to 34 (ImageNet)",
                ranged(plain, 1, "+"),
            ),
            (
                f"residual, rise of the test error from {first} to {last} layers, points",
                f"{_published_rise():+.2f} from 20 to 56 (CIFAR-10)",
                ranged(test, 1, "+"),
            ),
        ],
        figures={
            "plain_rise": plain[0],
            "plain_rise_low": plain[1],
            "residual_rise": residual[0],
            "residual_rise_high": residual[2],
            "residual_test_rise": test[0],
            "residual_test_rise_high": test[2],
        },
    )


def _published_rise() -> float:
    """Of residual networks from 20 to 56 layers."""
    shallow, deep = (published(f"cifar10-resnet{depth}/test-error").value for depth in (20, 56))
    return deep - shallow


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
    "from 18 to 34 layers, on CIFAR-10 beyond 60 % at 110; the error of residual ones falls (27.88 to 25.03; "
    "8.75 to 6.43, the best of five runs, 6.61 +- 0.16 in the mean).",
    source="He et al. 2016, Deep residual learning, figures 1 and 6, tables 2 and 6.",
    differs="Half the width, 1,000 digits of 8x8 pixels, 500 steps. The task is easy, so what is looked at "
    "is whether the training images are fitted, and hardly anything is left to fall; the published CIFAR-10 "
    "curve is drawn for its shape. Scale `hours` takes all of CIFAR-10's training images at full width, 6 "
    "epochs instead of 164 (so that 56 layers end within two hours of one core that has no bf16), bf16 "
    "where the processor has it, and 1,000 test images; `--set steps=7820` makes it 20 epochs. Scale "
    "`paper` is the published set-up on CIFAR-10, but that shifted images repeat their edges (theirs have "
    "zeros there) and the rate of all networks rises over the first 400 steps, where the paper's 110 layers "
    "begin with 0.01; ImageNet's 1.28 million images do not fit.",
    rule="Of the changes from the least to the greatest depth, paired by seed, with 95 % intervals. "
    f"Reproduced: the training error of plain networks rises by more than {MARGIN:.2f} points (lower end), "
    f"that of residual networks by less than that (upper end: a test of equivalence; {MARGIN:.2f} is what "
    "the published plain networks lose from 18 to 34 layers), and the test error of residual networks "
    "falls, as published (upper end below zero). Direction only: the first two. Else not reproduced.",
    published=(
        *(f"cifar10-resnet{d}/test-error" for d in PUBLISHED_DEPTHS),
        "cifar10-resnet110/mean-test-error",
        *(f"imagenet-{name}/top1-error" for name in ("plain18", "plain34", "resnet18", "resnet34")),
    ),
    specs={
        "smoke": Settings(train=64, test=50, depths=(8, 14), width=0.25, steps=3),
        "cpu": Settings(seeds=5),
        # 6 epochs of 391 steps; --data cifar10:PATH takes class folders, and of a test split what is there
        "hours": replace(
            _CIFAR,
            device="cpu",
            test=1000,
            depths=(20, 56),
            steps=2346,
            precision="fast",
            watch_test=True,
        ),
        "gpu": _CIFAR,
        "paper": replace(_CIFAR, depths=PUBLISHED_DEPTHS, warmup=400 / 64_000, seeds=5),
    },
    trials=trials,
    run=run,
    judge=judge,
)
