"""Where training starts: weights by formula.

    normal      N(0, 0.01^2)                       Krizhevsky 2012
    xavier      variance 1 / fan_in                Glorot and Bengio 2010, in the form of He 2015, section 2.2
    he          variance 2 / fan_in                He et al. 2015, eq. 10
    twice-he    variance 4 / fan_in                for comparison: the signal doubles with each layer
    default     U(+-1 / sqrt(fan_in))              PyTorch's, variance 1 / (3 fan_in)

A layer followed by ReLU multiplies the second moment of what it is given by fan_in * variance / 2, so He
keeps it. That holds in the mean over weights: in one network it wanders, the more the narrower the layers.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import nn

from ostrich.errors import UnknownName

FACTORS = {"xavier": 1.0, "he": 2.0, "twice-he": 4.0, "default": 1 / 3}  # variance times fan_in
STARTS = ("normal", "xavier", "he", "twice-he", "default")
PLAIN_STD = 0.01


def standard_deviation(start: str, fan_in: int) -> float:
    """Of one weight. Raises UnknownName."""
    if start not in STARTS:
        raise UnknownName("initialisation", start, STARTS)
    return PLAIN_STD if start == "normal" else sqrt(FACTORS[start] / fan_in)


def initialise(network: nn.Module, start: str, generator: torch.Generator | None = None) -> nn.Module:
    """Draw the weights of all convolutions and linear layers anew, in place; their biases become 0.

    Raises UnknownName.
    """
    for module in weighted(network).values():
        std = standard_deviation(start, module.weight[0].numel())
        drawn = torch.empty(module.weight.shape)
        if start == "default":
            drawn.uniform_(-sqrt(3) * std, sqrt(3) * std, generator=generator)
        else:
            drawn.normal_(0, std, generator=generator)
        with torch.no_grad():
            module.weight.copy_(drawn)
            if module.bias is not None:
                module.bias.zero_()
    return network


def weighted(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The convolutions and linear layers by name."""
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
