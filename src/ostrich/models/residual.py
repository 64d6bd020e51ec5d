"""Residual and plain networks for small images (He 2016, "Deep residual learning", section 4.2).

    conv1   3x3, 16 filters
    layer1  n blocks of two 3x3 convolutions, 16 filters, 32x32 on a 32x32 input
    layer2  n blocks, 32 filters, 16x16 (first convolution has stride 2)
    layer3  n blocks, 64 filters, 8x8
    linear  global average, K outputs

Depth is 6n + 2. A residual block adds its input to its output; where the size changes, option A:
the input is subsampled by two and padded with zero channels, so a shortcut has no parameters and
the plain network (same layers, no addition) has exactly as many.
Parameters with ten classes: 20: 269,722; 32: 464,154; 44: 658,586; 56: 853,018; 110: 1,727,962
(the paper prints 0.27M, 0.46M, 0.66M, 0.85M, 1.7M, Table 6).

Additions: `stem_stride=2` halves the image once more in the first convolution (for 64-pixel images);
`width` multiplies all filter counts; `norm=false` leaves batch norm out and gives convolutions a bias.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError


class Block(nn.Module):
    """Two 3x3 convolutions, with batch norm unless `norm` is false; residual adds the input.

    At a change of size the input is brought to the output's by option A or B.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int,
        residual: bool,
        projection: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.bn2 = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.residual = residual
        self.stride = stride
        self.added = channels - channels_in  # zero channels of the option-A shortcut
        self.downsample = None
        if projection and (stride != 1 or self.added):
            convolution = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.residual:
            y = y + self._shortcut(x)
        return F.relu(y)

    def _shortcut(self, x: Tensor) -> Tensor:
        """He 2016, section 3.3. Option A: every second pixel, zeros for the new channels; B: projection."""
        if self.downsample is not None:
            return self.downsample(x)
        if self.stride == 1 and self.added == 0:
            return x
        before = self.added // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))


class SmallNet(nn.Module):
    """Residual or plain network of depth 6n + 2: images (N, C, H, W), normalised, to logits (N, K)."""

    def __init__(
        self,
        depth: int = 20,
        num_classes: int = 10,
        channels: int = 3,
        width: float = 1.0,
        residual: bool = True,
        stem_stride: int = 1,
        norm: bool = True,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise InputError(f"Depth is 6n + 2 (8, 14, 20, 32, 44, 56, 110, ...); got {depth}.")
        if num_classes < 1 or channels < 1 or width <= 0 or stem_stride not in (1, 2, 4):
            raise InputError("Classes and channels are at least 1, width above 0, stem_stride 1, 2 or 4.")
        blocks = (depth - 2) // 6
        w1, w2, w3 = (max(1, round(base * width)) for base in (16, 32, 64))
        self.conv1 = nn.Conv2d(channels, w1, 3, stem_stride, padding=1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(w1) if norm else nn.Identity()
        self.layer1 = stage(w1, w1, blocks, 1, residual, norm=norm)
        self.layer2 = stage(w1, w2, blocks, 2, residual, norm=norm)
        self.layer3 = stage(w2, w3, blocks, 2, residual, norm=norm)
        self.linear = nn.Linear(w3, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)  # variance 2 / fan_in (He 2015, eq. 10)
                if isinstance(module, nn.Conv2d) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def stage(
    channels_in: int,
    channels: int,
    blocks: int,
    stride: int,
    residual: bool,
    projection: bool = False,
    norm: bool = True,
) -> nn.Sequential:
    """Blocks of one size; the first has the stride, and with `projection` an option-B shortcut."""
    first = Block(channels_in, channels, stride, residual, projection, norm)
    rest = (Block(channels, channels, 1, residual, norm=norm) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
