"""The smallest change that makes one thing another: the school bus that becomes an ostrich.

Szegedy 2014, "Intriguing properties of neural networks", figure 5. Here by targeted PGD, on an image that
the network gets right; the smallest budget is searched by bisection.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import torch

from ostrich.attacks import PGD, Linf, Targeted
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Block, Pair, Pairs, Slider
from ostrich.crashtest.context import CannotRun, Context, budget_text, check_gradient, indices
from ostrich.crashtest.plan import ANYTIME
from ostrich.errors import InputError
from ostrich.runtime.deadline import TimeUp

TITLE = "One thing becomes another"
COST = ANYTIME
LEVELS = (1, 2, 4, 8, 16)  # of 255
STEPS = 50
FROM, TO = "school bus", "ostrich"


def probe(context: Context) -> Answer:
    """The question of this file."""
    check_gradient(context.attacked, "PGD has no gradient to follow")
    row, target = _choose(context)
    name = context.classifier.class_name
    source_name, target_name = name(int(context.labels[row])), name(target)
    goal = Targeted(torch.tensor([target], device=context.images.device))
    tried: dict[int, Pair] = {}
    reached: list[int] = []

    def attack(level: int, stop: Literal["first", "budget"]) -> bool:
        method = PGD(threat=Linf(level / 255), steps=STEPS, stop=stop)
        result = context.attack(method, torch.tensor([row]), goal)
        text, images = budget_text("linf", level / 255), (result.originals[0], result.images[0])
        tried[level] = context.comparison(f"pair-{level}", *images, text, level / 255)
        return bool(result.success[0])

    levels = list(LEVELS)
    with suppress(TimeUp):  # the best so far is the answer
        while levels:  # what succeeds at a budget succeeds at every larger one
            level = levels[len(levels) // 2]
            if attack(level, "budget" if tried else "first"):  # something to show is there soon
                reached.append(level)
                levels = [other for other in levels if other < level]
            else:
                levels = [other for other in levels if other > level]
        if reached and reached[-1] == LEVELS[len(LEVELS) // 2]:
            first = tried[reached[-1]]
            if not attack(reached[-1], "budget"):
                tried[reached[-1]] = first
    if not tried:
        raise TimeUp
    smallest = tried[reached[-1]] if reached else None
    items = [tried[level] for level in sorted(tried)]
    if smallest is None:
        sentence = (
            f"Up to {items[-1].budget} per value, this {source_name} was not turned "
            f"into {target_name} in {STEPS} steps of PGD; that is no proof that it cannot be."
        )
    else:
        confidence = smallest.after[0][1]
        sentence = (
            f"A change of at most {smallest.budget} per value turns the {source_name} into "
            f"{target_name}, with {confidence:.0%} confidence."
        )
    blocks: list[Block] = [Pairs(items=[smallest])] if smallest else []
    blocks.append(Slider(label="budget per value", items=items))
    return Answer(
        sentence=sentence,
        how_to_read="Left the image, right what the network takes for something else; between them the "
        "change, enlarged by the factor written on it, grey where there is none.",
        figures={
            "file": context.samples.files[row],
            "from": source_name,
            "to": target_name,
            "smallest": smallest.value if smallest else None,
            "confidence": smallest.after[0][1] if smallest else None,
        },
        blocks=blocks,
    )


def _choose(context: Context) -> tuple[int, int]:
    """An image that the network gets right, and the class it is to become."""
    right = indices(context.correct).tolist()
    if not right:
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    if context.classifier.num_classes < 2:
        raise CannotRun("The network has one class only.")
    labels = context.labels.tolist()
    target = _class(context, TO)
    source = _class(context, FROM)
    if target is not None:
        candidates = [i for i in right if labels[i] == source] or [i for i in right if labels[i] != target]
        if candidates:
            return _most_confident(context, candidates), target
    row = _most_confident(context, right)
    return row, int(context.logits[row].argsort(descending=True)[1])


def _most_confident(context: Context, rows: list[int]) -> int:
    """The image of which the network is most certain."""
    confidence = context.logits[rows].softmax(1).max(1).values
    return rows[int(confidence.argmax())]


def _class(context: Context, name: str) -> int | None:
    try:
        return context.classifier.class_index(name) if context.classifier.class_names else None
    except InputError:
        return None
