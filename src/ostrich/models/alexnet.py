"""AlexNet as published (Krizhevsky, Sutskever and Hinton 2012, section 3), its cut versions, and a small one.

    conv1  11x11/4, 96     55x55x96    55 = (224 + 2*2 - 11) // 4 + 1, with 2 pixels of padding
    pool1  3x3/2           27x27x96    27 = (55 - 3) // 2 + 1
    conv2  5x5, 256        27x27x256   two towers: each half sees half of the maps
    pool2  3x3/2           13x13x256
    conv3  3x3, 384        13x13x384   sees all maps
    conv4  3x3, 384        13x13x384   two towers
    conv5  3x3, 256        13x13x256   two towers
    pool5  3x3/2           6x6x256     9,216 numbers
    fc6, fc7               4096, 4096  dropout 0.5 on both
    fc8                    1000

Parameters: 34,944 + 307,456 + 885,120 + 663,936 + 442,624 + 37,752,832 + 16,781,312 + 4,097,000
= 60,965,224. ReLU follows each layer but the last; after conv1 and conv2 the order is ReLU, response
normalisation, pooling. Pooling windows overlap (3 wide, 2 apart).

The paper's own slips:
- A 224-pixel image without padding does not give 55: (224 - 11) / 4 + 1 = 54.25. It takes 227 pixels without
  padding (Caffe) or 224 with 2 pixels of it; here the latter, so that images are 224x224 as printed.
- It counts 253,440 units in layer 1, which is 55*55*96 = 290,400 by its own shapes (253,440 = 55*48*96).
  All layers together: 622,312 as printed, 659,272 by the shapes ("650,000 neurons").

How this differs: the two towers are the two groups of a convolution on one device, so the response
normalisation runs across their border. torchvision's `alexnet` is another network (Krizhevsky 2014,
"One weird trick": 64-192-384-256-256 maps, no towers, no normalisation; 61,100,840 parameters).
The paper feeds pixels of 0..255 less the mean image. For its initialisation to make sense give images
in [0, 1] the same scale: `--mean 0.485,0.456,0.406 --std 0.00392` (1/255).

Cut versions (Zeiler and Fergus 2014, table 3), with what they save: `without=7` 16,781,312; `67`
49,414,144 (fc8 then sees 9,216 numbers); `34` 1,696,512 (conv5 then sees 256 maps); `3467` 51,110,656.
What follows a removed layer is connected to what came before it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError

Without = Literal["none", "7", "67", "34", "3467"]
Init = Literal["paper", "he"]


class ResponseNorm(nn.Module):
    """Local response normalisation (section 3.3): b = a / (k + alpha * sum of a^2 over n maps)^beta.

    k = 2, n = 5, alpha = 1e-4, beta = 0.75. It equals `nn.LocalResponseNorm(5, alpha=5e-4, k=2)`, which
    divides alpha by n as the paper does not; the sum as a 1x1 convolution is several times faster
    (benchmarks/choices.md).
    """

    band: Tensor

    def __init__(self, maps: int, k: float = 2.0, n: int = 5, alpha: float = 1e-4) -> None:
        super().__init__()
        self.k, self.alpha = k, alpha
        i = torch.arange(maps)
        near = (i[:, None] - i[None, :]).abs() <= n // 2  # (C, C)
        self.register_buffer("band", near[:, :, None, None].float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        d = self.k + self.alpha * F.conv2d(x * x, self.band)  # (N, C, H, W)
        return x * (d * d.sqrt()).rsqrt()  # d^-0.75


def alexnet(
    num_classes: int = 1000,
    channels: int = 3,
    width: float = 1.0,
    size: tuple[int, int] = (224, 224),
    without: Without = "none",
    init: Init = "paper",
) -> nn.Sequential:
    """Normalised images (N, C, H, W) of `size` to logits (N, K). `width` multiplies maps and units."""
    maps, hidden = (96, 256, 384, 384, 256), 4096
    return _build(num_classes, channels, width, size, without, init, (11, 4), maps, hidden)


def alexnet_small(
    num_classes: int = 10,
    channels: int = 3,
    width: float = 1.0,
    size: tuple[int, int] = (64, 64),
    stem_stride: int = 2,
    without: Without = "none",
    init: Init = "he",
) -> nn.Sequential:
    """The same topology for small images: a quarter of the maps, a sixteenth of the units, conv1 5x5/2.

    64 pixels: 32 = (64 + 2*2 - 5) // 2 + 1, then 15, 7 and 3; 32 pixels with `stem_stride=1`: the same.
    There is no batch norm either, and the paper's initialisation fits wider layers: after 240 steps it has
    hardly learned (benchmarks/choices.md). So the default is He's.
    """
    maps, hidden = (24, 64, 96, 96, 64), 256
    return _build(num_classes, channels, width, size, without, init, (5, stem_stride), maps, hidden)


def _build(
    num_classes: int,
    channels: int,
    width: float,
    size: tuple[int, int],
    without: Without,
    init: Init,
    stem: tuple[int, int],  # kernel and stride of conv1
    maps: tuple[int, ...],  # of conv1 to conv5
    hidden: int,  # units of fc6 and fc7
) -> nn.Sequential:
    kernel, stride = stem
    if num_classes < 1 or channels < 1 or width <= 0 or stride not in (1, 2, 4):
        raise InputError("Classes and channels are at least 1, width above 0, stem_stride 1, 2 or 4.")
    c1, c2, c3, c4, c5 = (2 * max(1, round(count * width / 2)) for count in maps)  # even: two towers
    units = max(1, round(hidden * width))
    sides = [_pooled(side, kernel, stride) for side in size]
    if min(sides) < 1:
        raise InputError(
            f"Images of {size[0]}x{size[1]} are too small: nothing is left after the third pooling."
        )

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(channels, c1, kernel, stride, padding=2)
    layers |= {"relu1": nn.ReLU(), "norm1": ResponseNorm(c1), "pool1": nn.MaxPool2d(3, 2)}
    layers["conv2"] = nn.Conv2d(c1, c2, 5, padding=2, groups=2)
    layers |= {"relu2": nn.ReLU(), "norm2": ResponseNorm(c2), "pool2": nn.MaxPool2d(3, 2)}
    last = c2
    if "34" not in without:
        layers |= {"conv3": nn.Conv2d(c2, c3, 3, padding=1), "relu3": nn.ReLU()}
        layers |= {"conv4": nn.Conv2d(c3, c4, 3, padding=1, groups=2), "relu4": nn.ReLU()}
        last = c4
    layers |= {"conv5": nn.Conv2d(last, c5, 3, padding=1, groups=2), "relu5": nn.ReLU()}
    layers |= {"pool5": nn.MaxPool2d(3, 2), "flatten": nn.Flatten()}
    features = c5 * sides[0] * sides[1]
    for layer in "67":
        if layer not in without:
            layers |= {f"fc{layer}": nn.Linear(features, units), f"relu{layer}": nn.ReLU()}
            layers[f"drop{layer}"] = nn.Dropout(0.5)
            features = units
    layers["fc8"] = nn.Linear(features, num_classes)
    _initialise(layers, init)
    return nn.Sequential(layers)


def _pooled(side: int, kernel: int, stride: int) -> int:
    """One side of pool5's map."""
    side = (side + 2 * 2 - kernel) // stride + 1  # conv1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


def _initialise(layers: OrderedDict[str, nn.Module], init: Init) -> None:
    """Section 5: weights N(0, 0.01), biases 1 in conv2, 4, 5 and fc6, 7, else 0; or He 2015, eq. 10."""
    for name, module in layers.items():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        assert module.bias is not None
        if init == "paper":
            nn.init.normal_(module.weight, std=0.01)
            nn.init.constant_(module.bias, float(name in ("conv2", "conv4", "conv5", "fc6", "fc7")))
        else:
            nn.init.kaiming_normal_(module.weight)
            if name == "fc8":  # no ReLU follows: small scores, so that the first steps do not kill units
                nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
