"""How accurate is the network when the picture is bad, and nobody means harm?

The fifteen common corruptions at five severities (Hendrycks and Dietterich 2019). Images come in random
order, a few at first, then ever more until the time of the probe is over; of each part severity 3 comes
first, which a gate can ask for.

The mean corruption error (mCE) is the mean over corruptions of the network's error over AlexNet's, each the
mean of five severities; the relative one takes from each its error without corruption. AlexNet's are of
ImageNet-C, so both mean something for ImageNet's classes alone; for others there is the mean error. Those
files are JPEGs of quality 85 besides, the images here are not: SqueezeNet loses 10 points more by it under
contrast of severity 3 and 5 under fog, of 78 photographs, so the mCE here is a little lower than there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.engine.resuming import network_facts
from ostrich.corruptions import FAMILIES, NAMES, SEVERITIES, corrupt
from ostrich.crashtest.answer import Answer, Measurement
from ostrich.crashtest.blocks import Block, Curve, Number, Picture, Pictures, Point, Series, Table
from ostrich.crashtest.context import CannotRun, Context, growing
from ostrich.crashtest.plan import ANYTIME
from ostrich.crashtest.summary import UNDER_CORRUPTION, share
from ostrich.figures.words import in_percent, several
from ostrich.models import Classifier
from ostrich.models.answers import predictions, right
from ostrich.published import published
from ostrich.runtime.deadline import TimeUp, in_its_own_time
from ostrich.runtime.facts import MARK, digest
from ostrich.runtime.resumable import Checkpoint, Computation, Content, Piece
from ostrich.statistics import bootstrap, rank_correlation, wilson

TITLE = "Common corruptions"
COST = ANYTIME
JUDGED = 3  # the severity that comes first, is shown, and that gates speak of
ORDER = (JUDGED, *(severity for severity in SEVERITIES if severity != JUDGED))
AT_ONCE = 16  # images in the memory under all corruptions
LANDMARKS = {9: "ostrich", 779: "school bus"}  # of ImageNet's classes


def probe(context: Context) -> Answer:
    """The question of this file."""
    if not context.correct.any():
        raise CannotRun("The network gets none of these images right, so no corruption can make it wrong.")
    known = _measured(context)
    if JUDGED not in known:
        raise TimeUp
    figures = _figures(context, known)
    shown = figures["severities"][str(JUDGED)]
    example, caption = _example(context)
    labelled = context.samples.labels is not None
    words = "right on" if labelled else "of its clean answer on"
    return Answer(
        sentence=f"Under common corruptions of severity {JUDGED} it is {words} "
        f"{in_percent(shown['accuracy'])} of n = {several(shown['n'], 'image')} "
        f"({in_percent(figures['clean'])} without). {_worst(figures)}{_summary(figures)}",
        how_to_read="Fifteen corruptions that cameras, weather and files make, at the five severities of "
        f"ImageNet-C; the mean over all of them, and over families. {caption} Frost is drawn here. "
        "The interval is over images (bootstrap); corruptions of one image are not independent.",
        figures=figures,
        summary=[_line(figures)] if labelled else [],
        blocks=[
            Number(
                label=f"accuracy under corruption, severity {JUDGED}",
                value=shown["accuracy"] if labelled else None,
                interval=shown["interval"] if labelled else None,
                n=shown["n"],
            ),
            _curve(figures, known),
            _table(figures),
            example,
        ],
    )


def _measured(context: Context) -> dict[int, tuple[list[int], Tensor]]:
    """By severity the images, by their places, and whether each is right, bool (n, 15), in time."""
    found: dict[int, tuple[list[int], list[Tensor]]] = {}
    facts = {**network_facts(context.classifier), "seed": str(context.seed)}
    with (
        suppress(TimeUp),  # what is whole by then is the answer
        Computation(context.folder / "shards/corruptions", facts, waits=False) as kept,
    ):
        for batch in growing(torch.tensor(context.in_random_order()), context.first_batch):
            for severity, parts in _predicted(context, kept, batch):
                labels = context.labels[batch].cpu()[:, None]
                rows, known = found.setdefault(severity, ([], []))
                known.append(right(parts, labels))
                rows += batch.tolist()
    return {severity: (rows, torch.cat(known)) for severity, (rows, known) in found.items()}


def _predicted(context: Context, kept: Computation, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    """By severity the predictions (n, 15) of some images under all corruptions; found again where known."""
    images = [context.images[part] for part in rows.split(AT_ONCE)]
    marks = [digest(part).removeprefix(MARK) for part in images]
    asked = {
        f"{severity}-{mark}": (part, severity) for severity in ORDER for part, mark in zip(images, marks)
    }
    answers: dict[str, Tensor] = {}
    for piece, (_, severity), content in kept.in_order(
        [Piece(key) for key in asked],
        _Corrupted(context.classifier, context.seed),
        lambda piece: asked[piece.key],
    ):
        answers[piece.key] = content["predictions"]
        keys = [f"{severity}-{mark}" for mark in marks]
        if all(key in answers for key in keys):
            yield severity, torch.cat([answers[key] for key in keys])


@dataclass(frozen=True)
class _Corrupted:
    """The predictions (n, 15) of images (n, C, H, W) under all corruptions of a severity."""

    classifier: Classifier
    seed: int

    def __call__(self, given: tuple[Tensor, int], checkpoint: Checkpoint) -> Content:
        images, severity = given
        answers = [
            predictions(self.classifier.predict(corrupt(images, name, severity, seed=self.seed))).cpu()
            for name in NAMES
        ]
        return {"predictions": torch.stack(answers, 1)}


def _figures(context: Context, known: dict[int, tuple[list[int], Tensor]]) -> dict[str, Any]:
    """Accuracies by severity and by corruption, and the mean errors over images of which all is known."""
    clean = context.correct.cpu()
    rows, _ = known[JUDGED]
    severities = {}
    for severity in sorted(known):
        by_image = known[severity][1].double().mean(1)
        severities[str(severity)] = {
            "accuracy": float(by_image.mean()),
            "interval": bootstrap(by_image.tolist(), seed=context.seed),
            "n": len(by_image),
        }
    corruptions: dict[str, dict[str, Any]] = {
        name: {str(severity): float(known[severity][1][:, i].double().mean()) for severity in sorted(known)}
        for i, name in enumerate(NAMES)
    }
    figures: dict[str, Any] = {
        "n": len(rows),
        "labelled": context.samples.labels is not None,
        "clean": float(clean[rows].double().mean()),
        "severities": severities,
        "corruptions": corruptions,
        "worst": min(NAMES, key=lambda name: corruptions[name][str(JUDGED)]),
    }
    if len(known) == len(SEVERITIES):
        # The parts come in one order, so those of which the last severity is known are the first of all.
        count = min(len(of) for of, _ in known.values())
        errors = torch.stack([~known[severity][1][:count] for severity in SEVERITIES]).double().mean(0)
        figures["all_severities"] = _mean_errors(context, errors, ~clean[rows[:count]])
        for name, error in zip(NAMES, errors.mean(0).tolist(), strict=True):
            corruptions[name]["error"] = error
    return figures


def _mean_errors(context: Context, errors: Tensor, clean: Tensor) -> dict[str, Any]:
    """Of errors (n, 15), each the mean of five severities, and those without corruption, bool (n,).

    All are means over images, so their intervals are those of a mean.
    """

    def summary(by_image: Tensor) -> dict[str, Any]:
        interval = bootstrap(by_image.tolist(), seed=context.seed)
        return {"value": float(by_image.mean()), "interval": interval}

    found: dict[str, Any] = {"n": len(errors), "mean_error": summary(errors.mean(1))}
    if not of_imagenet(context.classifier) or context.samples.labels is None:
        return found | {"mce": None, "relative_mce": None, "rank_correlation": None}
    alexnet = torch.tensor(_alexnet(), dtype=torch.float64)
    lost = errors - clean.double()[:, None]
    lost_by_alexnet = alexnet - published("alexnet-imagenet-c/clean-error").value
    return found | {
        "mce": summary((errors / alexnet).mean(1)),
        "relative_mce": summary((lost / lost_by_alexnet).mean(1)),
        "rank_correlation": rank_correlation(errors.mean(0).tolist(), alexnet.tolist()),
    }


def _alexnet() -> list[float]:
    return [published(f"alexnet-imagenet-c/{name}-error").value for name in NAMES]


def of_imagenet(classifier: Classifier) -> bool:
    """Whether the classes are ImageNet's thousand, as far as their number and names tell."""
    names = classifier.class_names
    if classifier.num_classes != 1000 or names is None:
        return classifier.num_classes == 1000
    return all(names[place].replace("_", " ") == name for place, name in LANDMARKS.items())


# What is shown -----------------------------------------------------------------------------------


def _worst(figures: dict[str, Any]) -> str:
    """The corruption that harms most, where any does."""
    worst = figures["worst"]
    accuracy = figures["corruptions"][worst][str(JUDGED)]
    if accuracy >= figures["clean"]:
        return "None of them harms it."
    return f"Of all, {_plain(worst)} harms most: {in_percent(accuracy)}."


def _summary(figures: dict[str, Any]) -> str:
    """The mean errors in a sentence, with what they are divided by; nothing where they are not known."""
    found = figures.get("all_severities")
    if found is None:
        return ""
    if found["mce"] is None:
        error, low, high = (
            in_percent(x, 1) for x in (found["mean_error"]["value"], *found["mean_error"]["interval"])
        )
        return f" Its mean error over all severities is {error} ({low} to {high})."
    mce, (low, high) = found["mce"]["value"], found["mce"]["interval"]
    return (
        f" Its mCE is {mce:.1%} of AlexNet's errors ({low:.1%} to {high:.1%}; relative "
        f"{found['relative_mce']['value']:.1%})."
    )


def _line(figures: dict[str, Any]) -> Measurement:
    """The accuracy at severity 3 as one of the figures of the check."""
    found = figures["severities"][str(JUDGED)]
    interval, n = found["interval"], found["n"]
    return share(UNDER_CORRUPTION, found["accuracy"], interval, n, figures["clean"], NAMES)


def _curve(figures: dict[str, Any], known: dict[int, tuple[list[int], Tensor]]) -> Curve:
    """Accuracy by severity: of all corruptions with its interval, and of each family."""
    clean, count = figures["clean"], figures["n"]
    low, high = wilson(round(clean * count), count)
    start = Point(x=0, y=clean, low=low, high=high, label="none")
    points = [start]
    for severity, found in figures["severities"].items():
        interval = dict(zip(("low", "high"), found["interval"], strict=True))
        points.append(Point(x=float(severity), y=found["accuracy"], label=severity, **interval))
    series = [Series(name="all corruptions", style="attack", points=points)]
    for family, names in FAMILIES.items():
        columns = [NAMES.index(name) for name in names]
        line = [Point(x=0, y=clean, label="none")]
        for severity in sorted(known):
            accuracy = float(known[severity][1][:, columns].double().mean())
            line.append(Point(x=severity, y=accuracy, label=str(severity)))
        series.append(Series(name=family, style="other", points=line))
    return Curve(x_label="severity", y_label="accuracy", series=series)


def _table(figures: dict[str, Any]) -> Table:
    """Accuracy by corruption and severity, the worst corruption at severity 3 first."""
    severities = list(figures["severities"])
    whole = figures.get("all_severities")
    compared = whole is not None and whole["mce"] is not None
    columns = ["corruption", *(f"severity {s}" for s in severities)]
    columns += ["mean error"] if whole else []
    columns += ["AlexNet's", "error / AlexNet's"] if compared else []
    alexnet = dict(zip(NAMES, _alexnet(), strict=True))
    lines: list[list[Any]] = []
    for name, found in sorted(figures["corruptions"].items(), key=lambda one: one[1][str(JUDGED)]):
        line = [_plain(name), *(found[s] for s in severities)]
        line += [found["error"]] if whole else []
        lines.append(line + ([alexnet[name], found["error"] / alexnet[name]] if compared else []))
    return Table(columns=columns, rows=lines)


def _example(context: Context) -> tuple[Block, str]:
    """One image that is seen right under all corruptions of severity 3, and a sentence on it."""
    row = next(row for row in context.in_random_order() if context.correct[row])
    image = context.images[row : row + 1]
    with in_its_own_time():
        changed = torch.cat([corrupt(image, name, JUDGED, seed=context.seed) for name in NAMES])
    context.ask(changed)
    items = []
    for name, one in zip(["none", *NAMES], [image[0], *changed], strict=True):
        said, certain = context.confidences(one, 1)[0]
        file = context.save(f"corruption-{name}", one)
        items.append(Picture(file=file, title=_plain(name), caption=f"{said}, {certain:.0%}"))
    return Pictures(items=items, columns=4), f"Below, one image under each of severity {JUDGED}."


def _plain(name: str) -> str:
    """A corruption as people write it."""
    return name.replace("_", " ").replace("jpeg", "JPEG")
