"""A small convolutional network for the 8x8 digits, in the manner of LeNet-5 (LeCun et al. 1998).

    conv1  3x3, 16    8x8
    conv2  3x3, 32    8x8, pooled to 4x4
    fc1    64         of 4*4*32 = 512 numbers
    fc2    10

LeNet-5 has two pairs of convolution and pooling for 32x32 pixels; 8x8 leave room for one pooling, so
the convolutions come first. ReLU and maximum instead of its tanh and averages.
Parameters: 160 + 4,640 + 32,832 + 650 = 38,282.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ostrich.errors import InputError


def digits_cnn(
    num_classes: int = 10, channels: int = 1, width: float = 1.0, size: tuple[int, int] = (8, 8)
) -> nn.Sequential:
    """Normalised images (N, C, H, W) of `size` to logits (N, K). `width` multiplies maps and units."""
    if num_classes < 1 or channels < 1 or width <= 0 or min(size) < 2:
        raise InputError("Classes and channels are at least 1, width above 0, images 2 pixels or larger.")
    w1, w2, w3 = (max(1, round(base * width)) for base in (16, 32, 64))
    layers = {
        "conv1": nn.Conv2d(channels, w1, 3, padding=1),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(w1, w2, 3, padding=1),
        "relu2": nn.ReLU(),
        "pool": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(w2 * (size[0] // 2) * (size[1] // 2), w3),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(w3, num_classes),
    }
    for module in layers.values():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)  # variance 2 / fan_in (He 2015, eq. 10)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return nn.Sequential(OrderedDict(layers))
