"""Networks in 8 bits: what tells them, and what their state is made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

HOME = "torch.ao.nn."  # of torch's quantised modules, static and dynamic


def is_quantised(network: nn.Module) -> bool:
    """Whether a part of it computes in 8 bits, which cuts the graph of gradients."""
    kinds = (part for module in network.modules() for part in type(module).__mro__)
    if any(kind.__module__.startswith(HOME) and "quantized" in kind.__module__ for kind in kinds):
        return True
    return any(isinstance(v, Tensor) and v.is_quantized for v in network.state_dict().values())


def is_dynamic(network: nn.Module) -> bool:
    """Whether a part of it finds the scale of its input anew each time: nothing goes back through it."""
    return any(".quantized.dynamic" in type(module).__module__ for module in network.modules())


def content(value: object) -> Iterator[bytes]:
    """What an entry of a network's state holds, as bytes: of a tensor, also of one in 8 bits, its values."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from content(part)
    elif not isinstance(value, Tensor):
        yield repr(value).encode()
    elif value.is_quantized:
        yield from content(value.int_repr())
        if value.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
            yield from content((value.q_per_channel_scales(), value.q_per_channel_zero_points()))
        elif value.qscheme() == torch.per_tensor_affine:
            yield from content((value.q_scale(), value.q_zero_point()))
        else:
            yield repr(value).encode()
    else:
        yield value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
