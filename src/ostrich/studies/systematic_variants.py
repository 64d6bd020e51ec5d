"""The networks of the study `systematic`: one small CaffeNet, and what each variant changes of it.

    conv1   3x3, w          32x32, pooled (3x3, stride 2) to 15x15
    conv2   3x3, 2w         15x15, to 7x7
    conv3   3x3, 2w         7x7, to 3x3
    fc      8w              of 3*3*2w numbers
    out     K

Weights start as in Mishkin and Matas 2016 (All you need is a good init, algorithm 1): orthonormal, then
scaled layer by layer so that what each gives for a batch of training images has variance 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ostrich.data.dataset import Samples
from ostrich.studies.datasets import Splits

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "none": nn.Identity,
}
SLOPE = 1 / 3  # below zero, of the learned colours' "very leaky" rectifier
LEARNED = 10  # maps in the middle of the learned colours
MODES = {"HSV": "HSV", "YCrCb": "YCbCr", "grey": "L"}  # as Pillow calls them


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What may differ from the shared baseline: the defaults. `batch`, `rate` and `width` are factors."""

    activation: str = "relu"
    pooling: str = "max"  # max, average, sum of both, or max without overlap: 2x2
    schedule: str = "steps"
    batch: int = 1
    rate: float = 1.0
    norm: str = ""  # batch norm "before" or "after" the rectifier
    width: float = 1.0
    head: str = "full"  # or "convolutional": out at every place, then the mean over places
    colours: str = "RGB"


VARIANTS = {
    "baseline": Variant(),
    "elu": Variant(activation="elu"),
    "tanh": Variant(activation="tanh"),
    "linear": Variant(activation="none"),
    "average pooling": Variant(pooling="average"),
    "max and average pooling": Variant(pooling="sum"),
    "pooling without overlap": Variant(pooling="2x2"),
    "linear rate": Variant(schedule="triangle"),
    "four times the batch": Variant(batch=4),
    "four times batch and rate": Variant(batch=4, rate=4.0),
    "norm before": Variant(norm="before"),
    "norm after": Variant(norm="after"),
    "half width": Variant(width=0.5),
    "wider": Variant(width=math.sqrt(2)),
    "elu, convolutional head": Variant(activation="elu", head="convolutional"),
    "HSV": Variant(colours="HSV"),
    "YCrCb": Variant(colours="YCrCb"),
    "grey": Variant(colours="grey"),
    "learned colours": Variant(colours="learned"),
}


def in_colours(given: Splits, colours: str) -> Splits:
    """The same images in another colour space, of 8 bits; in RGB where the network learns its own."""
    if colours not in MODES:
        return given

    def turned(part: Samples) -> Samples:
        pixels = np.stack([_converted(one, MODES[colours]) for one in part.pixels])
        return Samples.of_pixels(
            pixels, part.labels, name=part.name, files=part.files, class_names=part.class_names
        )

    return replace(given, train=turned(given.train), test=turned(given.test))


def _converted(pixels: np.ndarray, mode: str) -> np.ndarray:
    """(H, W, 3) of bytes as (H, W, 3), or (H, W, 1) in grey."""
    found = np.asarray(Image.fromarray(pixels).convert(mode))
    return found[..., None] if found.ndim == 2 else found


class _Sum(nn.Module):
    """The maximum and the mean of each window, added."""

    def __init__(self) -> None:
        super().__init__()
        self.maximum, self.mean = nn.MaxPool2d(3, 2), nn.AvgPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        total: Tensor = self.maximum(x) + self.mean(x)
        return total


POOLINGS: Mapping[str, Callable[[], nn.Module]] = {
    "max": lambda: nn.MaxPool2d(3, 2),
    "average": lambda: nn.AvgPool2d(3, 2),
    "sum": _Sum,
    "2x2": lambda: nn.MaxPool2d(2, 2),
}


def network_of(variant: Variant, *, maps: int, classes: int, channels: int, size: int) -> nn.Sequential:
    """Images (N, C, H, W) of `size` pixels a side, normalised, to logits (N, K)."""
    activation, pooling = ACTIVATIONS[variant.activation], POOLINGS[variant.pooling]
    first, second, units = (max(1, round(factor * maps * variant.width)) for factor in (1, 2, 8))
    layers: list[nn.Module] = []

    def act(features: int, norm: Callable[[int], nn.Module]) -> list[nn.Module]:
        before, after = ([norm(features)] if variant.norm == where else [] for where in ("before", "after"))
        return [*before, activation(), *after]

    if variant.colours == "learned":
        for a, b in ((channels, LEARNED), (LEARNED, channels)):
            layers += [nn.Conv2d(a, b, 1), nn.LeakyReLU(SLOPE)]
    for a, b in ((channels, first), (first, second), (second, second)):
        layers += [nn.Conv2d(a, b, 3, padding=1), *act(b, nn.BatchNorm2d), pooling()]
        size = size // 2 if variant.pooling == "2x2" else (size - 3) // 2 + 1
    if variant.head == "convolutional":
        layers += [nn.Conv2d(second, units, 3, padding=1), *act(units, nn.BatchNorm2d)]
        layers += [nn.Conv2d(units, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    else:
        layers += [nn.Flatten(), nn.Linear(second * size * size, units), *act(units, nn.BatchNorm1d)]
        layers += [nn.Linear(units, classes)]
    return nn.Sequential(*layers)


@torch.no_grad()
def unit_variance(network: nn.Sequential, inputs: Tensor) -> None:
    """Start every convolution and linear layer so that it gives variance 1 for these inputs (N, C, H, W).

    Weights are orthonormal, drawn by torch's generator, then divided by the deviation of what they give, in
    one step, since without a bias it is linear in them; biases are zero.
    """
    x = inputs
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            layer.weight.div_(layer(x).std())
        x = layer(x)
