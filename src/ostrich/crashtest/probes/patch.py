"""Does a picture that lies somewhere in the image make the network see what it wants?

Brown 2017, "Adversarial patch": fitted on half of the images, at random places, and judged on the other
half at places drawn anew.
"""

from __future__ import annotations

from ostrich.attacks import AdversarialPatch, Patch, targets
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Block, Pairs, Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.plan import Cost
from ostrich.crashtest.probes.fitted import examples, fit_and_judge
from ostrich.crashtest.summary import doubted
from ostrich.figures.words import in_percent

TITLE = "A patch, wherever it lies"
AREA, EPOCHS = 0.08, 40
COST = Cost(forwards=3, gradients=EPOCHS / 2)  # half of the images are fitted on, the others judged
SHOWN = 3  # images
TARGET = "ostrich"


def probe(context: Context) -> Answer:
    """The question of this file."""
    classifier = context.classifier
    if classifier.num_classes < 2:
        raise CannotRun("The network has one class only.")
    names = classifier.class_names or ()
    able = targets.possible(targets.off_anywhere(context.logits))[0].nonzero()[:, 0].tolist()
    target = next((k for k in able if names and names[k] == TARGET), able[0])
    method = AdversarialPatch(threat=Patch(AREA), epochs=EPOCHS)
    found = fit_and_judge(context, method, target)
    figures, name = found.figures, classifier.class_name(target)
    if not figures["n"]:
        raise CannotRun(f"No held-out image is right and of another class than {name}: nothing to turn.")
    blocks: list[Block] = []
    picture = method.picture(found.artefact.tensors)
    assert picture is not None
    if picture.shape[0] in (1, 3):
        item = Picture(
            file=context.save("patch", picture),
            title=f"the patch: {name}",
            caption=f"fitted on {found.n_fitted} images of other classes",
        )
        blocks.append(Pictures(items=[item], columns=3))
    items = examples(context, found, SHOWN, f"{AREA:.0%} of the area")
    return Answer(
        sentence=f"A patch on {AREA:.0%} of the image turns {in_percent(figures['success_rate'])} of "
        f"{figures['n']} images that it was not fitted on into {name}, wherever it lies "
        f"(random colours: {in_percent(figures['by_chance'])}).{doubted(found.doubt)}",
        how_to_read=f"Fitted on {found.n_fitted} images of other classes, turned and placed at random; "
        "judged on others, at one new place each. It is a file, patch.safetensors: "
        "`ostrich attack patch MODEL DATA --artefact FILE` lays it on any images, and "
        "`--set print_width=12cm` prints one.",
        figures={**figures, "target": name},
        blocks=[*blocks, *([Pairs(items=items)] if items else [])],
        summary=found.summary(f"turned into {name} by a patch on {AREA:.0%}"),
    )
