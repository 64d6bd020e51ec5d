"""Which pixels does the network look at, before and after it is fooled?

The gradient of the predicted class's logit (Simonyan 2014), the largest of the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks import PGD, Linf, Untargeted
from ostrich.attribution import gradient
from ostrich.crashtest.context import Answer, CannotRun, Context, indices

TITLE = "What it looks at"
FORWARDS, GRADIENTS = 0.0, 0.0
FIXED_GRADIENTS = 3 * 40.0  # images
EXAMPLES = 3
THREAT = Linf(8 / 255)


def probe(context: Context) -> Answer:
    """The question of this file."""
    if context.classifier.access != "gradient":
        raise CannotRun("This is a prediction function: it has no gradient to look at.")
    right = indices(context.correct)[:EXAMPLES].cpu()
    if not len(right):
        raise CannotRun("The network gets none of these images right.")
    result = context.attack(PGD(threat=THREAT), right, Untargeted(context.labels[right]))
    items, agreement = [], []
    for i, row in enumerate(right.tolist()):
        maps = []
        for what, image in (("clean", result.originals[i]), ("fooled", result.images[i])):
            if what == "fooled" and not result.success[i]:
                continue
            found = saliency(context, image)
            maps.append(found)
            name = context.confidences(image, 1)[0][0]
            stem = f"saliency-{context.samples.index[row]}-{what}"
            items.append({"file": context.save(stem, image), "title": name, "caption": what})
            items.append(
                {"file": context.save(f"{stem}-map", _shown(found)), "title": "gradient", "caption": name}
            )
        if len(maps) == 2:
            agreement.append(_correlation(*maps))
    mean = sum(agreement) / len(agreement) if agreement else None
    told = (
        f" Between the clean and the fooled image they correlate by {mean:.2f}." if mean is not None else ""
    )
    return Answer(
        sentence=f"The pixels that move the predicted class most, on {len(right)} images.{told}",
        how_to_read="Bright pixels move the predicted class most; it is a sensitivity, not a reason, and "
        "gradients of an ordinary network are grainy.",
        figures={"n": len(right), "correlation": mean},
        blocks=[{"kind": "pictures", "items": items, "columns": 4}],
    )


def saliency(context: Context, image: Tensor) -> Tensor:
    """The gradient's size (H, W) for the class that is predicted for one image (C, H, W)."""
    predicted = int(context.classifier(image[None]).argmax(1))
    found = gradient(context.classifier, image[None], [f"class:{predicted}"])[0]
    return found.abs().amax(0)


def _shown(found: Tensor) -> Tensor:
    """A map (H, W) as a grey picture (1, H, W); the top percent is white."""
    top = torch.quantile(found.flatten().float(), 0.99).clamp_min(1e-12)
    return (found / top).clamp(0, 1)[None]


def _correlation(a: Tensor, b: Tensor) -> float:
    pair = torch.stack([a.flatten(), b.flatten()])
    return float(torch.corrcoef(pair)[0, 1].nan_to_num(0))
