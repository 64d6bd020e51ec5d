"""How accurate is the network against an adversary, as the budget grows?

PGD on cross-entropy, which shares a budget among all other classes, and on what stands then on the margin,
which spends it on one. Each image's budget is searched by bisection over a sweep: what is broken at a budget
is broken at every larger one, and what stands stands at every smaller one. So the curve falls by itself, and
each point of it is a set of files. Images come in random order, a few at first: there is a figure after
seconds, of ever more images until the time of the probe is over. Where an image stands because its gradient
was of no use, or there is none, one attack by labels alone finds the smallest change, which tells of every
budget: RayS under Linf, HopSkipJump under L2, on as many images as there is time for.

When all probes are done, `completed` brings the curve to what all attacks of the check left, and shows random
noise beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import PGD, HopSkipJump, RayS, Untargeted
from ostrich.attacks.engine.result import Result
from ostrich.attacks.threats import Unbounded
from ostrich.crashtest.answer import Answer, ProbeAnswer, RobustAccuracy
from ostrich.crashtest.blocks import Block, Curve, Pair, Pairs, Point, Series
from ostrich.crashtest.context import THREATS, CannotRun, Context, budget_text, growing, sweep
from ostrich.crashtest.outcomes import broken_within
from ostrich.crashtest.plan import ANYTIME
from ostrich.figures.words import in_percent, several
from ostrich.runtime.deadline import TimeUp
from ostrich.statistics import wilson

TITLE = "Robust accuracy"
NORMS = ("linf", "l2")
STEPS, MARGIN_STEPS = 40, 20  # on cross-entropy; on the margin, of what stands then
QUERIES = 1000  # of an attack without gradients
COST = ANYTIME
SHOWN = 6  # pairs
LEAST = "least that any attack left"
NOISE = "random noise"


def probe(context: Context) -> Answer:
    """The question of this file."""
    if not context.correct.any():
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    done: dict[str, list[int]] = {norm: [] for norm in NORMS}
    gallery = _Gallery(context)
    with suppress(TimeUp):  # what is whole by then is the answer
        for batch in growing(torch.tensor(context.in_random_order()), context.first_batch):
            for norm in NORMS:
                attack_batch(context, norm, batch, gallery)
                done[norm] += batch.tolist()
    rows = sorted(done["l2"] or done["linf"])
    whole = [norm for norm in NORMS if done[norm]]
    if not rows:
        raise TimeUp
    correct = context.correct.tolist()
    right = [row for row in rows if correct[row]]
    figures: dict[str, Any] = {"n": len(rows), "clean": len(right) / len(rows), "steps": STEPS}
    blocks: list[Block] = []
    for norm in whole:
        points = _points(context, norm, right, len(rows))
        figures[norm] = [point.model_dump() for point in points]
        blocks.append(_block(context, norm, points))
    if gallery.kept:
        blocks.append(Pairs(items=gallery.pairs()))
    linf = figures["linf"]
    first = linf[_halving([point["y"] for point in linf], figures["clean"])]
    by = "PGD" if context.attacked.access == "gradient" else "attacks without gradients"
    return Answer(
        sentence=f"Against {by} with {first['label']} per value, it is right on "
        f"{in_percent(first['y'])} of images ({in_percent(figures['clean'])} without an attack).",
        how_to_read="The lower the line, the weaker the network; the band is the 95 % interval; dashed: "
        "random noise of the same size.",
        figures=figures,
        blocks=blocks,
        rows=rows,
        budgets=[(norm, p["x"]) for norm in whole for p in figures[norm] if p["x"] > 0],
    )


def completed(
    answer: ProbeAnswer, robust: Sequence[RobustAccuracy], noise: ProbeAnswer | None = None
) -> ProbeAnswer:
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
        series = [one for one in block.series if one.name not in (LEAST, NOISE)]
        if [p["y"] for p in points] != [p.y for p in series[0].points]:
            plain = [Point(**{name: point[name] for name in Point.model_fields}) for point in points]
            series = [Series(name=LEAST, style="attack", points=plain), *series]
        series += _noise(noise, norm)
        blocks[place] = block.model_copy(update={"series": series})
        figures[norm] = points
    sentence = headline(robust, figures["clean"])
    return answer.model_copy(update={"figures": figures, "blocks": blocks, "sentence": sentence})


def headline(robust: Sequence[RobustAccuracy], clean: float | None = None) -> str:
    """One sentence: the worst case with its interval at `headline_point`, first whether it is known."""
    one = headline_point(robust, clean)
    text = budget_text(one["norm"], one["eps"])
    what = of_unit(one["norm"])
    share, low, high = (in_percent(one[part]) for part in ("robust_accuracy", "low", "high"))
    share += f" ({low} to {high}, n = {several(one['n'], 'image')})"
    beside = "" if clean is None else f"; without an attack on {in_percent(clean)}"
    if one["bound"] is None:
        return (
            f"Robust accuracy is not known: {one['reason']}. With {text} {what} it is right on at most "
            f"{share}{beside}."
        )
    names = one["measured_by"]
    by = names[0].upper() if len(names) == 1 else f"the worst of {len(names)} attacks"
    return f"Against {by} with {text} {what}, it is right on {share}{beside}."


def of_unit(norm: str) -> str:
    """What a budget is of, as a sentence says it."""
    return "per value" if norm == "linf" else "of L2 length"


def headline_point(robust: Sequence[RobustAccuracy], clean: float | None = None) -> RobustAccuracy:
    """The figure to remember: at the smallest Linf budget that halves the clean accuracy, else the last."""
    points = [one for one in robust if one["norm"] == "linf"] or list(robust)
    return points[_halving([one["robust_accuracy"] for one in points], 1.0 if clean is None else clean)]


def _halving(accuracies: Sequence[float], clean: float) -> int:
    """The first place at which accuracy is at most half of what it was, else the last."""
    return next((i for i, y in enumerate(accuracies) if y <= clean / 2), len(accuracies) - 1)


class _Gallery:
    """The first images that broke under Linf, each at the smallest budget that broke it."""

    def __init__(self, context: Context) -> None:
        self.context, self.kept = context, dict[int, tuple[float, Tensor, Tensor]]()

    def keep(self, rows: Tensor, result: Result, eps: float | None = None) -> None:
        """Images at `rows` (n,) that were attacked; without a budget their distance is it."""
        for i in torch.nonzero(result.success)[:, 0].tolist():
            row, value = int(rows[i]), float(result.distance[i]) if eps is None else eps
            if row in self.kept or len(self.kept) < SHOWN:
                self.kept[row] = (value, result.originals[i], result.images[i])

    def pairs(self) -> list[Pair]:
        """Each before and after."""
        index, show = self.context.samples.index, self.context.comparison
        self.context.ask(torch.stack([after for _, _, after in self.kept.values()]))
        return [
            show(f"broken-linf-{index[row]}", before, after, budget_text("linf", eps), eps)
            for row, (eps, before, after) in self.kept.items()
        ]


def attack_batch(context: Context, norm: str, rows: Tensor, gallery: _Gallery | None = None) -> None:
    """Search the smallest budget of the sweep that breaks each image; what came of it are outcomes."""
    gallery = gallery or _Gallery(context)
    right = rows[context.correct.cpu()[rows]]
    if context.attacked.access == "gradient":
        budgets = sweep(context, norm)
        _bisect(context, norm, budgets, right, gallery, _usual(context, norm, budgets))
    blind = context.without_gradient(right)[: context.images_within_time(QUERIES)]
    if len(blind):
        method = (
            RayS(threat=Unbounded("linf"), queries=QUERIES)
            if norm == "linf"
            else HopSkipJump(queries=QUERIES)
        )
        result = context.attack(method, blind, Untargeted(context.labels[blind]))
        if norm == "linf":
            gallery.keep(blind, result)


def _usual(context: Context, norm: str, budgets: list[float]) -> int:
    """The place of the budget that breaks the median image so far; the middle one where none did."""
    places = [len(broken_within(context.outcomes, norm, eps)) for eps in budgets]
    return next((i for i, count in enumerate(places) if 2 * count >= max(1, places[-1])), len(budgets) // 2)


def _bisect(
    context: Context,
    norm: str,
    budgets: list[float],
    rows: Tensor,
    gallery: _Gallery,
    first: int | None = None,
) -> None:
    """The middle one of the budgets, or the `first`; then smaller ones for what it broke, or larger ones."""
    known = broken_within(context.outcomes, norm, budgets[0]) if budgets else set()
    rows = torch.tensor([row for row in rows.tolist() if row not in known], dtype=rows.dtype)
    if not (len(rows) and budgets):
        return
    middle = len(budgets) // 2 if first is None else first
    eps = budgets[middle]
    threat, standing = THREATS[norm](eps), rows
    for method in (
        PGD(threat=threat, steps=STEPS, loss="ce"),
        PGD(threat=threat, steps=MARGIN_STEPS, loss="margin"),
    ):
        if len(standing):
            result = context.attack(method, standing, Untargeted(context.labels[standing]))
            if norm == "linf":
                gallery.keep(standing, result, eps)
            standing = standing[~result.success.cpu()]
    stands = set(standing.tolist())
    broken = torch.tensor([row for row in rows.tolist() if row not in stands], dtype=rows.dtype)
    _bisect(context, norm, budgets[:middle], broken, gallery)
    _bisect(context, norm, budgets[middle + 1 :], standing, gallery)


def _points(context: Context, norm: str, right: list[int], count: int) -> list[Point]:
    """The points of one norm's curve: of `count` images those in `right` are right without an attack."""
    points = [_point(0.0, "0", len(right), count)]
    for eps in sweep(context, norm):
        standing = set(right) - broken_within(context.outcomes, norm, eps)
        points.append(_point(eps, budget_text(norm, eps), len(standing), count))
    return points


def _point(eps: float, text: str, kept: int, count: int) -> Point:
    low, high = wilson(kept, count)
    return Point(x=eps, y=kept / count, low=low, high=high, label=text)


def _block(context: Context, norm: str, points: list[Point]) -> Curve:
    label = "largest change of a value" if norm == "linf" else "L2 length of the change"
    name = f"PGD, {STEPS} steps" if context.attacked.access == "gradient" else "without gradients"
    series = [Series(name=name, style="attack", points=points)]
    return Curve(x_label=f"{label} ({norm})", y_label="accuracy", series=series)


def _noise(answer: ProbeAnswer | None, norm: str) -> list[Series]:
    """The curve of random noise of that norm, where it is known."""
    curves = [] if answer is None else [block for block in answer.blocks if isinstance(block, Curve)]
    return [
        curve.series[0].model_copy(update={"name": NOISE}) for curve in curves if f"({norm})" in curve.x_label
    ]
