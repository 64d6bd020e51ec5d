"""A real photograph: does the same happen to a network trained on photographs? (demo only)

`zoo:cifar10-resnet20` looks at scikit-image's cat "chelsea" at its own 32x32 pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ostrich.attacks import PGD, Linf, Targeted
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Pairs
from ostrich.crashtest.context import CannotRun, Context, budget_text
from ostrich.crashtest.plan import Cost
from ostrich.images import fit, from_bytes

TITLE = "A real photograph"
COST = Cost(fixed_gradients=200.0)
MODEL, TRUE, TARGET = "zoo:cifar10-resnet20", "cat", "bird"
FACE = (120, 10, 390, 280)  # left, top, right, bottom of the cat's face in the 451x300 picture
LEVELS = (1, 2, 4, 8)  # of 255


def probe(context: Context) -> Answer:
    """The question of this file."""
    from skimage.data import chelsea

    from ostrich.models import load

    classifier = load(MODEL)
    assert classifier.size is not None
    face = Image.fromarray(np.asarray(chelsea())).crop(FACE)
    image = from_bytes(np.asarray(fit(face, classifier.size)))
    seen = Context(
        classifier=classifier,
        samples=context.samples,
        folder=context.folder,
        saved=context.saved,
        model_words=[MODEL],
        data_words=[],
        seed=context.seed,
        precision=context.precision,
    )
    before = seen.confidences(image)[0]
    if before[0] != TRUE:
        raise CannotRun(f"{MODEL} takes the cat for a {before[0]} to begin with.")
    target = torch.tensor([classifier.class_index(TARGET)])
    for level in LEVELS:
        method = PGD(threat=Linf(level / 255), steps=100)
        result = seen.attack_images(method, image[None], Targeted(target))
        if result.success[0]:
            break
    text = budget_text("linf", level / 255)
    item = seen.comparison("photograph", image, result.images[0], text, level / 255)
    after = item.after[0]
    success = bool(result.success[0])
    verdict = f"makes it a {after[0]} ({after[1]:.0%})" if success else "does not make it a bird"
    return Answer(
        sentence=f"A photograph of a cat, seen as {before[0]} ({before[1]:.0%}): {text} per value {verdict}.",
        how_to_read=f"{MODEL}, trained here on photographs of 32x32 pixels, on a picture that comes with "
        "scikit-image.",
        figures={"budget": level / 255, "success": success, "before": before[1], "after": after[1]},
        blocks=[Pairs(items=[item])],
    )
