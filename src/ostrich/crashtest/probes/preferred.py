"""What does the network look for in each class?

Activation maximisation in the Fourier parametrisation under random views (Olah 2017), for at most
ten classes.
"""

from __future__ import annotations

from dataclasses import replace

from ostrich.attacks.fooling.ascent import spread
from ostrich.crashtest.context import Answer, CannotRun, Context
from ostrich.images import rounded
from ostrich.visualization import PRESET, PRESETS, ascend

TITLE = "What it looks for"
FORWARDS, GRADIENTS = 0.0, 0.0
CLASSES, STEPS = 10, 128
FIXED_GRADIENTS = 1.0 * CLASSES * STEPS


def probe(context: Context) -> Answer:
    """The question of this file."""
    classifier = context.classifier
    if classifier.access != "gradient":
        raise CannotRun("This is a prediction function: there is no slope to climb.")
    classes = spread(classifier.num_classes, CLASSES)
    settings = replace(PRESETS[PRESET], steps=STEPS)
    found = ascend(
        classifier,
        [f"class:{k}" for k in classes],
        settings,
        seed=context.seed,
        progress=context.progress,
    )
    best = rounded(found.images)
    items, recognised = [], 0
    for index, image in zip(classes, best, strict=True):
        name, certain = context.confidences(image, 1)[0]
        recognised += name == classifier.class_name(index)
        items.append(
            {
                "file": context.save(f"preferred-{index}", image),
                "title": classifier.class_name(index),
                "caption": f"seen as {name}, {certain:.0%}",
            }
        )
    return Answer(
        sentence=f"Images that {len(classes)} classes prefer, {STEPS} steps from noise; the network takes "
        f"{recognised} of them for their class.",
        how_to_read="Colours and parts that come back are what the network relies on; a class whose image "
        "shows its surroundings has learnt those too.",
        figures={"n": len(classes), "recognised": recognised},
        blocks=[{"kind": "pictures", "items": items, "columns": 5}],
    )
