"""Between which two figures does robust accuracy lie, and how much of it is not known?

Linear bounds backward through the network (alpha-CROWN, `certification/linear.py`) show for each image the
largest budget of the sweep within which no change at all can mislead the network. What they verify is a lower
bound of robust accuracy; what the attacks of the check leave on the same images is an upper bound; between
the two lies what is not known. Bounds of large networks are dear, and so wide that they say nothing: unless
asked for, they are computed for small ones alone.

An image that is both verified and broken is a fault of ours, or of floating point. It counts as not verified,
the page begins with it, its pictures are kept, and no gate on a certified accuracy passes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from ostrich.attacks import PGD, AutoAttack, Untargeted
from ostrich.certification.graph import graph_of
from ostrich.certification.methods import Intervals, Linear
from ostrich.certification.nodes import Graph
from ostrich.crashtest.answer import Answer, AttackOutcome, ProbeAnswer
from ostrich.crashtest.blocks import Block, Curve, Pair, Pairs, Point, Series
from ostrich.crashtest.context import (
    THREATS,
    CannotRun,
    Context,
    budget_text,
    certified_name,
    check_gradient,
    growing,
    sweep,
)
from ostrich.crashtest.outcomes import broken_within, robust_accuracy
from ostrich.crashtest.plan import ANYTIME
from ostrich.crashtest.probes.robustness import attack_batch, of_unit
from ostrich.crashtest.summary import lower_bound
from ostrich.errors import InputError
from ostrich.figures.words import in_percent, several
from ostrich.models.untouched import untouched
from ostrich.runtime.deadline import TimeUp, check_time, time_left
from ostrich.statistics import wilson

TITLE = "Bounds from both sides"
COST = ANYTIME
NORMS = ("linf", "l2")
RECTIFIERS = 20_000  # outputs of rectifiers: the largest network whose bounds are computed unasked
METHOD = "linear bounds"
NOT_KNOWN = "not known"


def probe(context: Context) -> Answer:
    """The question of this file."""
    check_gradient(context.classifier, "bounds need its layers")
    if context.classifier.draws > 1:
        raise CannotRun("Its answers are random: bounds are those of a function.")
    if not context.correct.any():
        raise CannotRun("The network gets none of these images right, so there is nothing to verify.")
    with untouched(context.classifier.network):
        graph = _graph(context)
        known = context.earlier("robustness")
        order = context.in_random_order()
        rows = order if known is None else [row for row in order if row in set(known.rows)]
        search = _Search(context, graph)
        with suppress(TimeUp):  # what is whole by then is the answer
            for batch in growing(torch.tensor(rows), context.first_batch):
                if known is None:
                    for norm in NORMS:
                        attack_batch(context, norm, batch)
                search.take(batch.tolist())
    if not search.rows:
        raise TimeUp
    asked = sorted(search.rows)
    budgets = {norm: sweep(context, norm) for norm in NORMS}
    return Answer(
        sentence="",
        how_to_read="Below the lower line no change within the budget can mislead the network, whoever "
        "searches for it; above the upper line an attack did. What of the band between would fall to a "
        "better attack, and what would stand, is not known.",
        figures={
            "n": len(asked),
            "clean": int(context.correct[asked].sum()) / len(asked),
            "method": METHOD,
            "seconds_per_image": search.seconds / len(search.rows),
            "budgets": budgets,
            "largest": {norm: {str(r): eps for r, eps in search.largest[norm].items()} for norm in NORMS},
        },
        blocks=[],
        rows=asked,
        budgets=[] if known else [(norm, eps) for norm in NORMS for eps in budgets[norm]],
    )


def _graph(context: Context) -> Graph:
    try:
        graph = graph_of(context.classifier, tuple(context.images.shape[1:]))
    except InputError as error:
        raise CannotRun(str(error)) from None
    units = sum(torch.Size(graph.nodes[place].shape).numel() for place in graph.relus)
    if units > RECTIFIERS and "bounds" not in context.asked_for:
        raise CannotRun(
            f"It has {units:,} rectifiers: bounds of more than {RECTIFIERS:,} are dear, and so wide that "
            "they say little. Asked for by name they are computed all the same."
        )
    return graph


class _Search:
    """The largest budget within which each image is verified, by norm; images that are wrong have none."""

    def __init__(self, context: Context, graph: Graph) -> None:
        self.context, self.graph = context, graph
        self.largest: dict[str, dict[int, float]] = {norm: {} for norm in NORMS}
        self.rows: list[int] = []
        self.seconds = 0.0

    def take(self, rows: Sequence[int]) -> None:
        """Verify some images, by their places. Raises TimeUp, and where the next would take too long."""
        slowest = 0.0
        for row in rows:
            if slowest > time_left():
                raise TimeUp
            started = time.perf_counter()
            found = {norm: self._verified(norm, row) for norm in NORMS} if self.context.correct[row] else {}
            for norm, eps in found.items():
                if eps:
                    self.largest[norm][row] = eps
            self.rows.append(row)
            spent = time.perf_counter() - started
            slowest = max(slowest, spent)
            self.seconds += spent
            self.context.progress(len(self.rows), len(self.context.samples))

    def _verified(self, norm: Any, row: int) -> float:
        """The largest budget, 0 if none: by intervals from above, as they are cheap, then upward."""
        image, label = self.context.images[row], int(self.context.labels[row])
        place, budgets = 0, sweep(self.context, norm)

        def holds(kind: type[Intervals] | type[Linear], eps: float) -> bool:
            check_time()
            return kind(norm=norm, eps=eps).verify(self.graph, image, label, row, 0).verdict == "verified"

        for count in range(len(budgets), 0, -1):
            if holds(Intervals, budgets[count - 1]):
                place = count
                break
        while place < len(budgets) and holds(Linear, budgets[place]):
            place += 1
        return budgets[place - 1] if place else 0.0


def completed(context: Context, answer: ProbeAnswer, outcomes: Sequence[AttackOutcome]) -> ProbeAnswer:
    """The probe's answer once all attacks are known: both sides at each budget, and what contradicts."""
    figures = {k: v for k, v in answer.figures.items() if k not in NORMS}
    rows, correct = answer.rows, context.correct.tolist()
    right = [correct[row] for row in rows]
    largest = {
        norm: {int(row): eps for row, eps in answer.figures["largest"][norm].items()} for norm in NORMS
    }
    context.saved = list(answer.files)
    both = [
        _contradiction(context, outcomes, norm, row, eps)
        for norm in NORMS
        for row, eps in largest[norm].items()
        if row in broken_within(outcomes, norm, eps)
    ]
    for norm, row in {(one["norm"], one["place"]) for one, _ in both}:
        del largest[norm][row]
    blocks: list[Block] = [Pairs(items=found)] if (found := [pair for _, pair in both if pair]) else []
    lines = []
    for norm in NORMS:
        points: list[dict[str, Any]] = []
        for eps in figures["budgets"][norm]:
            verified = sum(known >= eps for known in largest[norm].values())
            low, high = wilson(verified, len(rows))
            one = robust_accuracy(norm, eps, rows, right, outcomes)
            point = {"x": eps, "y": verified / len(rows), "low": low, "high": high}
            point |= {"label": budget_text(norm, eps), "attacked": one["robust_accuracy"]}
            points.append(point | {"attacked_low": one["low"], "attacked_high": one["high"]})
            if verified or eps in context.certified.get(norm, []) or eps == figures["budgets"][norm][0]:
                name = certified_name(norm, eps)
                lines.append(lower_bound(name, verified, len(rows), figures["clean"], one, [METHOD]))
        figures[norm] = points
        blocks.append(_block(norm, points, figures["clean"]))
    figures["both_verified_and_broken"] = [one for one, _ in both]
    return answer.model_copy(
        update={
            "figures": figures,
            "blocks": blocks,
            "summary": lines,
            "sentence": " ".join([*([fault(figures)] if both else []), _sentence(context, figures)]),
            "files": answer.files | dict.fromkeys(context.saved),
        }
    )


def fault(figures: dict[str, Any]) -> str:
    """What is said first where images are both verified and broken."""
    found = figures["both_verified_and_broken"]
    which = ", ".join(sorted({f"{one['index']}" for one in found})[:6])
    count = len({one["index"] for one in found})
    return (
        f"A fault of the bounds, or of floating point: {count} {'image is' if count == 1 else 'images are'} "
        f"both verified and broken (index {which}). They count as not verified, and no certified accuracy of "
        "this run is to be trusted."
    )


def _contradiction(
    context: Context, outcomes: Sequence[AttackOutcome], norm: str, row: int, eps: float
) -> tuple[dict[str, Any], Pair | None]:
    """What broke an image within the budget in which it is verified, and its pictures, found again."""
    found = [
        (one["broken"][str(row)], one["attack"])
        for one in outcomes
        if str(row) in one["broken"] and one["norm"] == norm
    ]
    distance, attack = min(found)
    pair = _again(context, norm, row, eps)
    return {
        "place": row,
        "index": context.samples.index[row],
        "file": context.samples.files[row],
        "norm": norm,
        "verified": eps,
        "broken": distance,
        "attack": attack,
        "adversarial_file": None if pair is None else pair.adversarial,
    }, pair


def _again(context: Context, norm: str, row: int, eps: float) -> Pair | None:
    """The pictures of an image that was broken within a budget: attacked again, by PGD and then by more."""
    threat, image = THREATS[norm](eps), context.images[row : row + 1]
    goal = Untargeted(context.labels[row : row + 1])
    for method in (
        PGD(threat=threat),
        PGD(threat=threat, loss="margin"),
        AutoAttack(threat=threat, preset="fast"),
    ):
        result = context.attack_images(method, image, goal)
        if result.success[0]:
            name = f"verified-and-broken-{norm}-{context.samples.index[row]}"
            text = budget_text(norm, eps)
            return context.comparison(name, image[0], result.images[0], text, eps)
    return None


def _block(norm: str, points: list[dict[str, Any]], clean: float) -> Curve:
    """Both lines from the clean accuracy on, and the band between."""
    start = {"x": 0.0, "y": clean, "label": "0"}
    lower = [{name: point[name] for name in Point.model_fields} for point in points]
    upper = [
        {**one, "y": point["attacked"], "low": point["attacked_low"], "high": point["attacked_high"]}
        for one, point in zip(lower, points, strict=True)
    ]
    label = "largest change of a value" if norm == "linf" else "L2 length of the change"
    return Curve(
        x_label=f"{label} ({norm})",
        y_label="accuracy",
        series=[
            Series(name="verified: at least", style="noise", points=[Point(**p) for p in (start, *lower)]),
            Series(name="attacked: at most", style="attack", points=[Point(**p) for p in (start, *upper)]),
        ],
        between=NOT_KNOWN,
    )


def _sentence(context: Context, figures: dict[str, Any]) -> str:
    """Both sides at one budget: that of a gate, else the largest under Linf with half of it verified."""
    norm, point = _told(context, figures)
    least, most, clean = (in_percent(share) for share in (point["y"], point["attacked"], figures["clean"]))
    return (
        f"With {point['label']} {of_unit(norm)}, it is right on at least {least} and at most {most} of "
        f"{several(figures['n'], 'image')} ({clean} without an attack); on "
        f"{in_percent(point['attacked'] - point['y'])} it is not known."
    )


def _told(context: Context, figures: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for norm in NORMS:
        for point in figures[norm]:
            if point["x"] in context.certified.get(norm, []):
                return norm, point
    half = [point for point in figures["linf"] if point["y"] >= figures["clean"] / 2]
    return "linf", (half or figures["linf"][:1])[-1]
