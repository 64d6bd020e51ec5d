"""The video GAN (Vondrick, Pirsiavash, Torralba 2016, Generating videos with scene dynamics, section 2).

    clip           m * f + (1 - m) * b: a foreground that moves, a mask, a background that stands still
    generator      100 normal numbers; two streams of transposed convolutions of kernel 4, stride 2
      foreground   2x4x4x512, 4x8x8x256, 8x16x16x128, 16x32x32x64; from there f (tanh) and m (sigmoid)
      background   4x4x512, 8x8x256, 16x16x128, 32x32x64, 64x64x3 (tanh)
                   batch norm and ReLU after each but the last
    discriminator  strided convolutions over time and space: 64, 128, 256, 512 channels, one logit
                   LeakyReLU 0.2; batch norm (eps 0.001) after each but the first
    weights        N(0, 0.01); gains of batch norm N(1, 0.02); biases zero
    mask           L1 with weight 0.1, the mean over its elements (the authors' main.lua)

A clip has half as many frames as pixels a side: 32 of 64x64 as published. At 32 pixels, 16 frames,
every stream loses the stage at its 4x4 end. `width` multiplies all channels.

Differs: the discriminator's logit is one number, of which theirs is the difference of two; and the
generator's step meets the discriminator after its step, where theirs takes the loss from before it. With
`classes`, which theirs has not, a class embedding is joined to the code of both streams.
"""

from __future__ import annotations

from itertools import pairwise
from math import log2
from typing import Any

import torch
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.generative.codes import Codes
from ostrich.generative.gan import GAN

NEAREST = 64  # channels of the stage next to the clip
SPARSITY = 0.1  # lambda of the L1 of the mask
EMBEDDING = 32  # numbers that stand for a class


class Sparse(torch.autograd.Function):
    """The mask itself; its gradient is that of the loss plus that of weight * mean |mask|."""

    @staticmethod
    def forward(context: Any, mask: Tensor, weight: float) -> Tensor:
        context.save_for_backward(mask)
        context.weight = weight
        return mask.view_as(mask)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,), (gradient,) = context.saved_tensors, gradients
        return gradient + (context.weight / mask.numel()) * mask.sign(), None


class VideoGenerator(nn.Module):
    """Codes (N, 100), and classes (N,) where it has any, to clips (N, C, T, H, W) in [-1, 1]."""

    def __init__(
        self, code: int, channels: list[int], colours: int, sparsity: float, classes: int | None = None
    ) -> None:
        super().__init__()
        self.sparsity = sparsity
        self.embedding = None if classes is None else nn.Embedding(classes, EMBEDDING)
        code += 0 if classes is None else EMBEDDING
        first = nn.ConvTranspose3d(code, channels[0], (2, 4, 4))
        self.moving = _stream(first, channels, nn.ConvTranspose3d, nn.BatchNorm3d)
        self.foreground = nn.ConvTranspose3d(channels[-1], colours, 4, 2, 1)
        self.mask = nn.ConvTranspose3d(channels[-1], 1, 4, 2, 1)
        flat = nn.ConvTranspose2d(code, channels[0], 4)
        self.still = _stream(flat, channels, nn.ConvTranspose2d, nn.BatchNorm2d)
        self.background = nn.ConvTranspose2d(channels[-1], colours, 4, 2, 1)
        initialise(self)

    def streams(self, codes: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Foreground (N, C, T, H, W), mask (N, 1, T, H, W) in [0, 1], background (N, C, 1, H, W)."""
        return self._streams(codes, None if self.embedding is None else self.embedding(classes))

    def forward(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.from_embedding(codes, None if self.embedding is None else self.embedding(classes))

    def from_embedding(self, codes: Tensor, embedding: Tensor | None) -> Tensor:
        """The same from class embeddings (N, E), which may lie between classes."""
        foreground, mask, background = self._streams(codes, embedding)
        if self.training and self.sparsity:
            mask = Sparse.apply(mask, self.sparsity)
        return composed(foreground, mask, background)

    def _streams(self, codes: Tensor, embedding: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if embedding is not None:
            codes = torch.cat([codes, embedding], 1)
        moving = self.moving(codes[:, :, None, None, None])  # (N, K, T / 2, H / 2, W / 2)
        still = self.still(codes[:, :, None, None])  # (N, K, H / 2, W / 2)
        foreground, mask = torch.tanh(self.foreground(moving)), torch.sigmoid(self.mask(moving))
        return foreground, mask, torch.tanh(self.background(still))[:, :, None]


def composed(foreground: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """m * f + (1 - m) * b; shapes as of `VideoGenerator.streams`. Where m is 0 it is b exactly."""
    return mask * foreground + (1 - mask) * background


class VideoDiscriminator(nn.Module):
    """Clips (N, C, T, H, W) in [-1, 1] to logits (N,)."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(channels)):
            layers.append(nn.Conv3d(before, after, 4, 2, 1))
            layers += [*([nn.BatchNorm3d(after, eps=1e-3)] if i else []), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv3d(channels[-1], 1, (2, 4, 4))
        initialise(self)

    def forward(self, clips: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.last(self.layers(clips)).flatten()


def _stream(first: nn.Module, channels: list[int], conv: Any, norm: Any) -> nn.Sequential:
    layers = [first, norm(channels[0]), nn.ReLU(inplace=True)]
    for before, after in pairwise(channels):
        layers += [conv(before, after, 4, 2, 1), norm(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def initialise(network: nn.Module) -> None:
    """The published start: weights N(0, 0.01), gains N(1, 0.02), biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, 0.01)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.weight, 1, 0.02)
        for name, bias in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.zeros_(bias)


def video_gan(
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    width: float = 1.0,
    code: int = 100,
    sparsity: float = SPARSITY,
    num_classes: int | None = None,
) -> GAN:
    """The GAN at a size that is 4 times a power of two: clips (channels, size / 2, size, size).

    With `num_classes` it is told of which class a clip is to be.
    """
    side = size[0]
    if size[0] != size[1] or side < 8 or log2(side) % 1:
        raise InputError(
            f"The video GAN makes squares of 8, 16, 32, 64, ... pixels; got {size[0]}x{size[1]}."
        )
    if (
        width <= 0
        or channels < 1
        or code < 1
        or sparsity < 0
        or (num_classes is not None and num_classes < 1)
    ):
        raise InputError(
            "Width is above 0, channels, code and classes at least 1, the mask's sparsity at least 0."
        )
    stages = round(log2(side)) - 2  # of stride 2: 64 = 4 * 2**4 pixels, 32 = 2 * 2**4 frames
    wide = [max(1, round(NEAREST * width * 2**i)) for i in range(stages)]  # from the clip inwards
    return GAN(
        generator=VideoGenerator(code, wide[::-1], channels, sparsity, num_classes),
        discriminator=VideoDiscriminator([channels, *wide]),
        codes=Codes("normal", code),
        shape=(channels, side // 2, *size),
        classes=num_classes,
    )
