"""The large-scale class-conditional GAN (Brock, Donahue, Simonyan 2019, "BigGAN", appendix B).

Residual generator and discriminator, spectral normalisation in both, self-attention at half the
image's side, batch norm conditioned on a class embedding that all layers share joined with a chunk
of the code, a projection discriminator (Miyato & Koyama 2018), orthogonal start. `channels` is the
multiplier ch of the published tables (96 there at 128 pixels); a small one makes a small network.

Channels in multiples of ch:
    size   generator                discriminator
    32     4 4 4 4                  4 4 4 4 (the last two keep the size)
    64     16 16 8 4 2              1 2 4 8 16 (the last keeps the size)
    128    16 16 8 4 2 1            1 2 4 8 16 16 (likewise)

32 pixels and the plain, not the deep, blocks as in the authors' later code. A residual shortcut
carries x itself: no ReLU here works in place.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.generative.codes import Codes
from ostrich.generative.gan import GAN
from ostrich.generative.layers import ConditionalBatchNorm, SelfAttention, advance, spectral

GENERATOR = {32: (4, 4, 4, 4), 64: (16, 16, 8, 4, 2), 128: (16, 16, 8, 4, 2, 1)}
DISCRIMINATOR = {32: (4, 4, 4, 4), 64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16)}
HALVINGS = {32: 2, 64: 4, 128: 5}  # the first blocks of the discriminator


def _conv(before: int, after: int, kernel: int) -> nn.Conv2d:
    return spectral(nn.Conv2d(before, after, kernel, padding=kernel // 2))


class UpBlock(nn.Module):
    """A residual block of the generator; it doubles the size."""

    def __init__(self, before: int, after: int, condition: int) -> None:
        super().__init__()
        self.bn1 = ConditionalBatchNorm(before, condition)
        self.conv1 = _conv(before, after, 3)
        self.bn2 = ConditionalBatchNorm(after, condition)
        self.conv2 = _conv(after, after, 3)
        self.shortcut = _conv(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = F.relu(self.bn1(x, condition))
        y = self.conv1(F.interpolate(y, scale_factor=2))
        y = self.conv2(F.relu(self.bn2(y, condition)))
        return y + F.interpolate(self.shortcut(x), scale_factor=2)  # a 1x1 convolution commutes with it


class ConditionalGenerator(nn.Module):
    """Codes (N, Z) and classes (N,) to images (N, 3, H, W) in [-1, 1]."""

    def __init__(self, size: int, image: int, ch: int, code: int, classes: int, embedding: int) -> None:
        super().__init__()
        wide = [ch * times for times in GENERATOR[size]]
        self.chunk = code // len(wide)  # one for the projection and one for each block
        self.embedding = nn.Embedding(classes, embedding)
        self.project = spectral(nn.Linear(self.chunk, 4 * 4 * wide[0]))
        condition = embedding + self.chunk
        self.blocks = nn.ModuleList(UpBlock(a, b, condition) for a, b in pairwise(wide))
        self.attend_after = len(self.blocks) - 2  # at half the side
        self.attention = SelfAttention(wide[-2])
        self.norm = nn.BatchNorm2d(wide[-1])
        self.last = _conv(wide[-1], image, 3)
        orthogonal_start(self)

    def forward(self, codes: Tensor, classes: Tensor) -> Tensor:
        return self.from_embedding(codes, self.embedding(classes))

    def from_embedding(self, codes: Tensor, embedding: Tensor) -> Tensor:
        """The same from class embeddings (N, E), which may lie between classes."""
        first, *rest = codes.split(self.chunk, 1)
        x = self.project(first).unflatten(1, (-1, 4, 4))
        for i, (block, part) in enumerate(zip(self.blocks, rest)):
            x = block(x, torch.cat([embedding, part], 1))
            if i == self.attend_after:
                x = self.attention(x)
        return torch.tanh(self.last(F.relu(self.norm(x))))


class DownBlock(nn.Module):
    """A residual block of the discriminator; the first acts on the image itself, without a ReLU before it."""

    def __init__(self, before: int, after: int, halve: bool, first: bool) -> None:
        super().__init__()
        self.conv1 = _conv(before, after, 3)
        self.conv2 = _conv(after, after, 3)
        self.shortcut = _conv(before, after, 1) if before != after or halve else None
        self.halve = halve
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.first else F.relu(x)
        y = self.conv2(F.relu(self.conv1(y)))
        if self.halve:  # averages and 1x1 convolutions commute: pooled first, the shortcut costs a quarter
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return y + (x if self.shortcut is None else self.shortcut(x))


class ConditionalDiscriminator(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] and classes (N,) to logits (N,)."""

    def __init__(self, size: int, image: int, ch: int, classes: int) -> None:
        super().__init__()
        wide = [image, *(ch * times for times in DISCRIMINATOR[size])]
        self.blocks = nn.ModuleList(
            DownBlock(a, b, halve=i < HALVINGS[size], first=i == 0) for i, (a, b) in enumerate(pairwise(wide))
        )
        self.attention = SelfAttention(wide[1])  # after the first block, at half the side
        self.linear = spectral(nn.Linear(wide[-1], 1))
        self.embedding = spectral(nn.Embedding(classes, wide[-1]))
        orthogonal_start(self)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        x = images
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0:
                x = self.attention(x)
        features = F.relu(x).sum(dim=(2, 3))  # (N, C)
        return self.linear(features)[:, 0] + (self.embedding(classes) * features).sum(1)


def orthogonal_start(network: nn.Module) -> None:
    """Orthogonal weights (Saxe et al. 2014), zero biases; layers of batch norm have no weights of theirs."""
    for name, parameter in network.named_parameters():
        if parameter.ndim >= 2:
            nn.init.orthogonal_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for _ in range(15):  # the norms of the new weights
        advance(network)


def conditional_gan(
    size: tuple[int, int] = (128, 128),
    num_classes: int = 1000,
    channels: int = 96,
    image_channels: int = 3,
    code: int = 120,
    embedding: int = 128,
) -> GAN:
    """The GAN at 32, 64 or 128 pixels. `code` is rounded down to whole chunks, one a layer."""
    side = size[0]
    if size[0] != size[1] or side not in GENERATOR:
        raise InputError(f"The conditional GAN makes 32x32, 64x64 or 128x128; got {size[0]}x{size[1]}.")
    chunks = len(GENERATOR[side])
    if num_classes < 1 or channels < 1 or embedding < 1 or image_channels < 1 or code < chunks:
        raise InputError(f"Classes, channels and embedding are at least 1, the code at least {chunks}.")
    code -= code % chunks
    return GAN(
        generator=ConditionalGenerator(side, image_channels, channels, code, num_classes, embedding),
        discriminator=ConditionalDiscriminator(side, image_channels, channels, num_classes),
        codes=Codes("normal", code),
        shape=(image_channels, *size),
        classes=num_classes,
    )
