"""LeNet-5 as it is taught today: rectifiers, maximum pooling, and a softmax in place of Gaussian units.

    conv1  5x5, 6, padding 2   28x28, pooled to 14x14
    conv2  5x5, 16             10x10, pooled to 5x5
    fc1    120                 of 16*5*5 = 400 numbers
    fc2    84
    fc3    10

LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", section
II.B and figure 2. Theirs has sigmoid-like units, pooling with weights, and a table of which maps a map of the
second layer sees. Parameters: 156 + 2,416 + 48,120 + 10,164 + 850 = 61,706.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ostrich.errors import InputError


def lenet(
    num_classes: int = 10, channels: int = 1, width: float = 1.0, size: tuple[int, int] = (28, 28)
) -> nn.Sequential:
    """Normalised images (N, C, H, W) of `size` to logits (N, K). `width` multiplies maps and units."""
    if num_classes < 1 or channels < 1 or width <= 0 or min(size) < 12:
        raise InputError("Classes and channels are at least 1, width above 0, images 12 pixels or larger.")
    w1, w2, w3, w4 = (max(1, round(base * width)) for base in (6, 16, 120, 84))
    places = ((size[0] // 2 - 4) // 2) * ((size[1] // 2 - 4) // 2)
    return nn.Sequential(
        OrderedDict(
            {
                "conv1": nn.Conv2d(channels, w1, 5, padding=2),
                "relu1": nn.ReLU(),
                "pool1": nn.MaxPool2d(2),
                "conv2": nn.Conv2d(w1, w2, 5),
                "relu2": nn.ReLU(),
                "pool2": nn.MaxPool2d(2),
                "flatten": nn.Flatten(),
                "fc1": nn.Linear(w2 * places, w3),
                "relu3": nn.ReLU(),
                "fc2": nn.Linear(w3, w4),
                "relu4": nn.ReLU(),
                "fc3": nn.Linear(w4, num_classes),
            }
        )
    )
