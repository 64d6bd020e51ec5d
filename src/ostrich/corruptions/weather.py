"""Weather: snow, frost, fog, and brightness.

Greys of snow are those of the luma of three channels; of any other number, their mean. Frost has its colours
where there are three channels, and is grey elsewhere.
"""

from __future__ import annotations

from math import cos, pi, sin

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.corruptions.draws import Draws
from ostrich.corruptions.sampling import moved, zoomed
from ostrich.corruptions.severity import Settings
from ostrich.images import luma

SNOW = Settings(
    # Of the noise; by what it is enlarged; below it there is no flake; of their motion; the image's part.
    names=("mean", "deviation", "zoom", "threshold", "radius", "sigma", "image"),
    lengths=frozenset({"zoom", "radius", "sigma"}),
    photograph=(
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    thumbnail=(
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
)
FROST = Settings(
    names=("image", "frost", "scale"),  # weights of both; size of a needle against that of a photograph
    lengths=frozenset({"scale"}),
    photograph=((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    thumbnail=((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
)
FOG = Settings(
    names=("fog", "decay"),  # its weight; by what its finer parts are weaker
    photograph=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    thumbnail=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
)
BRIGHTNESS = Settings(
    names=("more",),
    photograph=((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    thumbnail=((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
)
# Mean colour and deviation, of 255, of the five photographs of frost that the original draws from.
FROSTS = (
    (78, 149, 166, 20),
    (201, 205, 214, 22),
    (201, 205, 214, 22),
    (138, 153, 165, 29),
    (112, 123, 135, 43),
)
NEEDLE, DIRECTIONS = 8, 6  # pixels of a photograph; in which they grow
FINE = 0.5  # of the variance of ice


def snow(
    images: Tensor,
    draws: Draws,
    *,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: float,
    sigma: float,
    image: float,
) -> Tensor:
    """The image whitened, and flakes before it: noise, of which the strongest stays, in motion downwards.

    They fall at 45 to 135 degrees, and once more turned by 180.
    """
    noise = mean + deviation * draws.normal(1, *images.shape[2:])
    flakes = zoomed(noise, max(1.0, zoom))
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp(0, 1)
    flakes = moved(flakes, draws.uniform(low=-135.0, high=-45.0), radius, sigma)
    grey = luma(images) if images.shape[1] == 3 else images.mean(1, keepdim=True)
    white = torch.maximum(images, 1.5 * grey + 0.5)
    return image * images + (1 - image) * white + flakes + flakes.rot90(2, (2, 3))


def frost(images: Tensor, draws: Draws, *, image: float, frost: float, scale: float) -> Tensor:
    """The image behind ice.

    The original lays a part of one of five photographs of frost over the image. This frost is drawn, in the
    mean colour and the contrast of one of the five.
    """
    channels, height, width = images.shape[1:]
    which = draws.integers(low=0, high=len(FROSTS))
    looks = images.new_tensor(FROSTS)[which.to(images.device)] / 255  # (N, 4)
    colour, deviation = looks[:, :3], looks[:, 3]
    if channels != 3:
        colour = colour.mean(1, keepdim=True)
    field = _ice(draws, (height, width), scale)
    ice = colour[:, :, None, None] + deviation[:, None, None, None] * field
    return image * images + frost * ice.clamp(0, 1)


def _ice(draws: Draws, size: tuple[int, int], scale: float) -> Tensor:
    """Thickness of ice (N, 1, H, W), mean 0 and deviation 1 in each image.

    Needles in patches, each patch of another direction and strength, on ice that is thicker here than there.
    As in the photographs about half of the variance is within 8 pixels.
    """
    height, width = size
    noise = draws.normal(DIRECTIONS, height, width)
    noise = noise * noise.abs()  # few needles are long and bright
    kernels = _needles(NEEDLE * scale).to(noise)
    margin = kernels.shape[-1] // 2
    wide = F.pad(noise, (margin,) * 4, mode="replicate")
    needles = torch.cat([F.conv2d(one[None], kernels, groups=DIRECTIONS) for one in wide])
    direction = _smooth(draws.normal(DIRECTIONS, 8, 8), size)
    strength = (0.8 * _smooth(draws.normal(1, 6, 6), size)).exp()
    fine = strength * (needles * (3 * direction).softmax(1)).sum(1, keepdim=True)
    coarse = _smooth(draws.normal(1, 5, 5), size) + 0.7 * _smooth(draws.normal(1, 16, 16), size)
    return _standard(FINE**0.5 * _standard(fine) + (1 - FINE) ** 0.5 * _standard(coarse))


def _smooth(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """Numbers (N, k, h, w), bicubic at `size`."""
    return F.interpolate(numbers, size, mode="bicubic", align_corners=False)


def _standard(images: Tensor) -> Tensor:
    """Images (N, 1, H, W) less their mean, over their deviation."""
    return torch.stack([(one - one.mean()) / one.std(correction=0).clamp_min(1e-6) for one in images])


def _needles(length: float) -> Tensor:
    """Lines of that many pixels in each direction, (DIRECTIONS, 1, k, k), soft along and sharp across."""
    reach = max(1, round(length))
    along = torch.arange(-reach, reach + 1, dtype=torch.float64)
    lines = []
    for i in range(DIRECTIONS):
        angle = pi * i / DIRECTIONS
        forth = cos(angle) * along + sin(angle) * along[:, None]
        aside = cos(angle) * along[:, None] - sin(angle) * along
        line = torch.exp(-0.5 * (forth / (0.5 * reach)) ** 2 - 0.5 * (aside / 0.7) ** 2)
        lines.append(line / line.square().sum().sqrt())  # noise keeps its deviation
    return torch.stack(lines)[:, None]


def fog(images: Tensor, draws: Draws, *, fog: float, decay: float) -> Tensor:
    """A bank of fog, a random height map, added; then all is scaled to the image's own brightest value."""
    height, width = images.shape[2:]
    bank = plasma(draws, max(height, width), decay)[:, None, :height, :width].to(images)
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + fog * bank) * brightest / (brightest + fog)


def plasma(draws: Draws, side: int, decay: float) -> Tensor:
    """Height maps (N, S, S) in [0, 1], S the power of two from `side` on, by the diamond-square algorithm.

    Fournier, Fussell and Carpenter 1982, "Computer rendering of stochastic models". The map continues at its
    opposite edge; at each halving of the step the random part becomes weaker by the square of `decay`.
    """
    size = 1 << max(1, (side - 1).bit_length())
    heights = draws.zeros(1, 1)  # (N, 1, 1)
    wobble = 100.0**2
    while heights.shape[-1] < size:
        cells = heights.shape[-1]
        middles = _mean(heights, (0, 0), (-1, 0), (0, -1), (-1, -1))  # a square's four corners
        middles = middles + draws.uniform(cells, cells, low=-wobble, high=wobble)
        # The other points lie between two corners and two middles.
        above = (heights + heights.roll(-1, 2) + middles + middles.roll(1, 1)) / 4
        above = above + draws.uniform(cells, cells, low=-wobble, high=wobble)
        left = (heights + heights.roll(-1, 1) + middles + middles.roll(1, 2)) / 4
        left = left + draws.uniform(cells, cells, low=-wobble, high=wobble)
        upper = torch.stack([heights, above], -1).flatten(2)  # (N, cells, 2 * cells)
        lower = torch.stack([left, middles], -1).flatten(2)
        heights = torch.stack([upper, lower], 2).flatten(1, 2)
        wobble /= decay**2
    low, high = heights.amin((1, 2), keepdim=True), heights.amax((1, 2), keepdim=True)
    return (heights - low) / (high - low)


def _mean(heights: Tensor, *shifts: tuple[int, int]) -> Tensor:
    """The mean of a map (N, S, S) and itself, shifted."""
    return torch.stack([heights.roll(shift, (1, 2)) for shift in shifts]).sum(0) / len(shifts)


def brightness(images: Tensor, draws: Draws, *, more: float) -> Tensor:
    """A larger value in HSV, the largest of a pixel's channels; hue and saturation stay."""
    value = images.amax(1, keepdim=True)
    brighter = (value + more).clamp(max=1)
    return torch.where(value > 0, images * (brighter / value.clamp_min(1e-6)), brighter)
