"""Can the network be certain of something where there is nothing?

Nguyen 2015, "Deep neural networks are easily fooled": gradient ascent from noise until the network
gives a class 99 %, decided on the 8-bit image.
"""

from __future__ import annotations

import torch

from ostrich.attacks import Confident
from ostrich.attacks.fooling.ascent import CONFIDENCE, FoolingAscent, noise, spread
from ostrich.crashtest.context import Answer, CannotRun, Context

TITLE = "Certain of noise"
FORWARDS, GRADIENTS = 0.0, 0.0
EXAMPLES, STEPS = 3, 200
FIXED_GRADIENTS = 1.0 * EXAMPLES * STEPS


def probe(context: Context) -> Answer:
    """The question of this file."""
    classifier = context.classifier
    if classifier.access != "gradient":
        raise CannotRun("This is a prediction function: there is no gradient to climb.")
    if classifier.num_classes < 2:
        raise CannotRun("The network has one class only.")
    classes = spread(classifier.num_classes, EXAMPLES)
    shape = tuple(context.images.shape[1:])
    start = noise(classes, shape, context.seed).to(context.images)  # type: ignore[arg-type]
    goal = Confident(torch.tensor(classes, device=start.device), CONFIDENCE)
    result = context.attack_images(FoolingAscent(steps=STEPS), start, goal)
    items, reached = [], []
    for i, index in enumerate(classes):
        name, certain = context.confidences(result.images[i], 1)[0]
        if result.attacked[i] and not result.success[i]:
            caption = f"{certain:.1%}: {STEPS} steps were not enough"
        else:
            caption = f"{certain:.1%}, in {int(result.backwards[i])} steps"
            reached.append(certain)
        items.append(
            {"file": context.save(f"fooling-{index}", result.images[i]), "title": name, "caption": caption}
        )
    before = context.confidences(start[0], 1)[0]
    return Answer(
        sentence=f"For {len(reached)} of {len(classes)} classes, noise became an image of which the network "
        f"is at least {CONFIDENCE:.0%} certain."
        + ("" if len(reached) == len(classes) else " That is no proof that the others cannot."),
        how_to_read="None of these shows what the network says; a high confidence is no sign that an image "
        f"is of its kind. The noise it started from was {before[0]} with {before[1]:.0%}.",
        figures={
            "n": len(classes),
            "reached": len(reached),
            "confidence": min(reached) if reached else None,
            "steps": result.backwards.double().mean().item(),
        },
        blocks=[{"kind": "pictures", "items": items, "columns": 3}],
    )
