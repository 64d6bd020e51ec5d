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
generator's step meets the discriminator after its step, where theirs takes the loss from before it.

Two settings that theirs has not. With `classes` a class embedding is joined to the code of the foreground:
the background knows no class, and cannot show what was asked for. With `path` foreground and mask are one
picture, which an affine map moves from frame to frame (as Yang et al. 2017, "LR-GAN", section 3.2, place
their foregrounds in a picture): what moves is one object by form.

      picture        4x4x512, 8x8x256, 16x16x128, 32x32x64; from there f and m, as of the background
      path           64 units; shift, growth and turn, each a polynomial of degree 2 in time
"""

from __future__ import annotations

from itertools import pairwise
from math import log2
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.generative.codes import Codes
from ostrich.generative.gan import GAN

NEAREST = 64  # channels of the stage next to the clip
SPARSITY = 0.1  # lambda of the L1 of the mask
EMBEDDING = 32  # numbers that stand for a class
PATH = 64  # units of its hidden layer
FAINT = (
    -2.0
)  # the mask of a picture on a path before its sigmoid at first: what stands still is learned first


class VideoGenerator(nn.Module):
    """Codes (N, 100), and classes (N,) where it has any, to clips (N, C, T, H, W) in [-1, 1].

    `frames` is T of a foreground that is one picture on a path, None where each frame has its own.
    """

    def __init__(
        self,
        code: int,
        channels: list[int],
        colours: int,
        sparsity: float,
        classes: int | None = None,
        frames: int | None = None,
    ) -> None:
        super().__init__()
        self.sparsity = sparsity
        self.embedding = None if classes is None else nn.Embedding(classes, EMBEDDING)
        own = code if classes is None else code + EMBEDDING
        self.path = None if frames is None else Path(own, frames)
        conv: Any
        if frames is None:
            first, conv = nn.ConvTranspose3d(own, channels[0], (2, 4, 4)), nn.ConvTranspose3d
            self.moving = _stream(first, channels, conv, nn.BatchNorm3d)
        else:
            self.moving, conv = _flat_stream(own, channels), nn.ConvTranspose2d
        self.foreground = conv(channels[-1], colours, 4, 2, 1)
        self.mask = conv(channels[-1], 1, 4, 2, 1)
        self.still = _flat_stream(code, channels)
        self.background = nn.ConvTranspose2d(channels[-1], colours, 4, 2, 1)
        initialise(self)
        if frames is not None:
            nn.init.constant_(self.mask.bias, FAINT)

    def streams(self, codes: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Foreground (N, C, T, H, W), mask (N, 1, T, H, W) in [0, 1], background (N, C, 1, H, W)."""
        return self._streams(codes, None if self.embedding is None else self.embedding(classes))

    def forward(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.from_embedding(codes, None if self.embedding is None else self.embedding(classes))

    def from_embedding(self, codes: Tensor, embedding: Tensor | None) -> Tensor:
        """The same from class embeddings (N, E), which may lie between classes."""
        return composed(*self._streams(codes, embedding))

    def with_sparsity(self, codes: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The clips, and a term of the generator's loss: sparsity times the mean of |mask|."""
        foreground, mask, background = self.streams(codes, classes)
        sparse = (mask.abs() * (self.sparsity / mask.numel())).sum()
        return composed(foreground, mask, background), sparse

    def _streams(self, codes: Tensor, embedding: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        own = codes if embedding is None else torch.cat([codes, embedding], 1)
        background = torch.tanh(self.background(self.still(codes[:, :, None, None])))[:, :, None]
        at = own[:, :, None, None] if self.path is not None else own[:, :, None, None, None]
        moving = self.moving(at)  # (N, K, H / 2, W / 2), or (N, K, T / 2, H / 2, W / 2)
        foreground, mask = torch.tanh(self.foreground(moving)), torch.sigmoid(self.mask(moving))
        if self.path is not None:
            foreground, mask = self.path(own, foreground, mask)
        return foreground, mask, background


class Path(nn.Module):
    """Codes (N, K), pictures (N, C, H, W) and masks (N, 1, H, W) to both in every frame (N, ., T, H, W).

    In each frame an affine map moves, turns and enlarges the picture; outside of it the mask is 0.
    """

    def __init__(self, code: int, frames: int) -> None:
        super().__init__()
        times = torch.linspace(-1, 1, frames)
        self.register_buffer("powers", torch.stack([times**k for k in range(3)]), persistent=False)
        self.layers = nn.Sequential(nn.Linear(code, PATH), nn.ReLU(inplace=True), nn.Linear(PATH, 4 * 3))

    def maps(self, codes: Tensor) -> Tensor:
        """Affine maps (N, T, 2, 3) of places in a frame to places in the picture, both in [-1, 1]."""
        powers: Any = self.powers
        across, down, growth, turn = (self.layers(codes).unflatten(1, (4, 3)) @ powers).unbind(1)  # (N, T)
        shrunk = torch.exp(-torch.tanh(growth))
        cos, sin = shrunk * torch.cos(turn), shrunk * torch.sin(turn)
        return torch.stack(
            [
                torch.stack([cos, -sin, -cos * across + sin * down], -1),
                torch.stack([sin, cos, -sin * across - cos * down], -1),
            ],
            -2,
        )

    @staticmethod
    def window(height: int, width: int) -> Tensor:
        """(H, W), 1 in the middle and 0 at the border, so that no edge of a picture is seen."""
        down, across = (1 - torch.linspace(-1, 1, side) ** 8 for side in (height, width))
        return down[:, None] * across

    def forward(self, codes: Tensor, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.maps(codes).to(picture.dtype)
        count, frames = maps.shape[:2]
        (height, width), colours = picture.shape[2:], picture.shape[1]
        mask = mask * self.window(height, width).to(mask)
        both = torch.cat([picture * mask, mask], 1)
        repeated = both[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)
        grid = F.affine_grid(maps.flatten(0, 1), [count * frames, colours + 1, height, width], False)
        moved = F.grid_sample(repeated, grid, align_corners=False)
        moved = moved.unflatten(0, (count, frames)).transpose(1, 2)
        covered = moved[:, colours:]
        return moved[:, :colours] / covered.clamp(min=1e-3), covered


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


def _flat_stream(code: int, channels: list[int]) -> nn.Sequential:
    """That of pictures."""
    return _stream(nn.ConvTranspose2d(code, channels[0], 4), channels, nn.ConvTranspose2d, nn.BatchNorm2d)


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
    path: bool = False,
    num_classes: int | None = None,
) -> GAN:
    """The GAN at a size that is 4 times a power of two: clips (channels, size / 2, size, size).

    With `path` its foreground is one picture that is moved. With `num_classes` it is told of which class a
    clip is to be.
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
        generator=VideoGenerator(
            code, wide[::-1], channels, sparsity, num_classes, side // 2 if path else None
        ),
        discriminator=VideoDiscriminator([channels, *wide]),
        codes=Codes("normal", code),
        shape=(channels, side // 2, *size),
        classes=num_classes,
    )
