"""DCGAN (Radford, Metz, Chintala 2016, Unsupervised representation learning, section 3 and figure 1).

    generator      100 uniform numbers, projected to 4x4x1024, batch norm, ReLU
                   transposed convolutions of stride 2: 8x8x512, 16x16x256, 32x32x128, 64x64x3
                   batch norm and ReLU after each but the last, which ends in tanh
    discriminator  strided convolutions to 32x32x128, 16x16x256, 8x8x512, 4x4x1024, one logit
                   LeakyReLU 0.2; batch norm after each but the first
    weights        N(0, 0.02); gains of batch norm N(1, 0.02)

At 32 pixels both lose the stage at their 4x4 end: 4x4x512, 8x8x256, 16x16x128. `width` multiplies
all channels; `kernel` is 5 as published, and 4, which covers every output pixel equally often, in
later implementations; `norm=false` leaves batch norm out. How it is trained, and where that is not as
published (mirrored images, the best step kept), `GeneratorRecipe` says.
"""

from __future__ import annotations

from itertools import pairwise
from math import log2

from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.generative.codes import Codes
from ostrich.generative.gan import GAN

NEAREST = 128  # channels of the stage next to the image


class DCGenerator(nn.Module):
    """Codes (N, 100) to images (N, C, H, W) in [-1, 1]."""

    def __init__(self, code: int, channels: list[int], kernel: int, norm: bool) -> None:
        super().__init__()
        self.first = channels[0]
        self.project = nn.Linear(code, 4 * 4 * self.first, bias=not norm)
        layers: list[nn.Module] = [*([nn.BatchNorm2d(self.first)] if norm else []), nn.ReLU(inplace=True)]
        for i, (before, after) in enumerate(pairwise(channels)):
            last = i == len(channels) - 2
            # 2n = (n - 1) * 2 - 2 * padding + kernel + extra
            padding, extra = (kernel - 1) // 2, kernel % 2
            bias = last or not norm
            layers.append(nn.ConvTranspose2d(before, after, kernel, 2, padding, extra, bias=bias))
            if not last:
                layers += [*([nn.BatchNorm2d(after)] if norm else []), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        initialise(self)

    def forward(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.layers(self.project(codes).unflatten(1, (self.first, 4, 4)))


class DCDiscriminator(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to logits (N,)."""

    def __init__(self, channels: list[int], kernel: int, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(channels)):
            normed = norm and i > 0
            layers.append(nn.Conv2d(before, after, kernel, 2, (kernel - 1) // 2, bias=not normed))
            layers += [*([nn.BatchNorm2d(after)] if normed else []), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(4 * 4 * channels[-1], 1)
        initialise(self)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.last(self.layers(images).flatten(1))[:, 0]


def initialise(network: nn.Module) -> None:
    """The published start: weights N(0, 0.02), gains N(1, 0.02), biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02)
        for name, bias in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.zeros_(bias)


def dcgan(
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    width: float = 1.0,
    kernel: int = 5,
    code: int = 100,
    norm: bool = True,
) -> GAN:
    """The GAN of DCGAN at a size that is 4 times a power of two: 8, 16, 32, 64, ..."""
    side = size[0]
    if size[0] != size[1] or side < 8 or log2(side) % 1:
        raise InputError(f"DCGAN makes squares of 8, 16, 32, 64, ... pixels; got {size[0]}x{size[1]}.")
    if width <= 0 or channels < 1 or code < 1 or kernel not in (4, 5):
        raise InputError("Width is above 0, channels and code at least 1, the kernel 4 or 5.")
    stages = round(log2(side)) - 2  # of stride 2: 64 = 4 * 2**4
    wide = [max(1, round(NEAREST * width * 2**i)) for i in range(stages)]  # from the image inwards
    return GAN(
        generator=DCGenerator(code, [*reversed(wide), channels], kernel, norm),
        discriminator=DCDiscriminator([channels, *wide], kernel, norm),
        codes=Codes("uniform", code),
        shape=(channels, *size),
    )
