"""A generator that inverts an encoder's layer (Dosovitskiy & Brox 2016, "Generating images with perceptual
similarity metrics based on deep networks": DeePSiM), the generator of DGN-AM.

    code           what a layer of a frozen encoder returns for an image: a vector, or a map averaged to
                   cells x cells places; every number in units of its own standard deviation
    generator      a vector is projected to 4x4, a map is mixed by a 3x3 convolution at its own size; then
                   transposed convolutions of stride 2, batch norm and LeakyReLU 0.3 after each but the
                   last, which ends in tanh
    discriminator  strided convolutions to 4x4, LeakyReLU 0.2; its features and the code, each through one
                   linear layer, are added: it sees the image and what the image is to have been made of

The generator keeps the range in which it has seen each number of the code, for those who climb with it.
Differs: theirs has three fully connected layers of 4096 before its nine convolutions, and no batch norm;
their discriminator pools its features, ours are spectrally normalised.
"""

from __future__ import annotations

from itertools import pairwise
from math import log2

import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.generative.codes import Codes, Observed
from ostrich.generative.gan import GAN
from ostrich.generative.layers import spectral

SLOPE = 0.3  # of LeakyReLU in the published generator
START = 4  # pixels: where a vector begins, and where the discriminator ends
JOINED = 128  # numbers that image and code are brought to before they are added


class InversionGenerator(nn.Module):
    """Codes (N, Z) to images (N, C, H, W) in [-1, 1]; Z = code * cells**2, or code for a vector."""

    def __init__(self, observed: Observed, code: int, cells: int, channels: list[int]) -> None:
        super().__init__()
        self.observed = observed
        self.code, self.cells = code, cells
        first = channels[0]
        self.mix: nn.Module = (
            nn.Conv2d(code, first, 3, padding=1) if cells else nn.Linear(code, first * START * START)
        )
        layers: list[nn.Module] = [nn.BatchNorm2d(first), nn.LeakyReLU(SLOPE, inplace=True)]
        for i, (before, after) in enumerate(pairwise(channels)):
            last = i == len(channels) - 2
            layers.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=last))  # 2n = (n - 1) * 2 - 2 + 4
            if not last:
                layers += [nn.BatchNorm2d(after), nn.LeakyReLU(SLOPE, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                # Each output adds up kernel**2 / stride**2 = 4 of the taps of every channel.
                nn.init.normal_(module.weight, 0, (4 * module.in_channels) ** -0.5)

    def forward(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
        x = codes - self.observed.mean
        if self.cells:
            x = self.mix(x.unflatten(1, (self.code, self.cells, self.cells)))
        else:
            x = self.mix(x).unflatten(1, (-1, START, START))
        return self.layers(x)


class InversionDiscriminator(nn.Module):
    """Images (N, C, H, W) in [-1, 1] and codes (N, Z) to logits (N,)."""

    def __init__(self, channels: list[int], length: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [spectral(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.image = spectral(nn.Linear(START * START * channels[-1], JOINED))
        self.code = spectral(nn.Linear(length, JOINED))
        self.last = spectral(nn.Linear(JOINED, 1))

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        joined = self.image(self.layers(images).flatten(1)) + self.code(codes)  # (N, JOINED)
        return self.last(F.leaky_relu(joined, 0.2))[:, 0]


def inversion(
    size: tuple[int, int] = (64, 64),
    image_channels: int = 3,
    channels: int = 32,
    code: int = 64,
    cells: int = 0,
) -> GAN:
    """The GAN at 4 times a power of two; `channels` are those of the stage next to the image.

    `code` is the number of channels of the encoder's layer, `cells` the side of its map, 0 for a vector.
    """
    side, begin = size[0], cells or START
    stages = log2(side / begin)  # of stride 2
    if size[0] != size[1] or side < 8 or log2(side) % 1:
        raise InputError(f"An inversion makes squares of 8, 16, 32, 64, ... pixels; got {size[0]}x{size[1]}.")
    if stages % 1 or stages < 1:
        raise InputError(
            f"No doubling makes {side} pixels of a map of {cells}x{cells} cells: cells are 0, 1, 2, 4, ... "
            f"{side // 2}."
        )
    if channels < 1 or image_channels < 1 or code < 1:
        raise InputError("Channels and code are at least 1.")
    # The widest stage is that of 4x4: a smaller map begins as wide.
    widest = round(log2(side / START)) - 1
    wide = [channels * 2 ** min(i, widest) for i in range(round(stages))]  # from the image inwards
    down = [channels * 2**i for i in range(round(log2(side / START)))]
    length = code * max(1, cells) ** 2
    observed = Observed(length)
    return GAN(
        generator=InversionGenerator(observed, code, cells, [*reversed(wide), image_channels]),
        discriminator=InversionDiscriminator([image_channels, *down], length),
        codes=Codes("observed", length, observed),
        shape=(image_channels, *size),
    )
