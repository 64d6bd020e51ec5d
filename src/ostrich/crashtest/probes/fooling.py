"""Can the network be certain of something where there is nothing?

Nguyen 2015, "Deep neural networks are easily fooled": gradient ascent from noise, and images drawn by
evolved networks (CPPN), until the network gives a class 99 %, decided on the 8-bit image. The evolution
needs no gradient and takes as many generations as the plan allows images.
"""

from __future__ import annotations

from typing import Any

import torch

from ostrich.attacks import Confident, FoolingAscent, FoolingCPPN, Result
from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.fooling.ascent import CONFIDENCE, noise, spread
from ostrich.attacks.fooling.evidence import noise_is_it
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.plan import Cost

TITLE = "Certain of noise"
POPULATION, GENERATIONS = 50, 100
EXAMPLES, STEPS = 3, 200
# An "image" is a generation; most evolutions need less than half of them.
COST = Cost(forwards=POPULATION / 2, fixed_gradients=1.0 * EXAMPLES * STEPS)


def probe(context: Context) -> Answer:
    """The question of this file."""
    classifier = context.classifier
    if classifier.access == "labels":
        raise CannotRun("The network gives labels only; this needs scores.")
    if classifier.num_classes < 2:
        raise CannotRun("The network has one class only.")
    classes = spread(classifier.num_classes, EXAMPLES)
    shape = tuple(context.images.shape[1:])
    start = noise(classes, shape, context.seed).to(context.images)  # type: ignore[arg-type]
    generations = min(GENERATIONS, len(context.rows("fooling")))
    evolution = FoolingCPPN(population=POPULATION, generations=generations)
    methods: dict[str, InputSpecificAttack] = {"climbed": FoolingAscent(steps=STEPS), "evolved": evolution}
    if classifier.access != "gradient":
        del methods["climbed"]
    goal = Confident(torch.tensor(classes, device=start.device), CONFIDENCE)
    results = {how: context.attack_images(method, start, goal) for how, method in methods.items()}
    items = [item for how, result in results.items() for item in _items(context, classes, how, result)]
    before = context.confidences(start[0], 1)[0]
    return Answer(
        sentence=_sentence(results),
        how_to_read="None of these shows what the network says; a high confidence is no sign that an image "
        f"is of its kind. The noise it started from was {before[0]} with {before[1]:.0%}. "
        "Patterns are drawn by small networks that evolve from nothing but the scores.",
        figures=_figures(results),
        blocks=[Pictures(items=items, columns=3)],
    )


def _items(context: Context, classes: list[int], how: str, result: Result) -> list[Picture]:
    """The pictures of one attack, with what the network sees in them."""
    items = []
    for i, index in enumerate(classes):
        if not result.attacked[i]:
            continue  # certain of the noise itself: nothing was made
        seen, certain = context.confidences(result.images[i], 1)[0]
        spent = (
            f"in {int(result.backwards[i])} steps from noise"
            if how == "climbed"
            else f"a pattern; {int(result.forwards.sum())} looked at for all"
        )
        title = context.classifier.class_name(index)
        if not result.success[i]:
            spent += f"; not enough for {title}"
        caption = f"{certain:.1%} {seen}, {spent}"
        file = context.save(f"fooling-{how}-{index}", result.images[i])
        items.append(Picture(file=file, title=title, caption=caption))
    return items


def _sentence(results: dict[str, Result]) -> str:
    """For how many classes each attack got there."""
    became = {"climbed": "noise became", "evolved": "an evolved pattern is"}
    count = {how: int(result.success.sum()) for how, result in results.items()}
    tried = next(iter(results.values())).attacked
    total = int(tried.sum())
    parts = [f"for {count[how]} of {total} classes {became[how]}" for how in results]
    sentence = " and ".join(parts) + f" an image of which the network is at least {CONFIDENCE:.0%} certain."
    missed = any(number < total for number in count.values())
    rest = " Where it is not, that is no proof that it cannot be." if missed else ""
    certain = int(noise_is_it(next(iter(results.values()))).sum())
    if certain:
        rest += f" Of {certain} more it is as certain when it sees the noise itself."
    if total + certain < len(tried):
        rest += " To the noise itself it has no answer."
    return sentence[0].upper() + sentence[1:] + rest


def _figures(results: dict[str, Result]) -> dict[str, Any]:
    """n, and of each attack how many classes it reached and what that took; None where it cannot run."""
    climbed, evolved = results.get("climbed"), results["evolved"]
    return {
        "n": len(evolved.success),
        "noise_is_it": int(noise_is_it(evolved).sum()),
        "reached": None if climbed is None else int(climbed.success.sum()),
        "confidence": None if climbed is None else _least(climbed),
        "steps": None if climbed is None else climbed.backwards.double().mean().item(),
        "evolved": int(evolved.success.sum()),
        "evolved_confidence": _least(evolved),
        "evolved_forwards": int(evolved.forwards.sum()),
    }


def _least(result: Result) -> float | None:
    confidence = result.confidence[result.success]
    return confidence.min().item() if len(confidence) else None
