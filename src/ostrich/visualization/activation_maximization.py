"""Activation maximisation: gradient ascent on the image, for one unit.

Erhan 2009; Simonyan 2014, section 2; here after Yosinski, Clune, Nguyen, Fuchs, Lipson 2015,
"Understanding neural networks through deep visualization", section 3: from noise about the mean
colour m, each step goes up the unit's gradient g and is then regularised,

    x <- x + step_size * g / mean|g|
    x <- m + (1 - decay) * (x - m)             L2 decay, towards the mean colour
    x <- gaussian(x, blur_sigma)               every blur_every-th step

and clipped to the range of images. Their step is a constant for each network, in units of 0..255;
here the gradient is divided by its mean size (as DGN-AM does, Nguyen 2016), so that one number
serves every network and unit. Returned is, as in theirs, the best image on the way.

A unit that is dead for the noise (SqueezeNet's classes lie behind a ReLU) has no slope at all; it is
shown the way by `REDIRECTED` ReLUs until it has one.

Every unit climbs by itself: its step has its own scale, and all begin at the same noise. So a
unit's image does not depend on which others are computed beside it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.attribution.relu_rules import REDIRECTED, ReluRule
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.networks import untouched
from ostrich.units import Unit, resolve, values

VALUES_PER_BATCH = 16 * 3 * 224 * 224  # pixels times channels of the units that climb side by side
TRUNCATE = 4.0  # where the blur's kernel ends, in standard deviations: scipy's gaussian_filter
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """How to climb. Sizes are in units of images in [0, 1]."""

    steps: int = 256
    step_size: float = 4 / 255  # mean absolute change of a value in a step
    decay: float = 0.0  # part of the distance to the mean colour that a step takes back
    blur_sigma: float = 0.0  # pixels; 0: no blur
    blur_every: int = 4  # steps; Yosinski 2015, table 1
    start: float = 10 / 255  # standard deviation of the noise; their code

    def __post_init__(self) -> None:
        if self.steps < 1 or self.blur_every < 1:
            raise InputError(f"steps and blur_every are at least 1; got {self.steps} and {self.blur_every}.")
        if not 0 <= self.decay < 1:
            raise InputError(f"decay is a part of 1, from 0 up to below 1; got {self.decay}.")
        for name in ("step_size", "blur_sigma", "start"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is a number from 0 up; got {getattr(self, name)}.")
        if self.step_size == 0:
            raise InputError("step_size is above 0; got 0.")


PRESETS = {
    "plain": Ascent(),
    "decay-blur": Ascent(decay=0.01, blur_sigma=0.5),  # sigma: Yosinski 2015, table 1, first row
}


@dataclass(frozen=True, kw_only=True)
class Preferred:
    """`images` (U, C, H, W): for each unit the best image met; `trace` (steps, U): the units' values."""

    images: Tensor
    trace: Tensor


def ascend(
    classifier: Classifier,
    units: Sequence[Unit | str],
    settings: Ascent = PRESETS["decay-blur"],
    *,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> Preferred:
    """Climb each of U units from noise; the forward ends at the unit's layer.

    `trace[0]` is the value of the noise, and the last image is not changed any more, so a run of
    `steps` takes as many forwards. Raises InputError for a prediction function or unknown units.
    """
    if classifier.access != "gradient":
        raise InputError(f"{classifier.name} is only a prediction function: there is no slope to climb.")
    if not units:
        raise InputError("No unit is given; `ostrich list units MODEL` lists the layers.")
    resolved = [resolve(classifier, unit) for unit in units]
    start = _start(classifier, settings, seed)
    images = start.expand(len(resolved), -1, -1, -1).clone()
    trace = torch.zeros(settings.steps, len(resolved), dtype=start.dtype, device=start.device)
    batches = _batches(resolved, start.numel())
    with untouched(classifier.network):
        for number, rows in enumerate(batches):
            group = [resolved[row] for row in rows]

            def tick(step: int, number: int = number) -> None:
                progress(number * settings.steps + step, len(batches) * settings.steps)

            images[rows], trace[:, rows] = _climb(classifier, group, images[rows], settings, tick)
    return Preferred(images=images, trace=trace)


def _climb(
    classifier: Classifier, units: list[Unit], x: Tensor, settings: Ascent, tick: Callable[[int], None]
) -> tuple[Tensor, Tensor]:
    """Units of one layer, from x (U, C, H, W): the best images and the trace (steps, U)."""
    mean = _mean(classifier, x)
    best, best_value = x.clone(), x.new_full((len(units),), -math.inf)
    trace = []
    for step in range(settings.steps):
        value, slope = _slope(classifier, units, x)
        better = value > best_value
        best[better], best_value[better] = x[better], value[better]
        trace.append(value)
        tick(step + 1)
        if step + 1 == settings.steps:
            break
        dead = ~slope.flatten(1).any(1)
        if dead.any():
            ones = [unit for unit, is_dead in zip(units, dead.tolist(), strict=True) if is_dead]
            with ReluRule(REDIRECTED):
                slope[dead] = _slope(classifier, ones, x[dead])[1]
        size = slope.abs().mean((1, 2, 3), keepdim=True)
        x = x + settings.step_size * torch.where(size > 0, slope / size, 0)
        x = mean + (1 - settings.decay) * (x - mean)
        if settings.blur_sigma > 0 and (step + 1) % settings.blur_every == 0:
            x = gaussian(x, settings.blur_sigma)
        x = x.clamp(0, 1)
    return best, torch.stack(trace)


def _slope(classifier: Classifier, units: list[Unit], images: Tensor) -> tuple[Tensor, Tensor]:
    """units[i] at images[i]: the values (U,) and their gradients (U, C, H, W)."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        own = values(classifier, leaf.clone(), units).diagonal()  # (U, U), of which each unit's own image
        if not own.requires_grad:
            raise InputError(f"{classifier.name} cuts the gradient between the image and {units[0]}.")
        (slope,) = torch.autograd.grad(own.sum(), leaf)
    return own.detach(), torch.where(slope.isfinite(), slope, 0)


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Images (N, C, H, W) blurred; sigma in pixels. At the edge they are mirrored, edge pixel included."""
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images)
    count, channels, height, width = images.shape
    flat = images.reshape(count * channels, 1, height, width)
    flat = F.conv2d(flat[:, :, _mirrored(height, radius)], kernel.view(1, 1, -1, 1))
    flat = F.conv2d(flat[:, :, :, _mirrored(width, radius)], kernel.view(1, 1, 1, -1))
    return flat.view_as(images)


def _mirrored(length: int, radius: int) -> Tensor:
    """Places -radius ... length + radius - 1 of a line that is mirrored at its ends: b a | a b c | c b."""
    places = torch.arange(-radius, length + radius) % (2 * length)
    return torch.minimum(places, 2 * length - 1 - places)


def _start(classifier: Classifier, settings: Ascent, seed: int) -> Tensor:
    """Noise (1, C, H, W) about the mean colour; the same for every unit."""
    height, width = classifier.size or (224, 224)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, classifier.channels, height, width, generator=generator, dtype=torch.float64)
    noise = noise.to(device=classifier.device, dtype=classifier.dtype)
    return (_mean(classifier, noise) + settings.start * noise).clamp(0, 1)


def _mean(classifier: Classifier, like: Tensor) -> Tensor:
    """The colour (1, C, 1, 1) that the network's preprocessing makes zero, middle grey where none is."""
    return like.new_tensor(classifier.mean or (0.5,)).view(1, -1, 1, 1).clamp(0, 1)


def _batches(units: Sequence[Unit], values_each: int) -> list[list[int]]:
    """The places of the units, by layer, as many together as fit into memory."""
    layers: dict[str, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        layers["class" if unit.is_output else unit.layer].append(place)
    size = max(1, VALUES_PER_BATCH // values_each)
    return [rows[i : i + size] for rows in layers.values() for i in range(0, len(rows), size)]
