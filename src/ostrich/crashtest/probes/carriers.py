"""Which units carry the attack?

The channels of the last layer with a map, by how far their mean moves between the image and what PGD
made of it, in standard deviations over the clean images; and the sheets of those that move most.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ostrich.attacks import PGD, Linf, Untargeted
from ostrich.attribution.maps import before
from ostrich.attribution.question import Question
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context, budget_text, check_gradient, indices
from ostrich.crashtest.plan import Cost
from ostrich.errors import InputError
from ostrich.images import rounded
from ostrich.inspection.units import activations, parse
from ostrich.models.untouched import untouched
from ostrich.visualization import PRESET, PRESETS, unit_sheets
from ostrich.visualization.sheets.unit_sheets import Sheet

TITLE = "Which units carry the attack"
MOST, UNITS, TOP, STEPS = 32, 3, 4, 128
COST = Cost(forwards=1, fixed_gradients=40.0 * MOST + 1.0 * UNITS * STEPS)  # forwards: what excites the units
THREAT = Linf(8 / 255)


def probe(context: Context) -> Answer:
    """The question of this file."""
    check_gradient(context.classifier, "it has no units to look at")
    right = indices(context.correct)[:MOST].cpu()
    if not len(right):
        raise CannotRun("The network gets none of these images right.")
    result = context.attack(PGD(threat=THREAT), right, Untargeted(context.labels[right]))
    broken = result.success.nonzero()[:, 0]
    if len(broken) < 2:
        raise CannotRun(
            f"PGD at {budget_text('linf', THREAT.eps)} broke {len(broken)} of {len(right)} images."
        )
    layer = _layer(context)
    clean, fooled = _means(context, result.originals, layer), _means(context, result.images[broken], layer)
    moved = (fooled - clean[broken]) / clean.std(0).clamp_min(1e-12)
    size = moved.abs().mean(0)
    order = size.argsort(descending=True).tolist()
    half = int((size[order].cumsum(0) < size.sum() / 2).sum()) + 1
    pages = _sheets(context, [f"{layer}:{k}" for k in order[:UNITS]])
    items = [
        item for k, page in zip(order, pages) for item in _items(context, page, float(moved[:, k].mean()))
    ]
    return Answer(
        sentence=f"Of the {len(size)} channels of {layer}, {half} make half of the movement when PGD at "
        f"{budget_text('linf', THREAT.eps)} fools the network, on {len(broken)} images.",
        how_to_read="A row is a channel: the image it prefers, then the images that excite it most, cut to "
        "what it sees of them. Its number says how far the attack moves it, in standard deviations over the "
        "clean images. An attack that needs most channels is spread out; few channels are a weak spot.",
        figures={
            "n": len(broken),
            "layer": layer,
            "channels": len(size),
            "half": half,
            "largest": order[:UNITS],
        },
        blocks=[Pictures(items=items, columns=1 + TOP)],
    )


def _layer(context: Context) -> str:
    """The last layer with a map before the first class."""
    image = context.images[:1]
    unit = parse("class:0")
    rows = torch.zeros(1, 1, dtype=torch.long, device=image.device)
    question = Question(classifier=context.classifier, images=image, units=(unit,), rows=rows)
    try:
        with untouched(context.classifier.network):
            return before(question, unit, None, activations=False).layer
    except InputError as error:
        raise CannotRun(str(error)) from error


def _means(context: Context, images: Tensor, layer: str) -> Tensor:
    """Each channel's mean over the map, (N, C)."""
    with torch.no_grad():
        parts = images.to(context.classifier.device).split(64)
        return torch.cat([activations(context.classifier, part, layer).mean((2, 3)) for part in parts])


def _sheets(context: Context, units: list[str]) -> list[Sheet]:
    settings = replace(PRESETS[PRESET], steps=STEPS)
    return unit_sheets(
        context.classifier,
        context.samples.images,
        len(context.samples),
        units,
        settings,
        top=TOP,
        seed=context.seed,
        progress=context.progress,
    )


def _items(context: Context, page: Sheet, moved: float) -> list[Picture]:
    """The pictures of one channel."""
    unit = page.response.unit
    stem = f"carrier-{unit.layer.replace('.', '-')}-{unit.index}"
    file = context.save(stem, rounded(page.preferred))
    items = [Picture(file=file, title=str(unit), caption=f"{moved:+.1f} deviations; prefers")]
    for k, (image, box) in enumerate(zip(page.images, page.boxes, strict=True)):
        top, left, bottom, right = box
        file = context.save(f"{stem}-{k}", image[:, top:bottom, left:right])
        name = context.confidences(image, 1)[0][0]
        response = float(page.response.values[page.places[k]])
        items.append(Picture(file=file, title=name, caption=f"{response:.3g}"))
    return items
