"""Residual and plain networks of 18 and 34 layers for ImageNet (He 2016, table 1).

    conv1   7x7/2, 64, then 3x3/2 pooling       112x112 and 56x56 on a 224x224 input
    layer1  blocks of two 3x3, 64               56x56   2 blocks of 18 layers, 3 of 34
    layer2  blocks of two 3x3, 128              28x28   2, 4 (first convolution has stride 2)
    layer3  blocks of two 3x3, 256              14x14   2, 6
    layer4  blocks of two 3x3, 512              7x7     2, 3
    fc      global average, 1000 outputs

Where the size changes, the shortcut is option A, without parameters (subsampled, padded with zero
channels), or option B, a 1x1 convolution with batch norm. The plain networks have no shortcut and
the parameters of option A.
Parameters: 18 A 11,515,688, B 11,689,512; 34 A 21,623,848, B 21,797,672.

Modules are named as torchvision's resnet18 and resnet34, which are option B: their weights fit.
`width` multiplies all filter counts.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.models.residual import stage

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class ImageNetResidual(nn.Module):
    """Residual or plain network of depth 18 or 34: images (N, C, H, W), normalised, to logits (N, K)."""

    def __init__(
        self,
        depth: int = 18,
        num_classes: int = 1000,
        channels: int = 3,
        width: float = 1.0,
        residual: bool = True,
        shortcut: Literal["A", "B"] = "B",
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise InputError(f"The depth of an ImageNet network is 18 or 34 here; got {depth}.")
        if num_classes < 1 or channels < 1 or width <= 0:
            raise InputError("Classes and channels are at least 1, width above 0.")
        projection = residual and shortcut == "B"
        b1, b2, b3, b4 = BLOCKS[depth]
        w1, w2, w3, w4 = (max(1, round(base * width)) for base in (64, 128, 256, 512))
        self.conv1 = nn.Conv2d(channels, w1, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(w1)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = stage(w1, w1, b1, 1, residual, projection)
        self.layer2 = stage(w1, w2, b2, 2, residual, projection)
        self.layer3 = stage(w2, w3, b3, 2, residual, projection)
        self.layer4 = stage(w3, w4, b4, 2, residual, projection)
        self.fc = nn.Linear(w4, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)  # variance 2 / fan_in (He 2015, eq. 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, 512, H/32, W/32)
        return self.fc(x.mean(dim=(2, 3)))
