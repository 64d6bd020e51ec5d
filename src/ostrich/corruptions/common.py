"""The fifteen common corruptions by name, and how one is applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ostrich.corruptions import blur, digital, noise, weather
from ostrich.corruptions.draws import Draws
from ostrich.corruptions.severity import Settings
from ostrich.errors import InputError, UnknownName
from ostrich.images import LEVELS, check_images, fingerprints

SEVERITIES = (1, 2, 3, 4, 5)
BELOW = 1e-3  # of a level: rounding of the arithmetic, not of the image


@dataclass(frozen=True)
class Corruption:
    """A function `change(images, draws, **settings)`, and its settings."""

    change: Callable[..., Tensor]
    settings: Settings


_TABLE: dict[str, dict[str, Corruption]] = {  # by family, in the paper's order
    "noise": {
        "gaussian_noise": Corruption(noise.gaussian_noise, noise.GAUSSIAN),
        "shot_noise": Corruption(noise.shot_noise, noise.SHOT),
        "impulse_noise": Corruption(noise.impulse_noise, noise.IMPULSE),
    },
    "blur": {
        "defocus_blur": Corruption(blur.defocus_blur, blur.DEFOCUS),
        "glass_blur": Corruption(blur.glass_blur, blur.GLASS),
        "motion_blur": Corruption(blur.motion_blur, blur.MOTION),
        "zoom_blur": Corruption(blur.zoom_blur, blur.ZOOM),
    },
    "weather": {
        "snow": Corruption(weather.snow, weather.SNOW),
        "frost": Corruption(weather.frost, weather.FROST),
        "fog": Corruption(weather.fog, weather.FOG),
        "brightness": Corruption(weather.brightness, weather.BRIGHTNESS),
    },
    "digital": {
        "contrast": Corruption(digital.contrast, digital.CONTRAST),
        "elastic_transform": Corruption(digital.elastic_transform, digital.ELASTIC),
        "pixelate": Corruption(digital.pixelate, digital.PIXELATE),
        "jpeg_compression": Corruption(digital.jpeg_compression, digital.JPEG),
    },
}
_ALL = {name: one for family in _TABLE.values() for name, one in family.items()}
NAMES = tuple(_ALL)
FAMILIES = {family: tuple(members) for family, members in _TABLE.items()}


def corrupt(
    images: Tensor, name: str, severity: int, *, seed: int = 0, keys: Sequence[int] | None = None
) -> Tensor:
    """Images (N, C, H, W) in [0, 1] under one common corruption, on the 8-bit grid; same shape and dtype.

    `name` is one of `NAMES`, `severity` 1 to 5. Hendrycks and Dietterich 2019, "Benchmarking neural network
    robustness to common corruptions and perturbations", with the settings of ImageNet-C for 224 pixels and of
    CIFAR-10-C for 32: `severity.Settings` has the rule for other sizes. Any size and any number of channels;
    what has to do with colour says in its file what it does without.

    Random numbers depend on `seed`, on the corruption and on an image's number in `keys`, by default of its
    content: neither on its place in the batch nor on the severity. As in the original, values are rounded
    down to 8 bits. What differs from it: frost is drawn, not photographed; and the files of ImageNet-C are
    JPEGs of quality 85 on top, these images are not.

    Raises UnknownName, and InputError for another severity and for what are no images.
    """
    if name not in _ALL:
        raise UnknownName("corruption", name, NAMES)
    if severity not in SEVERITIES:
        raise InputError(f"The severity of a corruption is 1, 2, 3, 4 or 5; got {severity!r}.")
    check_images(images)
    keys = fingerprints(images) if keys is None else list(keys)
    if len(keys) != len(images):
        raise InputError(f"Every image has one key; got {len(keys)} keys for {len(images)} images.")
    if not images.numel():
        return images.clone()
    found = _ALL[name]
    height, width = images.shape[2:]
    settings = found.settings.at(severity, (height, width))
    draws = Draws(seed, NAMES.index(name), keys, images)
    changed = found.change(images.detach(), draws, **settings)
    return changed.clamp(0, 1).mul(LEVELS).add(BELOW).floor().div(LEVELS)
