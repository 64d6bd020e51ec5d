"""What teaches a generator to invert: a frozen encoder, whose layer is the code, and a frozen comparator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError
from ostrich.generative.architectures import build_gan
from ostrich.generative.codes import Observed
from ostrich.generative.features import BATCH, fitted
from ostrich.generative.gan import GAN
from ostrich.generative.projected import project
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.inspection.watching import observe
from ostrich.models import Classifier, load
from ostrich.models.untouched import untouched
from ostrich.published import published

DEVIATIONS = published("dgn-am/deviations").value  # beyond the mean: the end of a code unit's range
DEAD = 1e-6  # deviation over the largest value: below, a code unit does not vary


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """`layer` of `encoder`, averaged to cells x cells where it is a map, is the code in the measure of
    `observed`; images are alike where they are alike in `compared`, a layer of `comparator`.
    """

    encoder: Classifier
    layer: str
    cells: int
    comparator: Classifier
    compared: str
    observed: Observed

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, Z) of images (N, C, H, W) in [-1, 1], and the features by which they are compared.

        Where encoder and comparator are one network, it is one forward.
        """
        layers = {self.layer, self.compared} if self.comparator is self.encoder else {self.layer}
        seen = _seen(self.encoder, layers, images)
        if self.comparator is not self.encoder:
            compared = _seen(self.comparator, {self.compared}, images)[self.compared]
        else:
            compared = seen[self.compared]
        raw = coded(seen[self.layer], self.cells).float()
        return raw / self.observed.unit, compared.float()

    @torch.no_grad()
    def measure_codes(self, pixels: Tensor) -> None:
        """Write into `observed` how each number of the code varies over images uint8 (N, C, H, W).

        Its unit is its standard deviation; its range what was seen, within three of these of the mean.
        """
        seen = []
        for part in pixels.split(BATCH):
            images = part.to(self.encoder.device).float() / 127.5 - 1
            seen.append(coded(_seen(self.encoder, {self.layer}, images)[self.layer], self.cells).float())
        raw = torch.cat(seen)
        deviation = raw.std(0, correction=0)
        unit = torch.where(deviation > DEAD * raw.abs().amax(0), deviation, 1).half().float()
        raw, deviation = raw / unit, deviation / unit  # `unit` as it is stored, in half precision
        mean, kept = raw.mean(0), self.observed
        kept.unit.copy_(unit)
        kept.mean.copy_(mean)
        kept.low.copy_(torch.maximum(raw.amin(0), mean - DEVIATIONS * deviation))
        kept.high.copy_(torch.minimum(raw.amax(0), mean + DEVIATIONS * deviation))

    def losses(self, generated: Tensor, real: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """How far images (N, C, H, W) in [-1, 1] are from the real ones: in pixels, and in features.

        Pixels: mean squared difference. Features: the same over the variance of `features`, those of the
        real images, so that always showing the mean feature costs about 1.
        """
        got = _seen(self.comparator, {self.compared}, generated)[self.compared].float()
        scale = features.var(0, correction=0).mean().clamp_min(1e-12)
        return F.mse_loss(generated.float(), real), F.mse_loss(got, features) / scale

    @torch.no_grad()
    def errors(self, made: Tensor, real: Tensor) -> dict[str, float]:
        """Of images in [0, 1]: the root mean square difference of pixels, and the share of the variance of
        the comparator's features that is missed.
        """
        device = self.comparator.device
        again, true = 2 * made.to(device) - 1, 2 * real.to(device) - 1
        pixels, features = self.losses(again, true, self.encode(true)[1])
        return {"pixel_error": pixels.item() ** 0.5 / 2, "feature_error": features.item()}


def build_for(recipe: GeneratorRecipe, device: torch.device) -> tuple[GAN, str]:
    """The untrained GAN of a recipe, with the networks that train it, and its whole architecture.

    The architecture of a generator that inverts is completed by the shape of its code. Raises InputError.
    """
    if recipe.encoder is None or recipe.layer is None:
        gan = build_gan(recipe.architecture)
        if recipe.projected is not None:
            through = load(recipe.projected, device=device)
            project(gan, through, recipe.heads, guided=recipe.guidance > 0)
        return gan.to(device), recipe.architecture
    encoder = load(recipe.encoder, device=device)
    comparator = encoder if recipe.comparator is None else load(recipe.comparator, device=device)
    compared = recipe.comparator_layer or recipe.layer
    _shape(comparator, compared)
    code, cells = shape_of_code(encoder, recipe.layer, recipe.cells)
    architecture = f"{recipe.architecture},code={code},cells={cells}"
    gan = build_gan(architecture).to(device)
    assert gan.codes.observed is not None
    gan.teacher = Teacher(
        encoder=encoder,
        layer=recipe.layer,
        cells=cells,
        comparator=comparator,
        compared=compared,
        observed=gan.codes.observed,
    )
    fitted(torch.zeros(1, *gan.shape), encoder)
    fitted(torch.zeros(1, *gan.shape), comparator)
    return gan, architecture


def shape_of_code(encoder: Classifier, layer: str, cells: int) -> tuple[int, int]:
    """The code's channels and the side of its map, 0 for a vector. Raises InputError, UnknownName."""
    shape = _shape(encoder, layer)
    if len(shape) not in (1, 3):
        raise InputError(f"Layer {layer!r} returns {shape} for an image; a code is (C,) or (C, H, W).")
    if len(shape) == 1 or cells == 0:
        return shape[0], 0
    if cells > min(shape[1:]):
        raise InputError(
            f"Layer {layer!r} has a map of {shape[1]}x{shape[2]}, which is not averaged to {cells}x{cells} "
            "cells: set fewer."
        )
    return shape[0], cells


def coded(seen: Tensor, cells: int) -> Tensor:
    """What a layer returned, (N, C) or (N, C, H, W), as raw codes (N, Z)."""
    return F.adaptive_avg_pool2d(seen, max(1, cells)).flatten(1) if seen.ndim == 4 else seen


@torch.no_grad()
def _shape(network: Classifier, layer: str) -> tuple[int, ...]:
    height, width = network.size or (224, 224)
    grey = torch.zeros(1, network.channels, height, width, device=network.device)
    return tuple(_seen(network, {layer}, grey)[layer].shape[1:])


def _seen(network: Classifier, layers: set[str], images: Tensor) -> dict[str, Tensor]:
    """What layers return for images in [-1, 1], at the network's own size."""
    with untouched(network.network):
        return observe(network, fitted((images + 1) / 2, network), layers).outputs
