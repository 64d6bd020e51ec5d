"""The channels of a network's images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.ao.nn import quantized as quantised

from ostrich.errors import InputError

RGB = 3  # what is taken for granted until a network says otherwise


def input_channels(network: object) -> int:
    """The channels that the first convolution takes; 3 where there is none."""
    return first_channels(network) or RGB


def first_channels(network: object) -> int | None:
    """The channels that the first convolution takes; None where there is none."""
    if isinstance(network, nn.Module):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | quantised.Conv2d):
                return module.in_channels
    return None


def other_channels(network: object, size: tuple[int, int]) -> list[int]:
    """What a network without a convolution may take instead: grey, or what fills its first linear layer.

    `size` (H, W) is that of its images.
    """
    counts = [1]
    if isinstance(network, nn.Module):
        inputs = next((m.in_features for m in network.modules() if isinstance(m, nn.Linear)), 0)
        counts += [inputs // math.prod(size)] if inputs % math.prod(size) == 0 else []
    return [count for count in dict.fromkeys(counts) if count not in (0, RGB)]


def per_channel(what: str, values: Sequence[float] | None, channels: int) -> tuple[float, ...] | None:
    """A value for each channel, from as many or from one. Raises InputError for another number."""
    if values is None:
        return None
    values = tuple(float(v) for v in values)
    if len(values) == 1:
        values *= channels
    if len(values) != channels:
        raise InputError(f"{what} has {len(values)} values for {channels} channels; give one or {channels}.")
    return values
