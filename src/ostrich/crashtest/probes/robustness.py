"""How accurate is the network against an adversary, as the budget grows?

PGD over a sweep of budgets, first on cross-entropy, which shares a budget among all other classes, then,
on what stands, on the margin, which spends it on one. An image broken at one budget is broken at every
larger one, so it is attacked no further; the curve falls by construction, and every point of it is a set
of files. Where an image stands because its gradient was of no use, or there is none, one attack by labels
alone finds the smallest change, which tells of every budget: RayS under Linf, HopSkipJump under L2, on as
many images as there is time for.

When all probes are done, `with_worst_case` brings the curve to what all attacks of the check left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import L2, PGD, HopSkipJump, Linf, RayS, Untargeted
from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.threats import Unbounded
from ostrich.crashtest.answer import Answer, ProbeAnswer, RobustAccuracy
from ostrich.crashtest.blocks import Block, Curve, Pair, Pairs, Point, Series
from ostrich.crashtest.context import CannotRun, Context, budget_text, sweep
from ostrich.crashtest.outcomes import CLOSE, broken_within
from ostrich.crashtest.plan import Cost
from ostrich.statistics import wilson

TITLE = "Robust accuracy"
STEPS, MARGIN_STEPS = 40, 20  # on cross-entropy; on the margin of what stands then
QUERIES = 1000  # of an attack without gradients
# Forwards are estimated: most budgets either break an image in a few steps or are small. Of gradients at most
# about two budgets per norm spend all their steps.
COST = Cost(forwards=30, gradients=2.0 * (STEPS + MARGIN_STEPS))
SHOWN = 6  # pairs
LEAST = "least that any attack left"


def probe(context: Context) -> Answer:
    """The question of this file."""
    rows = torch.tensor(context.rows("robustness"))
    right = rows[context.correct.cpu()[rows]]
    if not len(right):
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    figures: dict[str, Any] = {"n": len(rows), "clean": len(right) / len(rows), "steps": STEPS}
    blocks: list[Block] = []
    gallery: list[Pair] = []
    for norm in ("linf", "l2"):
        points, broken = _curve(context, norm, rows, right)
        figures[norm] = [point.model_dump() for point in points]
        blocks.append(_block(context, norm, points))
        gallery = gallery or broken
    if gallery:
        blocks.append(Pairs(items=gallery[:SHOWN]))
    linf = figures["linf"]
    first = linf[_halving([point["y"] for point in linf], figures["clean"])]
    by = "PGD" if context.classifier.access == "gradient" else "attacks without gradients"
    return Answer(
        sentence=f"Against {by} with {first['label']} per value, it is right on {first['y']:.0%} of images "
        f"({figures['clean']:.0%} without an attack).",
        how_to_read="The lower the line, the weaker the network; the band is the 95 % interval; dashed: "
        "random noise of the same size.",
        figures=figures,
        blocks=blocks,
        rows=rows.tolist(),
        budgets=[(norm, p["x"]) for norm in ("linf", "l2") for p in figures.get(norm, ()) if p["x"] > 0],
    )


def with_worst_case(answer: ProbeAnswer, robust: Sequence[RobustAccuracy]) -> ProbeAnswer:
    """The probe's answer once all figures are known: each point is the least that any attack left."""
    known = {(one["norm"], one["eps"]): one for one in robust}
    figures, blocks = dict(answer.figures), list(answer.blocks)
    for place, norm in enumerate(norm for norm in ("linf", "l2") if norm in figures):
        points = []
        for point in figures[norm]:
            found = known.get((norm, point["x"]))
            if found is not None:
                point = point | {"y": found["robust_accuracy"], "low": found["low"], "high": found["high"]}
                point |= {name: found[name] for name in ("measured_by", "n", "bound", "reason")}
            points.append(point)
        block = blocks[place]
        assert isinstance(block, Curve)
        series = [one for one in block.series if one.name != LEAST]
        if [p["y"] for p in points] != [p.y for p in series[0].points]:
            plain = [Point(**{name: point[name] for name in Point.model_fields}) for point in points]
            series = [Series(name=LEAST, style="attack", points=plain), *series]
        blocks[place] = block.model_copy(update={"series": series})
        figures[norm] = points
    sentence = headline(robust, figures["clean"])
    return answer.model_copy(update={"figures": figures, "blocks": blocks, "sentence": sentence})


def headline(robust: Sequence[RobustAccuracy], clean: float | None = None) -> str:
    """One sentence: the worst case at the smallest Linf budget that halves it, first whether it is known."""
    points = [one for one in robust if one["norm"] == "linf"] or list(robust)
    accuracies = [one["robust_accuracy"] for one in points]
    one = points[_halving(accuracies, 1.0 if clean is None else clean)]
    text = budget_text(one["norm"], one["eps"])
    what = "per value" if one["norm"] == "linf" else "of L2 length"
    share = f"{one['robust_accuracy']:.0%} of n = {one['n']} images"
    beside = "" if clean is None else f" ({clean:.0%} without an attack)"
    if one["bound"] is None:
        return (
            f"Robust accuracy is not known: {one['reason']}. With {text} {what} it is right on at most "
            f"{share}{beside}."
        )
    names = one["measured_by"]
    by = names[0].upper() if len(names) == 1 else f"the worst of {len(names)} attacks"
    return f"Against {by} with {text} {what}, it is right on {share}{beside}."


def _halving(accuracies: Sequence[float], clean: float) -> int:
    """The first place at which accuracy is at most half of what it was, else the last."""
    return next((i for i, y in enumerate(accuracies) if y <= clean / 2), len(accuracies) - 1)


def _curve(context: Context, norm: str, rows: Tensor, right: Tensor) -> tuple[list[Point], list[Pair]]:
    """The points of one norm's curve, and the first broken images as pairs."""
    standing, points = right, [_point(0.0, "0", len(right), len(rows))]
    pairs: list[Pair] = []
    for eps in sweep(context, norm):
        text = budget_text(norm, eps)
        for method in _attacks(context, norm, eps):
            tried = standing if isinstance(method, PGD) else _by_labels(context, norm, standing)
            if not len(tried):
                continue
            result = context.attack(method, tried, Untargeted(context.labels[tried]))
            broken = result.success.cpu() & (result.distance.cpu().double() <= eps * (1 + CLOSE))
            if norm == "linf":
                for i in torch.nonzero(broken)[: max(0, SHOWN - len(pairs)), 0].tolist():
                    name = f"broken-{norm}-{context.samples.index[int(tried[i])]}"
                    pairs.append(context.comparison(name, result.originals[i], result.images[i], text, eps))
            standing = _unbroken(context, norm, eps, standing)
        standing = _unbroken(context, norm, eps, standing)
        points.append(_point(eps, text, len(standing), len(rows)))
    return points, pairs


def _unbroken(context: Context, norm: str, eps: float, standing: Tensor) -> Tensor:
    """Those of some images that no attack of the check so far broke within a budget."""
    fallen = broken_within(context.outcomes, norm, eps)
    return torch.tensor([row for row in standing.tolist() if row not in fallen], dtype=standing.dtype)


def _attacks(context: Context, norm: str, eps: float) -> list[InputSpecificAttack]:
    """What is tried at a budget, in turn: by gradients, then by labels on images without slope."""
    threat = Linf(eps) if norm == "linf" else L2(eps)
    rays = RayS(threat=Unbounded("linf"), queries=QUERIES)
    by_labels = rays if norm == "linf" else HopSkipJump(queries=QUERIES)
    if context.classifier.access != "gradient":
        return [by_labels]
    margin = PGD(threat=threat, steps=MARGIN_STEPS, loss="margin")
    return [PGD(threat=threat, steps=STEPS), margin, by_labels]


def _by_labels(context: Context, norm: str, standing: Tensor) -> Tensor:
    """The images without slope that no attack by labels has been tried on, as many as there is time for."""
    done = {
        row for one in context.outcomes if one["norm"] == norm and one["eps"] is None for row in one["rows"]
    }
    if done:  # once tells of every budget
        return standing[:0]
    return context.without_gradient(standing)[: context.images_within_time(QUERIES)]


def _point(eps: float, text: str, kept: int, count: int) -> Point:
    low, high = wilson(kept, count)
    return Point(x=eps, y=kept / count, low=low, high=high, label=text)


def _block(context: Context, norm: str, points: list[Point]) -> Curve:
    label = "largest change of a value" if norm == "linf" else "L2 length of the change"
    name = f"PGD, {STEPS} steps" if context.classifier.access == "gradient" else "without gradients"
    series = [Series(name=name, style="attack", points=points)]
    noise = context.earlier("noise")
    if noise:
        curves = (block for block in noise.blocks if isinstance(block, Curve))
        known = next(block.series[0] for block in curves if f"({norm})" in block.x_label)
        series.append(known.model_copy(update={"name": "random noise"}))
    return Curve(x_label=f"{label} ({norm})", y_label="accuracy", series=series)
