"""Does a generator as prior make of a unit's preferred image an object, or only another way to be sure of?

Nguyen et al. 2016 (DGN-AM) show pictures, and asked people. Here nobody looks: every way climbs to the same
activation, that of a real image, and networks that had no part in it say what they see. An image that only
its own network takes for the class is an adversarial one; an object is an object for others too.

    climbed with    network, and nothing else
    prior's own     encoder, by whose features the generator was fitted
    judges          other networks, trained on the same classes, which neither of them has met

The ways: the code of the generator; Lucid's, a spectrum under random views; the gradient alone. Beside them,
real images of that activation say what the judges can see at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.figures.chart import Chart
from ostrich.generative import Generator, load_generator
from ostrich.images import rounded, write_png
from ostrich.models import Classifier, load
from ostrich.statistics import interval, wilson
from ostrich.studies.datasets import open_splits
from ostrich.studies.points import paired
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of
from ostrich.visualization import PRESETS, Ascent, Prior, ascend, with_prior
from ostrich.visualization.dgn_am import PRIOR_STEPS
from ostrich.visualization.parametrisations import Canvas

WAYS = ("prior", "lucid", "plain", "real")
OTHERS = ("lucid", "plain")  # what the prior is compared with
REACHED = 0.9  # of the images with the prior that have to get to the activation


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`images` real ones tell how much a class is activated; `judges` are models, with commas between.

    `steps` are those of each way, None: its own.
    """

    data: str = "toybox"
    seeds: int = 10
    network: str = "zoo:toybox-plain14"
    generator: str = "zoo:toybox-prior"
    judges: tuple[str, ...] = ("zoo:toybox-resnet20", "zoo:toybox-alexnet")
    images: int = 512
    size: int = 64
    steps: int | None = None


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, way=WAYS)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    classifier = load(spec.network, device=spec.device)
    judges = {name: load(name, device=spec.device) for name in spec.judges}
    generator = load_generator(spec.generator)
    if met := {spec.network, generator.card.get("encoder")} & set(judges):
        raise InputError(f"{', '.join(sorted(map(str, met)))} is no judge: the images were made with it.")
    held = open_splits(spec.data, size=spec.size, train=1, test=spec.images, seed=trial["seed"]).test
    real, labels = held.images(), held.tensors()[1]
    activations = _own(classifier, real, labels)
    classes = list(range(classifier.num_classes))
    wanted = torch.stack([activations[labels == k].mean() for k in classes])
    if trial["way"] == "real":
        places = [_nearest(activations, labels == k, wanted[k], trial["seed"]) for k in classes]
        images, found = real[places], activations[places]
        reached = torch.ones(len(classes), dtype=torch.bool)
    else:
        settings = way(trial["way"], spec, classifier, generator)
        images, found, reached = climbed(classifier, settings, wanted, trial["seed"])
    rows: list[Row] = []
    write_png(folder / "images.png", torch.cat(list(images), 2))
    for name, judge in judges.items():
        probabilities = judge.predict(images).softmax(1)
        for k in classes:
            rows.append(
                {
                    "judge": name,
                    "class": classifier.class_name(k),
                    "wanted": wanted[k].item(),
                    "activation": found[k].item(),
                    "reached": bool(reached[k]),
                    "recognised": bool(reached[k]) and int(probabilities[k].argmax()) == k,
                    "confidence": probabilities[k, k].item(),
                }
            )
    return rows


def way(name: str, spec: Settings, classifier: Classifier, generator: Generator) -> Ascent:
    """How that way climbs."""
    settings = PRESETS.get(name)
    if settings is None:
        settings = with_prior(Prior.of(generator, Canvas.of(classifier)), spec.steps or PRIOR_STEPS)
    return settings if spec.steps is None else replace(settings, steps=spec.steps)


def climbed(
    classifier: Classifier, settings: Ascent, wanted: Tensor, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each class the first image on the way (K, C, H, W) that activates it as much as `wanted` (K,).

    Images are looked at as 8-bit files, without views; where none does, the last one. With them, their
    activations (K,) and whether they got there (K,).
    """
    classes = torch.arange(len(wanted))
    reached = torch.zeros(len(wanted), dtype=torch.bool)
    found = torch.zeros(len(wanted))
    images: list[Tensor] = [torch.empty(0)] * len(wanted)

    def look(_step: int, places: list[int], shown: Tensor) -> None:
        files = rounded(shown).cpu()
        now = _own(classifier, files, classes[places])
        for place, image, value in zip(places, files, now, strict=True):
            if not reached[place]:
                images[place], found[place] = image, value
                reached[place] = value >= wanted[place]

    ascend(classifier, [f"class:{k}" for k in classes.tolist()], settings, seed=seed, watch=look)
    return torch.stack(images), found, reached


@torch.no_grad()
def _own(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """The logit of each image's class (N,)."""
    logits = classifier.predict(images.to(classifier.device)).cpu()
    return logits.gather(1, classes[:, None])[:, 0]


def _nearest(activations: Tensor, mask: Tensor, wanted: Tensor, turn: int) -> int:
    """The place of the real image whose activation is, but for `turn` others, the nearest to the wanted."""
    distance = (activations - wanted).abs().masked_fill(~mask, torch.inf)
    return int(distance.argsort()[turn % max(1, int(mask.sum()))])


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    shares = {
        (name, way_): _by_seed([row for row in rows if row["judge"] == name and row["way"] == way_])
        for name in spec.judges
        for way_ in WAYS
    }
    differences = {
        (name, other): interval(paired(shares[name, "prior"], shares[name, other]))
        for name in spec.judges
        for other in OTHERS
    }
    first = [row for row in rows if row["judge"] == spec.judges[0]]
    arrived = {w: [row["reached"] for row in first if row["way"] == w] for w in WAYS}
    there = sum(arrived["prior"]) / len(arrived["prior"])
    verdict = decided(
        there >= REACHED and all(low > 0 for _, low, _ in differences.values()),
        all(mean > 0 for mean, _, _ in differences.values()),
    )
    table, compared = [], []
    for way_ in WAYS:
        cells = []
        for name in spec.judges:
            own = [row for row in rows if row["judge"] == name and row["way"] == way_]
            hits = sum(row["recognised"] for row in own)
            low, high = wilson(hits, len(own))
            cells.append(f"{hits / len(own):.0%} ({low:.0%} to {high:.0%})")
        table.append((way_, f"{sum(arrived[way_])} of {len(arrived[way_])}", *cells))
        compared.append((f"{way_}: recognised by {' and '.join(spec.judges)}", "-", " and ".join(cells)))
    least = min(differences.values(), key=lambda one: one[1])
    return Findings(
        verdict=verdict,
        because=f"At a real image's activation {there:.0%} of the images with the prior got there; by "
        f"{' and '.join(spec.judges)} they are recognised "
        + ", ".join(
            f"{mean:+.0%} ({low:+.0%} to {high:+.0%}) more often than {other} by {name}"
            for (name, other), (mean, low, high) in differences.items()
        )
        + ".",
        tables=[
            Table(
                title="Images at equal activation, recognised by networks that had no part in them",
                columns=("way", "reached", *spec.judges),
                rows=table,
            ),
        ],
        charts=[
            Chart(
                title="Recognised",
                x_label="way",
                even=True,
                y_label="of 1",
                series={
                    name: [
                        {"x": i, "y": centre, "low": low, "high": high, "label": way_}
                        for i, way_ in enumerate(WAYS)
                        for centre, low, high in [interval(list(shares[name, way_].values()))]
                    ]
                    for name in spec.judges
                },
            )
        ],
        compared=compared,
        figures={"reached": there, "least_difference": least[0], "least_difference_low": least[1]},
    )


def _by_seed(rows: Sequence[Row]) -> dict[int, float]:
    """The share of classes that is recognised, of each seed."""
    seeds = sorted({row["seed"] for row in rows})
    found = {seed: [row["recognised"] for row in rows if row["seed"] == seed] for seed in seeds}
    return {seed: sum(hits) / len(hits) for seed, hits in found.items()}


STUDY = Study(
    name="prior",
    question="Does a generator as prior make a unit's preferred image an object?",
    claim="Images that a generator's code is climbed to look like what the unit stands for; those of the "
    "gradient alone look like noise.",
    source="Nguyen, Dosovitskiy, Yosinski, Brox and Clune 2016, Synthesizing the preferred inputs for "
    "neurons in neural networks via deep generator networks, section 4.",
    differs="Theirs were looked at by people, and CaffeNet's images were compared as they came out. Here all "
    "ways climb to the same activation, and networks that met neither the climbed one nor the generator's "
    "encoder judge; the generator is ours, of the toybox.",
    rule="Wanted is the mean logit of a class over its real test images; of each way the first 8-bit image "
    "that has it counts, and one that never gets there is not recognised. Reproduced: at least "
    f"{REACHED:.0%} of the images with the prior get there, and by each judge they are recognised more often "
    "than Lucid's and than the gradient's alone, the interval of the difference over seeds (Student's t) "
    "above zero each time. Direction only: all these differences are above zero in the mean. Not "
    "reproduced: else.",
    specs={
        "smoke": Settings(seeds=3, images=128, steps=8),
        "cpu": Settings(),
    },
    trials=trials,
    run=run,
    judge=judge,
)
