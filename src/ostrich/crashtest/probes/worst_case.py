"""What is the worst that a set of different attacks finds for each image, and which of them finds it?

AutoAttack (Croce and Hein 2020) in its fast form, at the largest budget at which PGD left an image
standing: there one attack is no proof, and the worst of several is the honest figure.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from ostrich.attacks import AutoAttack, Linf, Untargeted
from ostrich.attacks.engine.runner import Result
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Pair, Pairs, Table
from ostrich.crashtest.context import CannotRun, Context, budget_text, sweep
from ostrich.crashtest.plan import Cost
from ostrich.statistics import wilson

TITLE = "Worst case of several attacks"
COST = Cost(forwards=400, gradients=200)  # where about two in five stand to the end
SHOWN = 6  # images


def probe(context: Context) -> Answer:
    """The question of this file."""
    if context.classifier.access != "gradient":
        raise CannotRun("This is a prediction function: AutoAttack needs gradients.")
    rows = torch.tensor(context.rows("worst-case"))
    right = rows[context.correct.cpu()[rows]]
    if not len(right):
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    eps = _budget(context)
    text = budget_text("linf", eps)
    method = AutoAttack(threat=Linf(eps), preset="fast")
    result = context.attack(method, right, Untargeted(context.labels[right]))
    standing = int((~result.success).sum())
    low, high = wilson(standing, len(rows))
    found = Counter(method.titles[i] for i in result.found_by.tolist() if i >= 0)
    found_first = ", ".join(f"{title} {found[title]}" for title in method.titles if found[title])
    return Answer(
        sentence=f"Against the worst of {len(method.titles)} attacks with {text} per value, it is right on "
        f"{standing / len(rows):.0%} of images" + (f" (broken by {found_first})." if found else "."),
        how_to_read="Each attack is tried on what the ones before it left standing, so the numbers tell "
        "what each added. A query is one image through the network.",
        figures={
            "n": len(rows),
            "eps": eps,
            "robust_accuracy": standing / len(rows),
            "interval": [low, high],
            "broken_by": {title: found[title] for title in method.titles},
            "forwards": result.forwards.double().mean().item(),
            "backwards": result.backwards.double().mean().item(),
        },
        rows=rows.tolist(),
        budgets=[("linf", eps)],
        blocks=[
            Table(
                columns=["attack", "broke", "forwards an image", "backwards an image"],
                rows=_by_attack(method.titles, result),
            ),
            Pairs(items=_hardest(context, right, result, eps)),
        ],
    )


def _budget(context: Context) -> float:
    """The largest budget of the sweep at which PGD left an image standing, else the smallest."""
    earlier = context.earlier("robustness")
    curve = [] if earlier is None else earlier.figures.get("linf", [])
    stood = [point["x"] for point in curve if point["y"] > 0 and point["x"] > 0]
    return max(stood, default=sweep(context, "linf")[0])


def _by_attack(titles: tuple[str, ...], result: Result) -> list[list[Any]]:
    """What each attack broke, and what the images it broke had cost by then."""
    rows: list[list[Any]] = []
    for number, title in [*enumerate(titles), (-1, "still right")]:
        mask = result.found_by == number
        cost = [
            spent[mask].double().mean().item() if mask.any() else None
            for spent in (result.forwards, result.backwards)
        ]
        rows.append([title, int(mask.sum()), *cost])
    return rows


def _hardest(context: Context, rows: torch.Tensor, result: Result, eps: float) -> list[Pair]:
    """The broken images that cost most, before and after."""
    cost = torch.where(result.success, result.backwards, -1)
    items = []
    for i in cost.argsort(descending=True)[:SHOWN].tolist():
        if result.success[i]:
            name = f"worst-{context.samples.index[int(rows[i])]}"
            text = budget_text("linf", eps)
            items.append(context.comparison(name, result.originals[i], result.images[i], text, eps))
    return items
