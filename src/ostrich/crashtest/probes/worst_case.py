"""What is the worst that a set of different attacks finds for each image, and which of them finds it?

AutoAttack (Croce and Hein 2020) in its fast form, on what the sweep of budgets left standing. One attack is
no proof where it left an image, and the worst of several is the honest figure: so it is asked for at the
budgets that gates judge, else at the largest budget of the sweep at which PGD left one. Its attacks are tried
one after the other, each on all images that stand. Where the time ends before, the figure is that of those
which had time: what they broke is broken.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import AutoAttack, Untargeted
from ostrich.attacks.engine.result import Result
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Block, Pair, Pairs, Table
from ostrich.crashtest.context import THREATS, CannotRun, Context, budget_text, check_gradient, growing, sweep
from ostrich.crashtest.outcomes import broken_within
from ostrich.crashtest.plan import ANYTIME
from ostrich.figures.words import in_percent, several
from ostrich.runtime.deadline import Deadline, TimeUp, time_left, until
from ostrich.statistics import wilson

TITLE = "Worst case of several attacks"
COST = ANYTIME
SHOWN = 6  # images, at each budget
UNITS = {"linf": "per value", "l2": "of L2 length"}


def probe(context: Context) -> Answer:
    """The question of this file."""
    check_gradient(context.attacked, "AutoAttack needs gradients")
    if not context.correct.any():
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    sweep_of = context.earlier("robustness")
    order = context.in_random_order()
    rows = order if sweep_of is None else [row for row in order if row in set(sweep_of.rows)]
    found: list[dict[str, Any]] = []
    blocks: list[Block] = []
    sentences = []
    budgets = _budgets(context)
    for place, (norm, eps) in enumerate(budgets):
        before = set() if sweep_of is None else broken_within(sweep_of.outcomes, norm, eps)
        worst = _Worst(context, norm, eps, rows, before)
        with suppress(TimeUp), until(Deadline(time_left() / (len(budgets) - place))):
            worst.attack()
        if worst.tried or not worst.standing:
            found.append(worst.figures())
            sentences.append(worst.sentence())
            blocks += [worst.table(), Pairs(items=worst.hardest())]
    if not found:
        raise TimeUp
    return Answer(
        sentence=" ".join(sentences),
        how_to_read="Each attack is tried on what the ones before it left standing, so the numbers tell "
        "what each added. A query is one image through the network.",
        figures={"n": len(rows), **found[0], **({"further": found[1:]} if found[1:] else {})},
        rows=sorted(rows),
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


class _Worst:
    """What the attacks did at one budget to the images at `rows`, of which some are `broken` before."""

    def __init__(self, context: Context, norm: str, eps: float, rows: list[int], broken: set[int]) -> None:
        self.context, self.norm, self.eps, self.count = context, norm, eps, len(rows)
        method = AutoAttack(threat=THREATS[norm](eps), preset="fast")
        self.members = dict(zip(method.titles, method.members, strict=True))
        correct = context.correct.tolist()
        right = [row for row in rows if correct[row]]
        self.standing = [row for row in right if row not in broken]
        self.before = len(right) - len(self.standing)
        self.tried: dict[str, int] = {}  # images, by attack
        self.by: dict[int, str] = {}
        self.cost = {row: [0, 0] for row in self.standing}  # forwards, backwards
        self.images: dict[int, tuple[Tensor, Tensor]] = {}  # of the costliest that broke

    def attack(self) -> None:
        """Try one attack after the other on what stands. Raises TimeUp."""
        for title, member in self.members.items():
            standing = torch.tensor(self.standing, dtype=torch.int64)
            for part in growing(standing, self.context.first_batch):
                goal = Untargeted(self.context.labels[part])
                self._note(title, part.tolist(), self.context.attack(member, part, goal))

    def _note(self, title: str, rows: list[int], result: Result) -> None:
        self.tried[title] = self.tried.get(title, 0) + len(rows)
        for i, row in enumerate(rows):
            self.cost[row][0] += int(result.forwards[i])
            self.cost[row][1] += int(result.backwards[i])
            if result.success[i]:
                self.by[row] = title
                self.standing.remove(row)
                self.images[row] = (result.originals[i], result.images[i])
        for row in sorted(self.images, key=lambda row: -self.cost[row][1])[SHOWN:]:
            del self.images[row]

    def figures(self) -> dict[str, Any]:
        """What is known at this budget."""
        forwards, backwards = (sum(cost[i] for cost in self.cost.values()) for i in (0, 1))
        found = list(self.by.values())
        return {
            "norm": self.norm,
            "eps": self.eps,
            "robust_accuracy": len(self.standing) / self.count,
            "interval": list(wilson(len(self.standing), self.count)),
            "broken_before": self.before,
            "broken_by": {title: found.count(title) for title in self.members},
            "tried_on": {title: self.tried.get(title, 0) for title in self.members},
            "forwards": forwards / max(1, len(self.cost)),
            "backwards": backwards / max(1, len(self.cost)),
        }

    def sentence(self) -> str:
        """The least that any of them left, and what broke it."""
        counts = {"PGD": self.before, **self.figures()["broken_by"]}
        broken = ", ".join(f"{title} {number}" for title, number in counts.items() if number)
        late = len(self.members) - len(self.tried) if self.standing else 0
        share = in_percent(len(self.standing) / self.count)
        return (
            f"Against the worst of {len(self.members)} attacks with {budget_text(self.norm, self.eps)} "
            f"{UNITS[self.norm]}, it is right on {share} of {several(self.count, 'image')}"
            + (f" (broken by {broken})." if broken else ".")
            + (f" For {late} of the attacks there was no time." if late else "")
        )

    def table(self) -> Table:
        """What each attack broke, and what the images it broke had cost by then."""
        lines: list[list[Any]] = [["the sweep's PGD", self.before, None, None]] if self.before else []
        groups = {title: [row for row, by in self.by.items() if by == title] for title in self.members}
        for title, rows in {**groups, "still right": self.standing}.items():
            cost = [sum(self.cost[row][i] for row in rows) / len(rows) if rows else None for i in (0, 1)]
            lines.append([title, len(rows), *cost])
        budget = budget_text(self.norm, self.eps)
        columns = [f"attack with {budget}", "broke", "forwards an image", "backwards an image"]
        return Table(columns=columns, rows=lines)

    def hardest(self) -> list[Pair]:
        """The broken images that cost most, before and after."""
        text = budget_text(self.norm, self.eps)
        if self.images:
            self.context.ask(torch.stack([after for _, after in self.images.values()]))
        return [
            self.context.comparison(
                f"worst-{self.norm}-{text.replace('/', '-')}-{self.context.samples.index[row]}",
                *self.images[row],
                text,
                self.eps,
            )
            for row in sorted(self.images, key=lambda row: -self.cost[row][1])
        ]
