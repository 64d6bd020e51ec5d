"""The channels of a network's images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.ao.nn import quantized as quantised

from ostrich.errors import InputError


def input_channels(network: object) -> int:
    """The channels that the first convolution takes; 3 where there is none."""
    if isinstance(network, nn.Module):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | quantised.Conv2d):
                return module.in_channels
    return 3


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
