"""What does the network say of images that a generator made for its classes?

The samples are of the bundled conditional generator, so only a network that knows its classes is asked.
They are near the toybox's images and not among them: what it gets wrong here, and right there, it has
learnt too narrowly.
"""

from __future__ import annotations

from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.plan import Cost
from ostrich.data.matching import Names
from ostrich.figures.words import in_percent
from ostrich.generative import load_generator
from ostrich.generative.features import fitted
from ostrich.images import rounded
from ostrich.models.answers import predictions
from ostrich.statistics import wilson

TITLE = "Generated images"
SAMPLES, SHOWN = 200, 10
COST = Cost(fixed_gradients=SAMPLES / 3)  # as many forwards, of a third of a gradient's cost
GENERATOR = "zoo:toybox-conditional"


def probe(context: Context) -> Answer:
    """The question of this file."""
    classifier = context.classifier
    generator = load_generator(GENERATOR)
    known = Names(classifier.class_names or ())
    places = [known.places(name) for name in generator.class_names or ()]
    if not all(len(found) == 1 for found in places):
        raise CannotRun(f"The network does not know the classes of {GENERATOR}.")
    images, classes = generator.sample(range(SAMPLES), seed=context.seed)
    assert classes is not None
    images = rounded(fitted(images, classifier).clamp(0, 1))
    asked = [places[k][0] for k in classes.tolist()]
    seen = predictions(classifier.predict(images)).tolist()
    right = sum(a == b for a, b in zip(asked, seen, strict=True))
    low, high = wilson(right, SAMPLES)
    wrong_first = sorted(range(SAMPLES), key=lambda i: asked[i] == seen[i])[:SHOWN]
    items = [
        Picture(
            file=context.save(f"generated-{i}", images[i]),
            title=classifier.class_name(asked[i]),
            caption=f"seen as {classifier.class_name(seen[i])}",
        )
        for i in wrong_first
    ]
    return Answer(
        sentence=f"Of {SAMPLES} images that {GENERATOR} made, the network takes "
        f"{in_percent(right / SAMPLES)} ({in_percent(low)} to {in_percent(high)}) for the class that was "
        "asked for.",
        how_to_read="Ten samples, those first that are seen as another class than was asked for. Who is "
        "wrong there, the network or the generator, the eye must judge.",
        figures={"n": SAMPLES, "as_asked": right / SAMPLES, "low": low, "high": high},
        blocks=[Pictures(items=items, columns=5)],
    )
