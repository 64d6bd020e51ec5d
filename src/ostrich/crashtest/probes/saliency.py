"""Which pixels does the network look at, before and after it is fooled?

The gradient of the predicted class's logit (Simonyan 2014), the largest of the channels, and Grad-CAM
(Selvaraju 2017), which is coarse, each for what the network sees in the image at hand.
"""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from ostrich.attacks import PGD, Linf, Untargeted
from ostrich.attribution import Explainer, GradCAM, Gradient, explain
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context, check_gradient, indices
from ostrich.crashtest.plan import Cost
from ostrich.errors import InputError
from ostrich.models.answers import NO_ANSWER, predictions

TITLE = "What it looks at"
COST = Cost(fixed_gradients=3 * 40.0)
EXAMPLES = 3
METHODS: tuple[Explainer, ...] = (Gradient(), GradCAM())
THREAT = Linf(8 / 255)


def probe(context: Context) -> Answer:
    """The question of this file."""
    check_gradient(context.classifier, "it has no gradient to look at")
    right = indices(context.correct)[:EXAMPLES].cpu()
    if not len(right):
        raise CannotRun("The network gets none of these images right.")
    result = context.attack(PGD(threat=THREAT), right, Untargeted(context.labels[right]))
    items: list[Picture] = []
    alike: dict[str, list[float]] = {method.name: [] for method in METHODS}
    for i, row in enumerate(right.tolist()):
        found = []
        for what, image in (("clean", result.originals[i]), ("fooled", result.images[i])):
            if what == "fooled" and not result.success[i]:
                continue
            found.append(_maps(context, image))
            name = context.confidences(image, 1)[0][0]
            stem = f"saliency-{context.samples.index[row]}-{what}"
            items.append(Picture(file=context.save(stem, image), title=name, caption=what))
            for method, one in found[-1].items():
                file = context.save(f"{stem}-{method}", _shown(one))
                items.append(Picture(file=file, title=method, caption=name))
        if len(found) == 2:
            for method in alike:
                if all(method in maps for maps in found):
                    alike[method].append(_correlation(found[0][method], found[1][method]))
    means = {method: sum(own) / len(own) if own else None for method, own in alike.items()}
    told = [f"{mean:.2f} ({method})" for method, mean in means.items() if mean is not None]
    moved = f" From the clean to the fooled image the maps correlate by {' and '.join(told)}." if told else ""
    return Answer(
        sentence=f"The pixels that move the predicted class most, on {len(right)} images.{moved}",
        how_to_read="Bright pixels move the predicted class most; it is a sensitivity, not a reason, and "
        "gradients of an ordinary network are grainy. A correlation near 1 means that the network looks at "
        "the same place and sees another thing there.",
        figures={"n": len(right), **{f"correlation_{method}": mean for method, mean in means.items()}},
        blocks=[Pictures(items=items, columns=2 * (1 + len(METHODS)))],
    )


def _maps(context: Context, image: Tensor) -> dict[str, Tensor]:
    """Each method's map (H, W) for the class that is predicted for one image (C, H, W); none without one."""
    found: dict[str, Tensor] = {}
    if (predicted := int(predictions(context.classifier.predict(image[None])))) == NO_ANSWER:
        return found
    units = [f"class:{predicted}"]
    for method in METHODS:
        with suppress(InputError):  # a network without a layer that Grad-CAM could read
            found[method.name] = explain(method, context.classifier, image[None], units)[0, 0].abs().amax(0)
    return found


def _shown(found: Tensor) -> Tensor:
    """A map (H, W) as a grey picture (1, H, W); the top percent is white."""
    top = torch.quantile(found.flatten().float(), 0.99).clamp_min(1e-12)
    return (found / top).clamp(0, 1)[None]


def _correlation(a: Tensor, b: Tensor) -> float:
    pair = torch.stack([a.flatten(), b.flatten()])
    return float(torch.corrcoef(pair)[0, 1].nan_to_num(0))
