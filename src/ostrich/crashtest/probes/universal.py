"""Does one and the same change fool the network on images that nobody has seen?

Moosavi-Dezfooli 2017, "Universal adversarial perturbations", by stochastic gradients, fitted on half of
the images and judged on the other half.
"""

from __future__ import annotations

from ostrich.attacks import Linf, Universal
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Block, Pairs, Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context, budget_text
from ostrich.crashtest.plan import Cost
from ostrich.crashtest.probes.fitted import examples, fit_and_judge
from ostrich.crashtest.summary import doubted
from ostrich.figures.words import in_percent

TITLE = "One change for every image"
LEVEL, EPOCHS = 10, 30  # of 255, the published budget
COST = Cost(forwards=3, gradients=EPOCHS / 2)  # half of the images are fitted on, the others judged
SHOWN = 3  # images


def probe(context: Context) -> Answer:
    """The question of this file."""
    method = Universal(threat=Linf(LEVEL / 255), epochs=EPOCHS)
    found = fit_and_judge(context, method)
    figures, text = found.figures, budget_text("linf", LEVEL / 255)
    if not figures["n"]:
        raise CannotRun("The network gets none of the held-out images right, so there is nothing to break.")
    picture = method.picture(found.artefact.tensors)
    assert picture is not None
    blocks: list[Block] = []
    if picture.shape[0] in (1, 3):
        item = Picture(
            file=context.save("universal", picture),
            title="the change, enlarged",
            caption=f"fitted on {found.n_fitted} images; added to every other",
        )
        blocks.append(Pictures(items=[item], columns=3))
    items = examples(context, found, SHOWN, text)
    return Answer(
        sentence=f"One change of {text} per value, the same for all, fools it on "
        f"{in_percent(figures['success_rate'])} of {figures['n']} images that it was not fitted on "
        f"(random signs: {in_percent(figures['by_chance'])}).{doubted(found.doubt)}",
        how_to_read=f"Fitted on {found.n_fitted} images without their labels, then added to others that the "
        "network gets right. It is a file, universal.safetensors: "
        "`ostrich attack universal MODEL DATA --artefact FILE` adds it to any images.",
        figures=figures,
        blocks=[*blocks, *([Pairs(items=items)] if items else [])],
        summary=found.summary(f"fooled by one change of {text} for all"),
    )
