"""A small convolutional network that says whether a 24x24 window shows a face.

    conv1  3x3, 16    22x22, pooled to 11x11
    conv2  3x3, 32    9x9
    conv3  3x3, 32    7x7
    conv4  3x3, 64    5x5
    conv5  5x5, 48    1x1
    score  1x1, 2     1x1

After Garcia and Delakis 2004, "Convolutional face finder", with ReLU, batch norm and maximum in place of
its tanh and averages. Nothing is padded, so on a larger image `windows` gives the scores of every
window, two pixels apart, each as if it were alone: a sliding detector in one pass.
Parameters: 144 + 4,608 + 9,216 + 18,432 + 76,800 of the convolutions, 384 of batch norm, 98: 109,682.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ostrich.errors import InputError

WINDOW, STRIDE = 24, 2  # pixels
LAYERS = ((16, 3), (32, 3), (32, 3), (64, 3), (48, 5))  # maps and kernel of each convolution


class FaceCNN(nn.Module):
    """Normalised images (N, C, H, W), 24 pixels or larger, to logits (N, K): the mean of all windows'."""

    def __init__(self, num_classes: int = 2, channels: int = 1, width: float = 1.0) -> None:
        super().__init__()
        if num_classes < 1 or channels < 1 or width <= 0:
            raise InputError("Classes and channels are at least 1, width above 0.")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (maps, kernel) in enumerate(LAYERS, 1):
            maps = max(1, round(maps * width))
            layers[f"conv{number}"] = nn.Conv2d(channels, maps, kernel, bias=False)
            layers[f"bn{number}"] = nn.BatchNorm2d(maps)
            layers[f"relu{number}"] = nn.ReLU()
            if number == 1:
                layers["pool"] = nn.MaxPool2d(STRIDE)
            channels = maps
        layers["score"] = nn.Conv2d(channels, num_classes, 1)
        self.layers = nn.Sequential(layers)
        for module in self.layers:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # variance 2 / fan_in (He 2015, eq. 10)

    def windows(self, images: Tensor) -> Tensor:
        """Logits (N, K, (H - 24) // 2 + 1, (W - 24) // 2 + 1) of the windows, by their place."""
        return self.layers(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.windows(images).mean((2, 3))
