"""What is the worst that a set of different attacks finds for each image, and which of them finds it?

AutoAttack (Croce and Hein 2020) in its fast form. One attack is no proof where it left an image standing, and
the worst of several is the honest figure: so it is asked for at the budgets that gates judge, else at
the largest budget of the sweep at which PGD left one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from ostrich.attacks import L2, AutoAttack, Linf, Threat, Untargeted
from ostrich.attacks.engine.runner import Result
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Block, Pair, Pairs, Table
from ostrich.crashtest.context import CannotRun, Context, budget_text, sweep
from ostrich.crashtest.plan import Cost
from ostrich.statistics import wilson

TITLE = "Worst case of several attacks"
COST = Cost(forwards=400, gradients=200)  # per budget, where about two in five stand to the end
AS_FORWARDS = 3.0  # a gradient costs about as many
SHOWN = 6  # images, at each budget
THREATS: dict[str, Callable[[float], Threat]] = {"linf": Linf, "l2": L2}
UNITS = {"linf": "per value", "l2": "of L2 length"}


def probe(context: Context) -> Answer:
    """The question of this file."""
    if context.classifier.access != "gradient":
        raise CannotRun("This is a prediction function: AutoAttack needs gradients.")
    rows = torch.tensor(context.rows("worst-case"))
    right = rows[context.correct.cpu()[rows]]
    if not len(right):
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    found: list[dict[str, Any]] = []
    blocks: list[Block] = []
    sentences = []
    for norm, eps in _budgets(context):
        forwards = int(COST.forwards + AS_FORWARDS * COST.gradients)
        if found and context.images_within_time(forwards) < len(right):
            break  # there is no time for a further one
        method = AutoAttack(threat=THREATS[norm](eps), preset="fast")
        result = context.attack(method, right, Untargeted(context.labels[right]))
        found.append(_figures(norm, eps, method.titles, result, len(rows)))
        sentences.append(_sentence(found[-1], len(method.titles)))
        blocks.append(_by_attack(method.titles, result, budget_text(norm, eps)))
        blocks.append(Pairs(items=_hardest(context, right, result, norm, eps)))
    return Answer(
        sentence=" ".join(sentences),
        how_to_read="Each attack is tried on what the ones before it left standing, so the numbers tell "
        "what each added. A query is one image through the network.",
        figures={"n": len(rows), **found[0], **({"further": found[1:]} if found[1:] else {})},
        rows=rows.tolist(),
        budgets=[(one["norm"], one["eps"]) for one in found],
        blocks=blocks,
    )


def _budgets(context: Context) -> list[tuple[str, float]]:
    """Those of gates at which PGD left an image standing, smallest first, else the largest of the sweep."""
    earlier = context.earlier("robustness")
    figures = {} if earlier is None else earlier.figures
    swept = {norm: {point["x"]: point["y"] for point in figures.get(norm, [])} for norm in THREATS}
    asked = [(norm, eps) for norm in THREATS for eps in sorted(set(context.budgets.get(norm, [])))]
    open_ = [(norm, eps) for norm, eps in asked if eps > 0 and swept[norm].get(eps, 1) > 0]
    stood = [eps for eps, kept in swept["linf"].items() if kept > 0 and eps > 0]
    return open_ or [("linf", max(stood, default=sweep(context, "linf")[0]))]


def _figures(norm: str, eps: float, titles: tuple[str, ...], result: Result, count: int) -> dict[str, Any]:
    """What is known at one budget, of `count` images in all."""
    standing = int((~result.success).sum())
    found = Counter(titles[i] for i in result.found_by.tolist() if i >= 0)
    return {
        "norm": norm,
        "eps": eps,
        "robust_accuracy": standing / count,
        "interval": list(wilson(standing, count)),
        "broken_by": {title: found[title] for title in titles},
        "forwards": result.forwards.double().mean().item(),
        "backwards": result.backwards.double().mean().item(),
    }


def _sentence(figures: dict[str, Any], attacks: int) -> str:
    text, what = budget_text(figures["norm"], figures["eps"]), UNITS[figures["norm"]]
    broken = ", ".join(f"{title} {number}" for title, number in figures["broken_by"].items() if number)
    return (
        f"Against the worst of {attacks} attacks with {text} {what}, it is right on "
        f"{figures['robust_accuracy']:.0%} of images" + (f" (broken by {broken})." if broken else ".")
    )


def _by_attack(titles: tuple[str, ...], result: Result, budget: str) -> Table:
    """A table: what each attack broke, and what the images it broke had cost by then."""
    rows: list[list[Any]] = []
    for number, title in [*enumerate(titles), (-1, "still right")]:
        mask = result.found_by == number
        cost = [
            spent[mask].double().mean().item() if mask.any() else None
            for spent in (result.forwards, result.backwards)
        ]
        rows.append([title, int(mask.sum()), *cost])
    columns = [f"attack with {budget}", "broke", "forwards an image", "backwards an image"]
    return Table(columns=columns, rows=rows)


def _hardest(context: Context, rows: torch.Tensor, result: Result, norm: str, eps: float) -> list[Pair]:
    """The broken images that cost most, before and after."""
    cost = torch.where(result.success, result.backwards, -1)
    items = []
    for i in cost.argsort(descending=True)[:SHOWN].tolist():
        if result.success[i]:
            text = budget_text(norm, eps)
            name = f"worst-{norm}-{text.replace('/', '-')}-{context.samples.index[int(rows[i])]}"
            items.append(context.comparison(name, result.originals[i], result.images[i], text, eps))
    return items
