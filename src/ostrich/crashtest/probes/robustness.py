"""How accurate is the network against an adversary, as the budget grows?

PGD over a sweep of budgets. An image broken at one budget is broken at every larger one, so it is
attacked no further; the curve falls by construction, and every point of it is a set of files. Where an
image stands because its gradient was of no use, or there is none, one attack by labels alone finds the
smallest change, which tells of every budget: RayS under Linf, HopSkipJump under L2, on as many images as
there is time for.

When all probes are done, `settled` brings the curve to what all attacks of the check left (`outcomes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import L2, PGD, HopSkipJump, Linf, RayS, Untargeted
from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.threats import Unbounded
from ostrich.crashtest.context import Answer, CannotRun, Context, budget_text, sweep
from ostrich.crashtest.outcomes import CLOSE, broken_within
from ostrich.statistics import wilson

TITLE = "Robust accuracy"
STEPS = 40
QUERIES = 1000  # of an attack without gradients
FORWARDS = 30.0  # per image, estimated: most budgets either break an image in a few steps or are small
GRADIENTS = 2.0 * STEPS  # per image, at most about two budgets per norm spend all their steps
SHOWN = 6  # pairs
LEAST = "least that any attack left"


def probe(context: Context) -> Answer:
    """The question of this file."""
    rows = torch.tensor(context.rows("robustness"))
    right = rows[context.correct.cpu()[rows]]
    if not len(right):
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    figures: dict[str, Any] = {"n": len(rows), "clean": len(right) / len(rows), "steps": STEPS}
    blocks: list[dict[str, Any]] = []
    gallery: list[dict[str, Any]] = []
    for norm in ("linf", "l2"):
        points, broken = _curve(context, norm, rows, right)
        figures[norm] = points
        blocks.append(_block(context, norm, points))
        gallery = gallery or broken
    blocks.append({"kind": "pairs", "items": gallery[:SHOWN]})
    first = _telling(figures["linf"], figures["clean"])
    by = "PGD" if context.classifier.access == "gradient" else "attacks without gradients"
    return Answer(
        sentence=f"Against {by} with {first['label']} per value, it is right on {first['y']:.0%} of images "
        f"({figures['clean']:.0%} without an attack).",
        how_to_read="The lower the line, the weaker the network; the band is the 95 % interval; dashed: "
        "random noise of the same size.",
        figures=figures,
        blocks=[b for b in blocks if b.get("items") or b.get("series")],
        rows=rows.tolist(),
        budgets=[(norm, p["x"]) for norm in ("linf", "l2") for p in figures.get(norm, ()) if p["x"] > 0],
    )


def settled(answer: dict[str, Any], robust: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The probe's answer once all figures are known: each point is the least that any attack left."""
    known = {(one["norm"], one["eps"]): one for one in robust}
    figures, blocks = dict(answer["figures"]), list(answer["blocks"])
    for place, norm in enumerate(norm for norm in ("linf", "l2") if norm in figures):
        points = []
        for point in figures[norm]:
            found = known.get((norm, point["x"]))
            if found is not None:
                point = point | {"y": found["robust_accuracy"], "low": found["low"], "high": found["high"]}
                point |= {name: found[name] for name in ("measured_by", "n", "bound", "reason")}
            points.append(point)
        series = [one for one in blocks[place]["series"] if one["name"] != LEAST]
        if [p["y"] for p in points] != [p["y"] for p in series[0]["points"]]:
            plain = [{k: p[k] for k in ("x", "y", "low", "high", "label")} for p in points]
            series = [{"name": LEAST, "style": "attack", "points": plain}, *series]
        blocks[place] = blocks[place] | {"series": series}
        figures[norm] = points
    return answer | {"figures": figures, "blocks": blocks, "sentence": headline(robust, figures["clean"])}


def headline(robust: Sequence[Mapping[str, Any]], clean: float | None = None) -> str:
    """One sentence: the worst case at the smallest Linf budget that halves it, first whether it is known."""
    points = [{**one, "y": one["robust_accuracy"]} for one in robust if one["norm"] == "linf"]
    if not points:
        points = [{**one, "y": one["robust_accuracy"]} for one in robust]
    one = _telling(points, 1.0 if clean is None else clean)
    text = budget_text(one["norm"], one["eps"])
    what = "per value" if one["norm"] == "linf" else "of L2 length"
    share = f"{one['y']:.0%} of n = {one['n']} images"
    beside = "" if clean is None else f" ({clean:.0%} without an attack)"
    if one["bound"] is None:
        return (
            f"Robust accuracy is not known: {one['reason']}. With {text} {what} it is right on at most "
            f"{share}{beside}."
        )
    names = one["measured_by"]
    by = names[0].upper() if len(names) == 1 else f"the worst of {len(names)} attacks"
    return f"Against {by} with {text} {what}, it is right on {share}{beside}."


def _telling(points: Sequence[Mapping[str, Any]], clean: float) -> Mapping[str, Any]:
    """The first point at which accuracy is at most half of what it was, else the last."""
    return next((p for p in points if p["y"] <= clean / 2), points[-1])


def _curve(
    context: Context, norm: str, rows: Tensor, right: Tensor
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The points of one norm's curve, and the first broken images as pairs."""
    standing, points = right, [_point(0.0, "0", len(right), len(rows))]
    pairs: list[dict[str, Any]] = []
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
        fallen = broken_within(context.outcomes, norm, eps)
        standing = torch.tensor([row for row in standing.tolist() if row not in fallen], dtype=rows.dtype)
        points.append(_point(eps, text, len(standing), len(rows)))
    return points, pairs


def _attacks(context: Context, norm: str, eps: float) -> list[InputSpecificAttack]:
    """What is tried at a budget, in turn: by gradients, then by labels on images without slope."""
    threat = Linf(eps) if norm == "linf" else L2(eps)
    by_gradient = [PGD(threat=threat, steps=STEPS)] if context.classifier.access == "gradient" else []
    by_labels = RayS(threat=Unbounded("linf"), queries=QUERIES)
    return [*by_gradient, by_labels if norm == "linf" else HopSkipJump(queries=QUERIES)]


def _by_labels(context: Context, norm: str, standing: Tensor) -> Tensor:
    """The images without slope that no attack by labels has been tried on, as many as there is time for."""
    done = {
        row for one in context.outcomes if one["norm"] == norm and one["eps"] is None for row in one["rows"]
    }
    if done:  # once tells of every budget
        return standing[:0]
    return context.without_slope(standing)[: context.affordable(QUERIES)]


def _point(eps: float, text: str, kept: int, count: int) -> dict[str, Any]:
    low, high = wilson(kept, count)
    return {"x": eps, "y": kept / count, "low": low, "high": high, "label": text}


def _block(context: Context, norm: str, points: list[dict[str, Any]]) -> dict[str, Any]:
    label = "largest change of a value" if norm == "linf" else "L2 length of the change"
    name = f"PGD, {STEPS} steps" if context.classifier.access == "gradient" else "without gradients"
    series = [{"name": name, "style": "attack", "points": points}]
    noise = context.earlier("noise")
    if noise:
        known = next(b["series"][0] for b in noise["blocks"] if f"({norm})" in b["x_label"])
        series.append({**known, "name": "random noise"})
    return {"kind": "curve", "x_label": f"{label} ({norm})", "y_label": "accuracy", "series": series}
