"""Do adversarial images survive being printed and photographed?

Kurakin 2017, "Adversarial examples in the physical world", with simulated paper and camera: the fast
method's images, and the part of them that is destroyed, as a whole and by each transformation alone.
"""

from __future__ import annotations

import torch

from ostrich.attacks import Linf, Printed, Untargeted
from ostrich.attacks.engine.figures import measured
from ostrich.attacks.physical.printed import survival
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Pairs, Table
from ostrich.crashtest.context import CannotRun, Context, budget_text, check_gradient
from ostrich.crashtest.plan import Cost
from ostrich.crashtest.summary import doubted, success
from ostrich.figures.words import in_percent
from ostrich.images import fingerprints
from ostrich.statistics import wilson

TITLE = "Printed and photographed"
LEVEL = 16  # of 255
COST = Cost(forwards=24, gradients=1)  # photographs of both, whole and by each of seven parts
SHOWN = 3  # images


def probe(context: Context) -> Answer:
    """The question of this file."""
    check_gradient(context.classifier, "there is no gradient to follow")
    if context.classifier.channels not in (1, 3):
        raise CannotRun(f"The images have {context.classifier.channels} channels: they cannot be printed.")
    rows = torch.tensor(context.rows("printed"))
    right = rows[context.correct.cpu()[rows]]
    if not len(right):
        raise CannotRun("The network gets none of these images right, so there is nothing to break.")
    method, goal = Printed(threat=Linf(LEVEL / 255), attack="fgsm"), Untargeted(context.labels[right])
    result = context.attack(method, right, goal)
    found = survival(method, context.classifier, goal, result, context.seed)
    doubt = measured("printed", result, context.attacked)["reason"]
    hits, n, text = int(result.success.sum()), len(right), budget_text("linf", LEVEL / 255)
    items = []
    for i in result.success.nonzero()[:, 0].tolist()[:SHOWN]:
        key, stem = fingerprints(result.originals[i : i + 1]), context.samples.index[int(right[i])]
        before, after = (
            method.photographed(x[i : i + 1], key, context.seed)[0] for x in (result.originals, result.images)
        )
        items.append(context.comparison(f"printed-{stem}", before, after, f"{text}, printed", LEVEL / 255))
    table = [
        [name, _percent(destroyed), _percent(found["clean_kept"][name])]
        for name, destroyed in found["destruction_rate"].items()
    ]
    destroyed = found["destruction_rate"]["photograph"]
    return Answer(
        sentence=f"Changed by {text} per value in one step, then printed and photographed in simulation, "
        f"{in_percent(hits / n)} of {n} images fool it"
        + (
            "."
            if destroyed is None
            else f"; the photograph undoes {in_percent(destroyed)} of those that fool as files."
        )
        + doubted(doubt),
        how_to_read="Photographs, before and after: the same paper, the same camera. An image counts where "
        "its own photograph is seen right. Below, what each part of printing and photographing undoes of the "
        "adversarial images, and how many clean ones stay right under it.",
        figures={
            "n": n,
            "eps": LEVEL / 255,
            "success_rate": hits / n,
            "interval": list(wilson(hits, n)),
            "reason": doubt,
            **found,
        },
        blocks=[
            *([Pairs(items=items)] if items else []),
            Table(columns=["part", "undone", "clean images right"], rows=table),
        ],
        summary=[success(f"fooled by photographs of prints, changed by {text}", hits, n, ["printed"], doubt)],
    )


def _percent(part: float | None) -> str:
    return "-" if part is None else in_percent(part)
