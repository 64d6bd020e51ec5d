"""A small convolutional network without pooling or batch norm, whose bounds are cheap to compute.

    conv1  4x4, 16, stride 2   28x28 to 14x14
    conv2  4x4, 32, stride 2   14x14 to 7x7
    fc1    64                  of 7*7*32 = 1568 numbers
    fc2    10

After the small network of Gowal et al. 2018 ("On the effectiveness of interval bound propagation for training
verifiably robust models", table 1), which has stride 1 and no border in its second convolution and 100 units.
Parameters: 272 + 8,224 + 100,416 + 650 = 109,562.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ostrich.errors import InputError


def strided_cnn(
    num_classes: int = 10, channels: int = 1, width: float = 1.0, size: tuple[int, int] = (28, 28)
) -> nn.Sequential:
    """Normalised images (N, C, H, W) of `size` to logits (N, K). `width` multiplies maps and units."""
    if num_classes < 1 or channels < 1 or width <= 0 or min(size) < 4:
        raise InputError("Classes and channels are at least 1, width above 0, images 4 pixels or larger.")
    w1, w2, w3 = (max(1, round(base * width)) for base in (16, 32, 64))
    places = (size[0] // 4) * (size[1] // 4)  # of each of two: (H + 2*1 - 4) // 2 + 1 = H // 2
    return nn.Sequential(
        OrderedDict(
            {
                "conv1": nn.Conv2d(channels, w1, 4, stride=2, padding=1),
                "relu1": nn.ReLU(),
                "conv2": nn.Conv2d(w1, w2, 4, stride=2, padding=1),
                "relu2": nn.ReLU(),
                "flatten": nn.Flatten(),
                "fc1": nn.Linear(w2 * places, w3),
                "relu3": nn.ReLU(),
                "fc2": nn.Linear(w3, num_classes),
            }
        )
    )
