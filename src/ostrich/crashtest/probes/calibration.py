"""Does the network know when it is wrong? And when it cannot know?

The calibration error of its confidence on clean images and under common corruptions of severity 3, each
image under one of the fifteen in turn, so that images stay independent; the temperature that mends it, fitted
on half of the clean images and judged on the rest; and how well its confidence tells the images from what is
of no class: noise, and handwritten digits, or parts of photographs where the network may know digits.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.corruptions import NAMES, corrupt
from ostrich.crashtest.answer import Answer, Measurement
from ostrich.crashtest.blocks import Block, Curve, Number, Point, Series, Table
from ostrich.crashtest.context import CannotRun, Context, growing
from ostrich.crashtest.plan import ANYTIME
from ostrich.crashtest.summary import calibration as of_calibration
from ostrich.data import open_data
from ostrich.data.split import hold_out_share
from ostrich.diagnosis.calibration import (
    calibration_error,
    energy,
    max_softmax,
    negative_log_likelihood,
    reliability,
    roc_area,
    temperature,
)
from ostrich.figures.words import in_percent
from ostrich.images import fit, from_bytes, luma, rounded
from ostrich.models import Classifier
from ostrich.models.answers import answered
from ostrich.runtime.deadline import TimeUp
from ostrich.runtime.randomness import keyed
from ostrich.statistics import wilson

TITLE = "Calibration"
COST = ANYTIME
SEVERITY = 3
FEWEST = 16  # images with an answer, of which an error is told
UNKNOWN = 64  # images of each kind that the network cannot know
AT_ONCE = 16
NOISE, PARTS = 59, 61  # purposes of random numbers
SCORES = {"max_softmax": max_softmax, "energy": energy}


def probe(context: Context) -> Answer:
    """The question of this file."""
    if context.samples.labels is None:
        raise CannotRun("Without labels nobody knows how often the network is right.")
    if context.classifier.access == "labels":
        raise CannotRun("This network gives labels, no scores: it does not say how sure it is.")
    order = [row for row in context.in_random_order() if bool(answered(context.logits[row : row + 1]))]
    if len(order) < FEWEST:
        raise CannotRun(f"Of {len(order)} images with an answer, calibration is not known; {FEWEST} are few.")
    clean = context.logits[order].cpu(), context.labels[order].cpu()
    figures: dict[str, Any] = {"n": len(order), "clean": _of(*clean, context.seed)}
    figures["temperature"] = _mended(context, order)
    unknown: dict[str, Tensor] = {}
    corrupted: list[Tensor] = []
    with suppress(TimeUp):  # what is whole by then is the answer
        count = min(UNKNOWN, len(order))
        for name, images in _unknown(context, count):
            unknown[name] = torch.cat(
                [context.classifier.predict(part) for part in images.split(AT_ONCE)]
            ).cpu()
        for batch in growing(torch.tensor(order), context.first_batch):
            parts = [_corrupted(context, part, order) for part in batch.split(AT_ONCE)]
            corrupted.append(torch.cat(parts))
    figures["unknown"] = {name: _told_apart(clean[0], logits) for name, logits in unknown.items()}
    if sum(map(len, corrupted)) >= FEWEST:
        logits = torch.cat(corrupted)
        figures["corrupted"] = {"severity": SEVERITY, **_of(logits, clean[1][: len(logits)], context.seed)}
    lines = [("clean", *clean)]
    if "corrupted" in figures:
        lines.append((f"corrupted, severity {SEVERITY}", logits, clean[1][: len(logits)]))
    return Answer(
        sentence=_sentence(figures),
        how_to_read="Below the dashed line it is surer than it is right. The calibration error is the mean "
        "distance of both, estimated so that chance cancels; `binned` is the usual estimate of 15 bins, too "
        "large where images are few. Area under ROC: at 1 all that it cannot know has less of the score than "
        "all images, 0.5 is chance.",
        figures=figures,
        blocks=_blocks(figures, lines),
        summary=_lines(figures["clean"]),
    )


def _lines(clean: dict[str, Any]) -> list[Measurement]:
    surer = clean["confidence"] > clean["accuracy"]
    return [of_calibration(clean["error"], tuple(clean["interval"]), clean["n"], surer)]


def _of(logits: Tensor, labels: Tensor, seed: int) -> dict[str, Any]:
    """The figures of some images with an answer: logits (n, K), labels (n,)."""
    known = answered(logits)
    logits, labels = logits[known], labels[known]
    confidence, correct = max_softmax(logits), logits.argmax(1) == labels
    found = asdict(calibration_error(confidence, correct, seed=seed))
    return {
        "error": found["value"],
        "interval": [found["low"], found["high"]],
        "binned": found["binned"],
        "bins": found["bins"],
        "n": found["count"],
        "accuracy": float(correct.double().mean()),
        "confidence": float(confidence.mean()),
        "negative_log_likelihood": _finite(negative_log_likelihood(logits, labels)),
    }


def _mended(context: Context, rows: list[int]) -> dict[str, Any]:
    """The temperature of half of the images, by what they show, and what it does to the others.

    There is none where no image of that half is wrong: nothing then speaks against being ever surer.
    """
    keys = [context.samples.keys[row] for row in rows]
    fitted, held = ([rows[i] for i in side] for side in hold_out_share(keys, 0.5, seed=context.seed))
    logits, labels = context.logits.cpu(), context.labels.cpu()
    wrong = int((logits[fitted].argmax(1) != labels[fitted]).sum())
    if min(len(fitted), len(held)) < FEWEST // 4 or not wrong:
        reason = "it is right on all images of one half" if not wrong else "the images are too few"
        return {"value": None, "reason": reason, "fitted_on": len(fitted)}
    found = temperature(logits[fitted], labels[fitted])
    return {
        "value": found,
        "reason": None,
        "fitted_on": len(fitted),
        "before": _of(logits[held], labels[held], context.seed),
        "after": _of(logits[held] / found, labels[held], context.seed),
    }


def _corrupted(context: Context, rows: Tensor, order: list[int]) -> Tensor:
    """Logits (n, K) of some images, each under the corruption whose turn it is."""
    images = context.images[rows].clone()
    turns = torch.tensor([order.index(row) % len(NAMES) for row in rows.tolist()])
    for turn in turns.unique().tolist():
        images[turns == turn] = corrupt(images[turns == turn], NAMES[turn], SEVERITY, seed=context.seed)
    return context.classifier.predict(images).cpu()


def _unknown(context: Context, count: int) -> list[tuple[str, Tensor]]:
    """Images (n, C, H, W) of no class of the network, by what they are."""
    classifier, seed = context.classifier, context.seed
    channels, height, width = context.images.shape[1:]
    noise = [torch.rand(channels, height, width, generator=keyed(seed, NOISE, i)) for i in range(count)]
    name = "parts of photographs" if _may_know_digits(classifier) else "digits"
    data = open_data("digits" if name == "digits" else "photographs")
    pictures = []
    for i in range(count):
        draw = keyed(seed, PARTS, i)
        picture = data.read(int(torch.randint(len(data), (), generator=draw)))
        assert isinstance(picture, Image.Image)
        if name != "digits":  # a square of a quarter of the shorter side
            side = min(picture.size) // 4
            left, top = (int(torch.randint(end - side + 1, (), generator=draw)) for end in picture.size)
            picture = picture.crop((left, top, left + side, top + side))
        pictures.append(from_bytes(np.asarray(fit(picture, (height, width)))))
    others = torch.stack(pictures)
    if channels != 3:
        others = luma(others).expand(-1, channels, -1, -1)
    device = classifier.device
    return [("noise", rounded(torch.stack(noise)).to(device)), (name, rounded(others).to(device))]


def _may_know_digits(classifier: Classifier) -> bool:
    """Whether its classes may be digits: there are ten or eleven, and no names that say otherwise."""
    names = classifier.class_names
    return classifier.num_classes in (10, 11) and (
        names is None or any(name in "0123456789" for name in names)
    )


def _told_apart(known: Tensor, unknown: Tensor) -> dict[str, Any]:
    """The areas under ROC of each score, of logits (n, K) and (m, K) with an answer."""
    unknown = unknown[answered(unknown)]
    found: dict[str, Any] = {"n": len(unknown)}
    for name, score in SCORES.items():
        area, low, high = roc_area(score(known), score(unknown)) if len(unknown) > 1 else (None, None, None)
        found[name] = {"area": area, "interval": None if area is None else [low, high]}
    return found


# What is shown -----------------------------------------------------------------------------------


def _sentence(figures: dict[str, Any]) -> str:
    clean, mended = figures["clean"], figures["temperature"]
    low, high = clean["interval"]
    sentence = (
        f"It is {in_percent(clean['confidence'])} sure and right on {in_percent(clean['accuracy'])} of "
        f"n = {clean['n']} images; its calibration error is {clean['error']:.1%} ({low:.1%} to {high:.1%})"
    )
    if "corrupted" in figures:
        found = figures["corrupted"]
        sentence += f", under corruption {found['error']:.1%} (n = {found['n']})"
    if mended["value"] is None:
        return f"{sentence}. No temperature is known: {mended['reason']}."
    before, after = (mended[when]["error"] for when in ("before", "after"))
    return (
        f"{sentence}. A temperature of {mended['value']:.3g} changes it from {before:.1%} to {after:.1%} on "
        f"{mended['after']['n']} other images."
    )


def _blocks(figures: dict[str, Any], lines: list[tuple[str, Tensor, Tensor]]) -> list[Block]:
    """The error, the reliability diagram, and the figures in rows."""
    clean = figures["clean"]
    ideal = [Point(x=x, y=x) for x in (0.0, 1.0)]
    series = [Series(name="calibrated", style="noise", points=ideal)]
    for place, (name, logits, labels) in enumerate(lines):
        known = answered(logits)
        points = []
        for one in reliability(max_softmax(logits[known]), (logits.argmax(1) == labels)[known], bins=10):
            low, high = wilson(round(one.accuracy * one.count), one.count)
            points.append(Point(x=one.confidence, y=one.accuracy, low=low, high=high))
        series.append(Series(name=name, style="other" if place else "attack", points=points))
    rows: list[list[Any]] = []
    shown = {"clean": clean, f"corrupted, severity {SEVERITY}": figures.get("corrupted")}
    mended = figures["temperature"]
    if mended["value"] is not None:
        shown["half of the clean ones"] = mended["before"]
        shown[f"the same, temperature {mended['value']:.3g}"] = mended["after"]
    for name, found in shown.items():
        if found is not None:
            cells = ("confidence", "accuracy", "error", "binned", "negative_log_likelihood", "n")
            rows.append([name, *(found[cell] for cell in cells)])
    unknown = [
        [name, found["max_softmax"]["area"], found["energy"]["area"], found["n"]]
        for name, found in figures["unknown"].items()
    ]
    columns = ["images", "confidence", "accuracy", "error", "binned", "log loss", "n"]
    return [
        Number(
            label="calibration error", value=clean["error"], interval=tuple(clean["interval"]), n=clean["n"]
        ),
        Curve(x_label="confidence", y_label="accuracy", series=series),
        Table(columns=columns, rows=rows),
        Table(columns=["told from the images", "by largest probability", "by energy", "n"], rows=unknown),
    ]


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
