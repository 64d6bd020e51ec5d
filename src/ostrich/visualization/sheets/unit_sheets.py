"""A unit's sheet: what it prefers, what excites it most, and what in that does.

The figure of Zeiler and Fergus 2014 (figure 2), with the preferred image of Erhan 2009 beside it: the
images that excite the unit most, cut to what it sees of them, and below each what deconvnet and
guided backpropagation bring back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostrich.attribution import Deconvnet, Gradient, Guided
from ostrich.attribution.question import Explainer, paired
from ostrich.errors import InputError
from ostrich.inspection.units import Unit
from ostrich.models.classifier import Classifier
from ostrich.runtime.events import Progress, silent
from ostrich.visualization.activation_maximization import ascend
from ostrich.visualization.ascent import Ascent
from ostrich.visualization.presets import PRESET, PRESETS
from ostrich.visualization.responses import Box, Response, receptive_field, respond

TOP = 9  # images, as in their figure
METHODS: tuple[Explainer, ...] = (Deconvnet(), Guided())


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What is on one unit's sheet; K is TOP or the number of images with a finite value, if that is less.

    `response` is the unit's, to all images. `preferred` (C, H, W); `images` (K, C, H, W) are the images that
    excite the unit most, `places` which of all they are, `boxes` what it sees of them; `maps` names methods,
    each with its maps (K, C, H, W) of the neurons that answered. Where no ReLU lies before the unit, for
    deconvnet and guided backpropagation to act on, there is the gradient instead.
    """

    response: Response
    preferred: Tensor
    images: Tensor
    places: tuple[int, ...]
    boxes: tuple[Box, ...]
    maps: dict[str, Tensor]


def unit_sheets(
    classifier: Classifier,
    images: Callable[[int, int], Tensor],
    count: int,
    units: Sequence[Unit | str],
    settings: Ascent = PRESETS[PRESET],
    *,
    top: int = TOP,
    batch: int = 64,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Sheet]:
    """One sheet for each of `units`; `images(start, stop)` are (N, C, H, W) of `count`.

    `settings` say how its preferred image is climbed to, `top` how many images are shown, `batch` how many go
    through the network together.
    Raises InputError for a unit that does not exist, for no image that it has a finite value for, and for a
    prediction function.
    """
    if top < 1:
        raise InputError(f"A sheet shows at least one image; got {top}.")

    def part(start: int, stop: int) -> Tensor:
        return images(start, stop).to(classifier.device, classifier.image_dtype)

    preferred = ascend(classifier, units, settings, seed=seed, progress=progress).images
    batches = (part(start, min(count, start + batch)) for start in range(0, count, batch))
    responses = respond(classifier, batches, units, seed=seed)
    strongest = [response.strongest(top) for response in responses]
    for response, own in zip(responses, strongest, strict=True):
        if not own:
            raise InputError(f"{response.unit} has a finite value for none of the {count} images.")
    answered = [[r.neurons[place] for place in own] for r, own in zip(responses, strongest, strict=True)]
    boxes = iter(receptive_field(classifier, [neuron for own in answered for neuron in own]))
    found = []
    for response, image, places, neurons in zip(responses, preferred, strongest, answered, strict=True):
        shown = torch.cat([part(place, place + 1) for place in places])
        found.append(
            Sheet(
                response=response,
                preferred=image,
                images=shown,
                places=tuple(places),
                boxes=tuple(next(boxes) for _ in neurons),
                maps=_maps(classifier, shown, neurons, seed),
            )
        )
    return found


def _maps(classifier: Classifier, images: Tensor, neurons: Sequence[Unit], seed: int) -> dict[str, Tensor]:
    """Each method's maps of neurons[i] at images[i]."""

    def maps(*methods: Explainer) -> dict[str, Tensor]:
        return {one.name: paired(one, classifier, images, neurons, seed=seed) for one in methods}

    try:
        return maps(*METHODS)
    except InputError:  # no ReLU lies before these neurons
        return maps(Gradient())
