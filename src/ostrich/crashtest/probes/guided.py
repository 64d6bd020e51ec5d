"""Which structures of the image speak for the predicted class?

Guided backpropagation (Springenberg 2015) beside the gradient.
"""

from __future__ import annotations

from ostrich.attribution import Gradient, Guided, paired
from ostrich.attribution.pictures import magnitude, signed
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context, check_gradient, indices
from ostrich.crashtest.plan import Cost
from ostrich.errors import InputError

TITLE = "Which structures it reads"
EXAMPLES = 3
COST = Cost(fixed_gradients=3.0 * EXAMPLES)  # gradient, rule, and a forward that proves it changes nothing


def probe(context: Context) -> Answer:
    """The question of this file."""
    check_gradient(context.classifier, "it has no gradient to look at")
    rows = indices(context.correct)[:EXAMPLES].cpu()
    if not len(rows):
        raise CannotRun("The network gets none of these images right.")
    images = context.images[rows]
    units = [f"class:{int(k)}" for k in context.logits[rows].argmax(1)]
    try:
        by_rule = paired(Guided(), context.classifier, images, units)
    except InputError as error:
        raise CannotRun(str(error)) from error
    plain = paired(Gradient(), context.classifier, images, units)
    items = []
    for i, row in enumerate(rows.tolist()):
        stem = f"guided-{context.samples.index[row]}"
        name = context.confidences(images[i], 1)[0][0]
        items += [
            Picture(file=context.save(stem, images[i]), title=name, caption="image"),
            Picture(
                file=context.save(f"{stem}-gradient", magnitude(plain[i])), title="gradient", caption=name
            ),
            Picture(file=context.save(f"{stem}-map", signed(by_rule[i])), title="guided", caption=name),
        ]
    return Answer(
        sentence=f"Guided backpropagation of the predicted class beside its gradient, on {len(rows)} images.",
        how_to_read="The guided picture passes only what supports the class at every ReLU, so it shows "
        "shapes. It is known to change little when the upper layers are replaced by random ones: take it "
        "for what the layers see, not for why they decide.",
        figures={"n": len(rows)},
        blocks=[Pictures(items=items, columns=3)],
    )
