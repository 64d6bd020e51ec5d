"""A real network on a photograph: the cat that becomes an ostrich, and what is behind it. (demo only)

EfficientNet-Lite0, trained on ImageNet (`models/packaged.py`), on scikit-image's cat at 224 pixels. The
smallest change that makes it an ostrich, where it looks before and after (Grad-CAM), what it looks for in an
ostrich, an image of noise that it is certain of; and what it takes the toybox's school buses for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.attacks import PGD, Confident, FoolingAscent, Linf, Targeted
from ostrich.attacks.fooling.ascent import CONFIDENCE, noise
from ostrich.attribution import GradCAM, explain
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Pairs, Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context, budget_text
from ostrich.crashtest.plan import Cost
from ostrich.data import toyscenes
from ostrich.data.loading import load as read
from ostrich.data.photographs import photographs
from ostrich.errors import MissingExtra
from ostrich.images import fit, from_bytes, rounded
from ostrich.models import Classifier, load
from ostrich.models.answers import predictions
from ostrich.models.packaged import EFFICIENTNET
from ostrich.visualization import PRESET, PRESETS, ascend

TITLE = "A real network, a photograph"
COST = Cost(fixed_gradients=10_000.0)  # of the toybox's small network, which is some fifty times faster
MODEL, PHOTOGRAPH, TARGET, BUS = f"zoo:{EFFICIENTNET}", "cat", "ostrich", "school bus"
LEVELS = (1, 2, 4, 8)  # of 255
STEPS, ASCENT, FOOLING = 20, 48, 64  # of the attack, the image it prefers, the image of noise
DIM = 0.25  # what is left of the light where Grad-CAM is zero


def probe(context: Context) -> Answer:
    """The question of this file."""
    try:
        classifier = load(MODEL, device=str(context.classifier.device.type))
    except MissingExtra as error:
        raise CannotRun(str(error)) from None
    assert classifier.size is not None
    seen = Context(
        classifier=classifier,
        samples=read(
            photographs(),
            size=classifier.size,
            resize=classifier.resize,
            interpolation=classifier.interpolation,
            channels=3,
        ),
        folder=context.folder,
        saved=context.saved,
        model_words=[MODEL],
        data_words=["photographs"],
        seed=context.seed,
        precision=context.precision,
    )
    row = list(seen.samples.files).index(PHOTOGRAPH)
    image, target = seen.images[row], classifier.class_index(TARGET)
    goal = Targeted(torch.tensor([target], device=image.device))
    for level in LEVELS:
        result = seen.attack_images(PGD(threat=Linf(level / 255), steps=STEPS), image[None], goal)
        if result.success[0]:
            break
    text = budget_text("linf", level / 255)
    pair = seen.comparison("photograph", image, result.images[0], text, level / 255)
    before, after, success = pair.before[0], pair.after[0], bool(result.success[0])
    became = f"makes it an ostrich ({after[1]:.0%})" if success else "does not make it an ostrich"
    buses, count = _buses(classifier)
    pictures = [
        *_looks(seen, {"photograph": image, "changed": result.images[0]}),
        _preferred(seen, target),
        _certain(seen, target),
    ]
    return Answer(
        sentence=f"A photograph of a cat, seen as {before[0]} ({before[1]:.0%}): {text} per value {became}.",
        how_to_read="EfficientNet-Lite0, trained by others on ImageNet, on a picture that comes with "
        f"scikit-image, at 224 pixels. Of the toybox's {count} school buses, which are new to it, it takes "
        f"{buses} for school buses.",
        figures={
            "budget": level / 255,
            "success": success,
            "before": before[1],
            "after": after[1],
            "buses": buses,
            "of": count,
        },
        blocks=[Pairs(items=[pair]), Pictures(items=pictures, columns=len(pictures))],
    )


def _looks(seen: Context, images: dict[str, Tensor]) -> list[Picture]:
    """Where the network looks for what it sees, in light and shadow."""
    items = []
    for what, image in images.items():
        name = seen.confidences(image, 1)[0][0]
        found = explain(GradCAM(), seen.classifier, image[None], [f"class:{name}"])[0, 0].amax(0)
        light = DIM + (1 - DIM) * found / found.max().clamp_min(1e-12)
        file = seen.save(f"photograph-gradcam-{what}", rounded(image * light))
        items.append(Picture(file=file, title=f"Grad-CAM, {what}", caption=f"what speaks for {name}"))
    return items


def _preferred(seen: Context, target: int) -> Picture:
    settings = replace(PRESETS[PRESET], steps=ASCENT)
    image = rounded(ascend(seen.classifier, [f"class:{target}"], settings, seed=seen.seed).images)[0]
    name, certain = seen.confidences(image, 1)[0]
    file = seen.save("photograph-preferred", image)
    return Picture(file=file, title=f"what it looks for: {TARGET}", caption=f"seen as {name}, {certain:.0%}")


def _certain(seen: Context, target: int) -> Picture:
    start = noise([target], tuple(seen.images.shape[1:]), seen.seed).to(seen.images)  # type: ignore[arg-type]
    goal = Confident(torch.tensor([target], device=start.device), CONFIDENCE)
    result = seen.attack_images(FoolingAscent(steps=FOOLING), start, goal)
    name, certain = seen.confidences(result.images[0], 1)[0]
    caption = f"{certain:.1%} {name}, in {int(result.backwards[0])} steps from noise"
    file = seen.save("photograph-fooling", result.images[0])
    return Picture(file=file, title="certain of noise", caption=caption)


def _buses(classifier: Classifier) -> tuple[int, int]:
    """How many of the toybox's school buses the network takes for one, and how many there are."""
    stored, bus = toyscenes.test_images(), toyscenes.CLASS_NAMES.index(BUS)
    assert classifier.size is not None
    shown = [
        np.asarray(fit(Image.fromarray(pixels), classifier.size, interpolation="bicubic"))
        for pixels, label in zip(stored.images, stored.labels, strict=True)
        if int(label) == bus
    ]
    said = predictions(classifier.predict(from_bytes(np.stack(shown)).to(classifier.device)))
    return int((said == classifier.class_index(BUS)).sum()), len(shown)
