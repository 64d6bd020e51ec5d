"""Training by interval bounds: each step is also taken on the worst logits that a budget allows.

Gowal et al. 2018, "On the effectiveness of interval bound propagation for training verifiably robust models",
sections 3 and 4: loss = kappa * CE(z) + (1 - kappa) * CE(worst z), where the worst logits are the lower bound
of the label's and the upper bounds of all others'. While the run ramps up, the budget grows linearly from 0
and kappa falls linearly from 1 to a half. What differs: SGD, as in every recipe here, for Adam, and the last
layer is bounded like the others, not together with the differences of its outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError

KAPPA = 0.5  # share of the plain loss at the end
RAMP = 0.5  # of the run, in which the budget grows and kappa falls
BOUNDED = "convolutions, linear layers, ReLU and flatten, in a row"


def ramped(eps: float, done: float) -> tuple[float, float]:
    """Budget and kappa when a share `done` of the run is over."""
    grown = min(1.0, done / RAMP)
    return eps * grown, 1 - (1 - KAPPA) * grown


def worst_logits(network: nn.Module, low: Tensor, high: Tensor, labels: Tensor) -> Tensor:
    """The worst logits (N, K) of inputs between `low` and `high` (N, C, H, W), as the network takes them.

    Raises InputError for a network that is more than a row of layers that can be bounded.
    """
    middle, radius = (low + high) / 2, (high - low) / 2
    for layer in _layers(network):
        if isinstance(layer, nn.Linear):
            middle, radius = layer(middle), F.linear(radius, layer.weight.abs())
        elif isinstance(layer, nn.Conv2d):
            settings: Any = (layer.stride, layer.padding, layer.dilation, layer.groups)
            middle, radius = layer(middle), F.conv2d(radius, layer.weight.abs(), None, *settings)
        elif isinstance(layer, nn.ReLU):
            bottom, top = F.relu(middle - radius), F.relu(middle + radius)
            middle, radius = (bottom + top) / 2, (top - bottom) / 2
        else:
            middle, radius = layer(middle), layer(radius)
    own = F.one_hot(labels, middle.shape[1]).bool()
    return torch.where(own, middle - radius, middle + radius)


def _layers(network: nn.Module) -> list[nn.Module]:
    layers = list(network) if isinstance(network, nn.Sequential) else [network]
    for layer in layers:
        zeros = not isinstance(layer, nn.Conv2d) or layer.padding_mode == "zeros"
        if not isinstance(layer, nn.Conv2d | nn.Linear | nn.ReLU | nn.Flatten) or not zeros:
            raise InputError(
                f"Training by interval bounds takes {BOUNDED}; this network has {type(layer).__name__}. "
                "arch:strided-cnn is one that it takes."
            )
    return layers
