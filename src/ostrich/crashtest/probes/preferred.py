"""What does the network look for in each class?

Activation maximisation three times, for at most ten classes, the table lamp and the sports car first:
the gradient alone, whose image is noise (Simonyan 2014); in the Fourier parametrisation under random
views (Olah 2017); and with the code of a generator, which draws what the network asks for (DGN-AM,
Nguyen 2016). The generator knows the toybox alone, so of another network it shows what of the toybox
comes nearest to the class.
"""

from __future__ import annotations

from dataclasses import replace

from ostrich.attacks.fooling.ascent import spread
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Picture, Pictures
from ostrich.crashtest.context import Context, check_gradient
from ostrich.crashtest.plan import Cost
from ostrich.errors import InputError
from ostrich.generative import load_generator
from ostrich.images import rounded
from ostrich.models import Classifier
from ostrich.visualization import PRESET, PRESETS, Ascent, Prior, ascend, with_prior
from ostrich.visualization.parametrisations import Canvas

TITLE = "What it looks for"
CLASSES, PLAIN_STEPS, STEPS, PRIOR_STEPS = 10, 64, 128, 100
# A generator costs as much again.
COST = Cost(fixed_gradients=1.0 * CLASSES * (PLAIN_STEPS + STEPS + 2 * PRIOR_STEPS))
FIRST = ("table lamp", "sports car")
PRIOR = "zoo:toybox-prior"


def probe(context: Context) -> Answer:
    """The question of this file."""
    classifier = context.classifier
    check_gradient(classifier, "there is no slope to climb")
    classes = chosen(classifier)
    items: dict[int, list[Picture]] = {index: [] for index in classes}
    recognised = {}
    for way, settings in ways(classifier).items():
        found = ascend(
            classifier,
            [f"class:{k}" for k in classes],
            settings,
            seed=context.seed,
            progress=context.progress,
        )
        recognised[way] = 0
        for index, image in zip(classes, rounded(found.images), strict=True):
            name, certain = context.confidences(image, 1)[0]
            recognised[way] += name == classifier.class_name(index)
            file = context.save(f"preferred-{index}-{way.replace(' ', '-')}", image)
            title = f"{classifier.class_name(index)}, {way}"
            items[index].append(Picture(file=file, title=title, caption=f"seen as {name}, {certain:.0%}"))
    rows = [item for several in items.values() for item in several]
    counts = ", ".join(f"{count} ({way})" for way, count in recognised.items())
    return Answer(
        sentence=f"Images that {len(classes)} classes prefer, from noise; the network takes for their class "
        f"{counts}.",
        how_to_read="The gradient alone makes noise that the network is sure of. Colours and parts that come "
        "back with views and with the prior are what it relies on; a class whose image shows its "
        "surroundings has learnt those too. The prior is a generator that has seen the toybox and nothing "
        "else: for other classes it shows what of the toybox comes nearest.",
        figures={"n": len(classes), "recognised": recognised},
        blocks=[Pictures(items=rows, columns=len(recognised))],
    )


def chosen(classifier: Classifier) -> list[int]:
    """At most ten classes: those of `FIRST` that it has, then others evenly spread."""
    names = classifier.class_names or ()
    first = [classifier.class_index(name) for name in FIRST if name in names]
    others = [index for index in spread(classifier.num_classes, CLASSES) if index not in first]
    return (first + others)[:CLASSES]


def ways(classifier: Classifier) -> dict[str, Ascent]:
    """The ascents by what the report calls them; without the prior where it does not fit."""
    found = {
        "gradient alone": replace(PRESETS["plain"], steps=PLAIN_STEPS),
        "with views": replace(PRESETS[PRESET], steps=STEPS),
    }
    try:
        prior = Prior.of(load_generator(PRIOR, classifier.device), Canvas.of(classifier))
    except InputError:
        return found
    return {**found, "with the prior": with_prior(prior, PRIOR_STEPS)}
