"""How much does random noise of the same size hurt? Without this line no attack can be judged."""

from __future__ import annotations

from typing import Any

import torch

from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Curve, Point, Series
from ostrich.crashtest.context import THREATS, CannotRun, Context, budget_text, sweep
from ostrich.crashtest.plan import Cost
from ostrich.crashtest.summary import accuracy
from ostrich.figures.words import in_percent
from ostrich.models.answers import predictions
from ostrich.runtime.randomness import keyed
from ostrich.statistics import wilson

TITLE = "Random noise"
COST = Cost(forwards=9)  # one draw at each budget


def probe(context: Context) -> Answer:
    """The question of this file."""
    rows = torch.tensor(context.rows("noise"))
    right = rows[context.correct.cpu()[rows]]
    if not len(right):
        raise CannotRun("The network gets none of these images right, so noise cannot make it wrong.")
    figures: dict[str, Any] = {}
    series: list[Series] = []
    for norm in ("linf", "l2"):
        points = []
        for eps in sweep(context, norm):
            kept = int((_noisy_predictions(context, right, norm, eps) == context.labels[right]).sum())
            low, high = wilson(kept, len(rows))
            text = budget_text(norm, eps)
            points.append(Point(x=eps, y=kept / len(rows), low=low, high=high, label=text))
        figures[norm] = [[p.x, p.y] for p in points]
        series.append(Series(name=f"noise, {norm}", style="noise", points=points))
    last = series[0].points[-1]
    clean = int(context.correct.cpu()[rows].sum()) / len(rows)
    left = round(last.y * len(rows)) if last.y is not None else 0
    return Answer(
        sentence=f"Random noise of {last.label} per value leaves {in_percent(left / len(rows))} of images "
        "right.",
        how_to_read="Each value moves by exactly the budget up or down (linf), or in a random direction of "
        "that length (l2); one draw per image.",
        figures={"n": len(rows), **figures},
        blocks=[_curve(series[0], "linf"), _curve(series[1], "l2")],
        summary=[accuracy(f"with random noise of linf {last.label}", left, len(rows), clean)],
    )


def _noisy_predictions(context: Context, rows: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """Predictions (n,) under noise of full size, on the 8-bit grid and inside the budget."""
    images = context.images[rows]
    draw = torch.stack(
        [torch.randn(images.shape[1:], generator=keyed(context.seed, 3, int(i))) for i in rows]
    )
    threat = THREATS[norm](eps)
    moved = images + eps * threat.direction(draw.to(images))
    noisy = threat.quantize(threat.project(moved, images), images)
    return predictions(context.classifier.predict(noisy))


def _curve(series: Series, norm: str) -> Curve:
    label = "largest change of a value" if norm == "linf" else "L2 length of the change"
    return Curve(x_label=f"{label} ({norm})", y_label="accuracy", series=[series])
