"""How accurate is the network against an adversary, as the budget grows?

PGD over a sweep of budgets. An image broken at one budget is broken at every larger one, so it is
attacked no further; the curve falls by construction, and every point of it is a set of files.
"""

from __future__ import annotations

from typing import Any

import torch

from ostrich.attacks import L2, PGD, Linf, Untargeted
from ostrich.crashtest.context import Answer, CannotRun, Context, budget_text, sweep
from ostrich.crashtest.statistics import wilson

TITLE = "Robust accuracy"
STEPS = 40
FORWARDS = 30.0  # per image, estimated: most budgets either break an image in a few steps or are small
GRADIENTS = 2.0 * STEPS  # per image, at most about two budgets per norm spend all their steps
SHOWN = 6  # pairs


def probe(context: Context) -> Answer:
    """The question of this file."""
    if context.classifier.access != "gradient":
        raise CannotRun("This is a prediction function: PGD has no gradient to follow.")
    rows = torch.tensor(context.rows("robustness"))
    right = rows[context.correct.cpu()[rows]]
    if not len(right):
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    figures: dict[str, Any] = {"n": len(rows), "clean": len(right) / len(rows), "steps": STEPS}
    blocks: list[dict[str, Any]] = []
    gallery: list[dict[str, Any]] = []
    for norm in ("linf", "l2"):
        points, broken = _curve(context, norm, rows, right)
        figures[norm] = [{k: p[k] for k in ("x", "y", "low", "high", "label")} for p in points]
        blocks.append(_block(context, norm, points))
        gallery = gallery or broken
    blocks.append({"kind": "pairs", "items": gallery[:SHOWN]})
    first = next((p for p in figures["linf"] if p["y"] <= figures["clean"] / 2), figures["linf"][-1])
    return Answer(
        sentence=f"Against PGD with {first['label']} per value, it is right on {first['y']:.0%} of images "
        f"({figures['clean']:.0%} without an attack).",
        how_to_read="The lower the line, the weaker the network; the band is the 95 % interval; dashed: "
        "random noise of the same size.",
        figures=figures,
        blocks=[b for b in blocks if b.get("items") or b.get("series")],
    )


def _curve(
    context: Context, norm: str, rows: torch.Tensor, right: torch.Tensor
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The points of one norm's curve, and the first broken images as pairs."""
    standing, points = right, [_point(0.0, "0", len(right), len(rows))]
    pairs: list[dict[str, Any]] = []
    for eps in sweep(context, norm):
        text = budget_text(norm, eps)
        if len(standing):
            method = PGD(threat=Linf(eps) if norm == "linf" else L2(eps), steps=STEPS)
            result = context.attack(method, standing, Untargeted(context.labels[standing]))
            if norm == "linf":
                for i in torch.nonzero(result.success)[: max(0, SHOWN - len(pairs)), 0].tolist():
                    name = f"broken-{norm}-{context.samples.index[int(standing[i])]}"
                    pairs.append(context.comparison(name, result.originals[i], result.images[i], text, eps))
            standing = standing[~result.success.cpu()]
        points.append(_point(eps, text, len(standing), len(rows)))
    return points, pairs


def _point(eps: float, text: str, kept: int, count: int) -> dict[str, Any]:
    low, high = wilson(kept, count)
    return {"x": eps, "y": kept / count, "low": low, "high": high, "label": text}


def _block(context: Context, norm: str, points: list[dict[str, Any]]) -> dict[str, Any]:
    label = "largest change of a value" if norm == "linf" else "L2 length of the change"
    series = [{"name": f"PGD, {STEPS} steps", "style": "attack", "points": points}]
    noise = context.earlier("noise")
    if noise:
        known = next(b["series"][0] for b in noise["blocks"] if f"({norm})" in b["x_label"])
        series.append({**known, "name": "random noise"})
    return {"kind": "curve", "x_label": f"{label} ({norm})", "y_label": "accuracy", "series": series}
