"""Does one pixel suffice?

Su, Vargas, Sakurai 2019, "One pixel attack for fooling deep neural networks", on the images of which
the network is least certain; it sees scores only. Fewer candidates and generations than published, so
what is found is a lower bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks import OnePixel, Untargeted
from ostrich.attacks.engine.figures import measured
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context, indices
from ostrich.crashtest.plan import Cost
from ostrich.crashtest.summary import doubted, success

TITLE = "One pixel"
EXAMPLES, POPULATION, GENERATIONS = 6, 200, 8
COST = Cost(fixed_gradients=EXAMPLES * POPULATION * (GENERATIONS + 1) / 3.0)  # a third: of forwards
ENLARGED = 256  # pixels, at least, of the picture with the ring


def probe(context: Context) -> Answer:
    """The question of this file."""
    right = indices(context.correct).cpu()
    if not len(right):
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    if context.classifier.access == "labels":
        raise CannotRun("The network gives labels only; this attack needs scores.")
    confidence = context.logits[right].softmax(1).max(1).values
    rows = right[confidence.argsort(stable=True)[:EXAMPLES].cpu()]
    method = OnePixel(population=POPULATION, generations=GENERATIONS)
    result = context.attack(method, rows, Untargeted(context.labels[rows]))
    items = []
    for i in torch.nonzero(result.success)[:, 0].tolist():
        stem = f"one-pixel-{context.samples.index[int(rows[i])]}"
        context.save(stem, result.images[i])
        ringed = ring(result.originals[i], result.images[i])
        before, after = (context.confidences(x[i], 1)[0] for x in (result.originals, result.images))
        items.append(
            Picture(
                file=context.save(f"{stem}-ring", ringed),
                title=f"{before[0]} becomes {after[0]}",
                caption=f"{after[1]:.0%} certain, after {int(result.forwards[i])} queries",
            )
        )
    doubt = measured("one-pixel", result, context.attacked)["reason"]
    hits = len(items)
    return Answer(
        sentence=f"Changing one pixel is enough for {hits} of the {len(rows)} images of which it is least "
        "certain." + ("" if hits else " That is no proof that none would do.") + doubted(doubt),
        how_to_read=f"The ring is drawn about the changed pixel. Found by differential evolution, "
        f"{POPULATION} candidates in at most {GENERATIONS} generations, from scores alone.",
        figures={
            "n": len(rows),
            "hits": hits,
            "queries": result.forwards.double().mean().item(),
        },
        blocks=[Pictures(items=items, columns=3)] if items else [],
        summary=[success("fooled by one pixel, of the least certain", hits, len(rows), ["one-pixel"], doubt)],
    )


def ring(original: Tensor, changed: Tensor) -> Tensor:
    """The changed image (C, H, W), enlarged by a whole number, a ring about each changed pixel."""
    height, width = changed.shape[1:]
    zoom = max(1, -(-ENLARGED // max(height, width)))
    sheet = changed.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    sheet = sheet.expand(3, -1, -1).clone()
    rows = torch.arange(height * zoom, device=sheet.device)[:, None]
    columns = torch.arange(width * zoom, device=sheet.device)[None]
    inner, outer = 1.2 * zoom + 3, 1.2 * zoom + 6
    red = sheet.new_tensor([1.0, 0.1, 0.1])[:, None, None]
    for row, column in (original != changed).any(0).nonzero().tolist():
        y, x = (row + 0.5) * zoom, (column + 0.5) * zoom
        distance = ((rows - y) ** 2 + (columns - x) ** 2).sqrt()
        sheet = torch.where((distance > inner) & (distance < outer), red, sheet)
    return sheet
