"""What a unit responds to: how strongly, to which images, and to which part of them.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4: of all
images those that excite a feature map most, each by the one place where it does so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostrich.attribution.question import begun_at, keys
from ostrich.attribution.relu_rules import REDIRECTED, ReluRule
from ostrich.errors import InputError
from ostrich.inspection.units import Unit, laid, look, parse, read, values
from ostrich.models.classifier import Classifier
from ostrich.models.untouched import untouched
from ostrich.runtime.randomness import keyed, seed_of

NOISES = 8  # images of noise that a receptive field is read from
PURPOSE = 0x5245  # of random numbers
Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two lie outside


@dataclass(frozen=True, kw_only=True)
class Response:
    """A unit's response to N images.

    `values` (N,) are its values; of a channel the highest on its map, not the mean. `neurons` are the
    N units that had them: of a channel the neuron at that place, else the unit itself.
    """

    unit: Unit
    values: Tensor
    neurons: tuple[Unit, ...]

    def strongest(self, count: int) -> list[int]:
        """The places of the `count` images with the highest finite values, the highest first."""
        finite = self.values.isfinite()
        ordered = torch.where(finite, self.values, -torch.inf).argsort(descending=True, stable=True)
        return ordered[: min(count, int(finite.sum()))].tolist()


def respond(
    classifier: Classifier, batches: Iterable[Tensor], units: Sequence[Unit | str], *, seed: int = 0
) -> list[Response]:
    """How units respond to batches of images (N, C, H, W): one forward each, ending at their last layer.

    Where answers are random they respond as the mean of the classifier's `draws`, which `seed` decides.
    Raises InputError for a unit that does not exist, or where there is no image.
    """
    asked = [parse(unit) if isinstance(unit, str) else unit for unit in units]
    found: list[list[Tensor]] = [[] for _ in asked]
    places: list[list[Unit]] = [[] for _ in asked]
    with untouched(classifier.network), torch.no_grad():
        for images in batches:
            for i, (unit, output) in enumerate(zip(asked, _outputs(classifier, images, asked, seed))):
                if output.ndim == 1:
                    found[i].append(output)
                    places[i] += [unit] * len(images)
                    continue
                highest, place = output.flatten(1).max(1)
                found[i].append(highest)
                width = output.shape[2]
                places[i] += [_neuron(unit, divmod(at, width)) for at in place.tolist()]
    if not asked or not found[0]:
        raise InputError("A response needs at least one unit and one image.")
    return [
        Response(unit=unit, values=torch.cat(own), neurons=tuple(neurons))
        for unit, own, neurons in zip(asked, found, places, strict=True)
    ]


def _outputs(classifier: Classifier, images: Tensor, units: Sequence[Unit], seed: int) -> list[Tensor]:
    """Of each unit its values (N,), of a channel with a map that map (N, H, W); the means over draws."""
    if classifier.draws == 1:
        return _once(classifier, images, units)
    each = []
    for image, key in zip(images.split(1), keys(images), strict=True):
        with begun_at(seed_of(seed, PURPOSE, key), classifier):
            drawn = [_once(classifier, image.clone(), units) for _ in range(classifier.draws)]
        each.append([torch.stack(own).mean(0) for own in zip(*drawn)])
    return [torch.cat(own) for own in zip(*each)]


def _once(classifier: Classifier, images: Tensor, units: Sequence[Unit]) -> list[Tensor]:
    seen = look(classifier, images, units)
    found = list(read(classifier, seen, units))
    for i, unit in enumerate(units):
        output = None if unit.is_output or unit.position else laid(classifier, seen, unit.layer)
        if output is not None and output.ndim == 4:
            found[i] = output[:, int(unit.index)]
    return found


def receptive_field(classifier: Classifier, units: Sequence[Unit | str]) -> list[Box]:
    """The box of pixels that can move each of `units`, as the network itself shows it.

    It is (top, left, bottom, right), the smallest that holds every pixel with a gradient, for several images
    of noise, where ReLUs that block a whole image let it pass; a pixel that max pooling overlooks in all of
    them is missed. Of a class, and where there is no gradient at all, it is the whole image. Raises
    InputError for a unit that does not exist.
    """
    asked = [parse(unit) if isinstance(unit, str) else unit for unit in units]
    distinct = list(dict.fromkeys(unit for unit in asked if not unit.is_output))
    height, width = classifier.size or (224, 224)
    whole = (0, 0, height, width)
    if not distinct or classifier.access != "gradient":
        return [whole] * len(asked)
    noise = torch.rand(NOISES, classifier.channels, height, width, generator=keyed(PURPOSE))
    with untouched(classifier.network), torch.enable_grad():
        leaf = noise.to(classifier.device, classifier.image_dtype).requires_grad_(True)
        with ReluRule(REDIRECTED), begun_at(seed_of(PURPOSE), classifier):
            computed = values(classifier, leaf.clone(), distinct)  # a clone: a network may change its input
        boxes = {unit: _box(own, leaf) or whole for unit, own in zip(distinct, computed, strict=True)}
    return [boxes.get(unit, whole) for unit in asked]


def _box(computed: Tensor, leaf: Tensor) -> Box | None:
    """Where the gradient of values (N,) at images (N, C, H, W) is not zero."""
    if not computed.requires_grad:
        return None
    (slope,) = torch.autograd.grad(computed.sum(), leaf, retain_graph=True, allow_unused=True)
    if slope is None or not slope.any():
        return None
    touched = slope.ne(0).any(0).any(0)
    rows, columns = touched.any(1).nonzero()[:, 0], touched.any(0).nonzero()[:, 0]
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _neuron(unit: Unit, place: tuple[int, int]) -> Unit:
    return parse(f"{unit.layer}:{unit.index}@{place[0]},{place[1]}")
