"""The channels of a network's images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.ao.nn import quantized as quantised

from ostrich.errors import InputError
from ostrich.models.batches import VALUES

RGB = 3  # what is taken for granted until a network says otherwise


def input_channels(network: object, size: tuple[int, int] | None = None) -> int:
    """The channels that the first convolution takes, or else, of images of a `size` (H, W), the first linear
    layer; 3 where neither says it."""
    filled = _filled(network, math.prod(size)) if size else 0
    return next(iter(channel_counts(network)), filled or RGB)


def _filled(network: object, area: int) -> int:
    """The channels of so many pixels that fill the first linear layer; 0 where none do."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    inputs = next((m.in_features for m in modules if isinstance(m, nn.Linear)), 0)
    return inputs // area if inputs % area == 0 else 0


def channel_counts(network: object) -> list[int]:
    """The channels that its convolutions take, in the order in which they are registered, each number once.

    Which of them is called first is not known; that it is the first is a guess. Of TorchScript they are those
    of the weights, of which there are none where it is frozen.
    """
    counts: list[int] = []
    for module in network.modules() if isinstance(network, nn.Module) else ():
        if isinstance(module, nn.Conv2d | quantised.Conv2d):
            counts.append(module.in_channels)
        elif isinstance(module, torch.jit.ScriptModule):
            counts += [weight.shape[1] for weight in module.parameters(recurse=False) if weight.ndim == 4]
    return list(dict.fromkeys(counts))


def guessed_channels(network: object, *values: Sequence[float] | None) -> tuple[int, bool]:
    """The channels of a network's images, and whether they are only guessed, by its first convolution.

    Of which there are several means or deviations (`values`), so many there are: where a convolution takes as
    many, or where there is none.
    """
    counts = channel_counts(network)
    told = [len(one) for one in values if one is not None and len(one) > 1]
    for count in told:
        if count in counts or not counts:
            return count, False
    return next(iter(counts), RGB), not told


def other_channels(network: object, size: tuple[int, int], guessed: int) -> list[int]:
    """What a network may take instead of what was `guessed`: as another convolution, grey, colour, or what
    fills its first linear layer.

    `size` (H, W) is that of its images.
    """
    area = math.prod(size)
    counts = [count for count in channel_counts(network) if count * area <= VALUES]
    counts += [1, RGB, _filled(network, area)]
    return [count for count in dict.fromkeys(counts) if count not in (0, guessed)]


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
