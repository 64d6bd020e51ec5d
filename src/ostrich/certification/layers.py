"""What is affine: the layers that are known to be, as W x + b and |W| x, and whether a map is what it seems.

A layer is what its class computes. One with a hook, or with a forward of its own, may compute anything, and
what it answers for a few images proves nothing: it is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as every_module
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

Map = Callable[[Tensor], Tensor]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)
AFFINE = (nn.Conv1d, nn.Conv2d, nn.Linear, *NORMS)
LINEAR = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.Unflatten)
KEPT = (nn.Dropout, nn.Dropout2d)  # nothing in evaluation mode
KNOWN = (*AFFINE, *LINEAR, *KEPT, nn.ReLU)
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
DIFFERENCES = (operator.sub, operator.isub, torch.sub, "sub", "sub_")
PRODUCTS = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
QUOTIENTS = (operator.truediv, operator.itruediv, torch.div, "div", "div_")
COMPUTING = ("forward", "_conv_forward", "_call_impl", "__call__")
WEIGHTS = (WeightNorm, SpectralNorm)  # hooks that compute the weight, and nothing else
SIZES = (0.1, 100.0)  # of the inputs on which a map is tried
OUTPUTS = 4  # that are tried, of each map
CLOSE = 1e-4  # rounding of a map, relative to |W| |x| + |b|


def changed(module: nn.Module, kind: type[nn.Module] | None = None) -> str | None:
    """Why a module need not compute what its class, or `kind`, does: a hook or a forward of its own."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        every_module._global_forward_hooks,
        every_module._global_forward_pre_hooks,
    )
    if any(not isinstance(hook, WEIGHTS) for found in hooks for hook in found.values()):
        return "has a hook"
    kind = kind or type(module)
    own = any(name in vars(module) for name in COMPUTING)
    if own or any(getattr(type(module), name, None) is not getattr(kind, name, None) for name in COMPUTING):
        return f"computes otherwise than {kind.__name__}"
    return None


def layer(module: nn.Module) -> tuple[Map, Map]:
    """W x + b and |W| x of a layer of AFFINE or LINEAR, without its hooks.

    Raises ValueError, with the reason, where it is none.
    """
    known: Any = module
    if isinstance(module, LINEAR):
        return known.forward, known.forward
    weight, bias = known.weight, known.bias
    if isinstance(module, nn.Linear):
        return lambda given: F.linear(given, weight, bias), lambda given: F.linear(given, weight.abs())
    if isinstance(module, NORMS):
        mean, var, eps = known.running_mean, known.running_var, known.eps
        if var is None:
            raise ValueError("takes its statistics from the batch")
        scale = (var + eps).rsqrt() * (1.0 if weight is None else weight.abs())
        return (
            lambda given: F.batch_norm(given, mean, var, weight, bias, training=False, eps=eps),
            lambda given: given * scale.view(-1, *[1] * (given.dim() - 2)),
        )
    if known.padding_mode != "zeros":
        raise ValueError(f"pads by {known.padding_mode}")
    convolve: Any = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
    settings = (known.stride, known.padding, known.dilation, known.groups)
    return (
        lambda given: convolve(given, weight, bias, *settings),
        lambda given: convolve(given, weight.abs(), None, *settings),
    )


def arithmetic(target: object, other: Any, *, first: bool) -> tuple[Map, Map] | None:
    """x + b, x - b, x * b or x / b of a constant b, with |W| x; None where `target` is none of them.

    `first` is whether x stands first: the other way round, only sums and products are the same.
    """
    if target in SUMS or (first and target in DIFFERENCES):
        sign = -1 if target in DIFFERENCES else 1
        return lambda given: given + sign * other, same
    if target in PRODUCTS:
        return lambda given: given * other, lambda given: given * abs(other)
    if first and target in QUOTIENTS:
        return lambda given: given / other, lambda given: given / abs(other)
    return None


def same(given: Tensor) -> Tensor:
    """x."""
    return given


def is_affine(apply: Map, magnitude: Map, shape: tuple[int, ...], like: Tensor) -> bool:
    """Whether a map of (n, *shape) is what it is taken for, on random inputs of two sizes.

    Each row by itself, f(u + v) - f(v) = f(u) - f(0); and for some of its outputs, whose row w of W is their
    gradient, f(u) - f(0) = w u, and `magnitude`(u) = |w| u for u from 0 up.
    """
    draw = torch.Generator().manual_seed(0)
    sizes = torch.tensor(SIZES).view(-1, *[1] * len(shape))
    u, v = ((sizes * torch.randn(len(SIZES), *shape, generator=draw)).to(like) for _ in range(2))
    zero, alone = apply(torch.zeros_like(u[:1])), apply((u + v)[-1:])
    together = apply(torch.cat([u, v, u + v]))
    if len(together) != 3 * len(SIZES):
        return False
    first, second, both = together.split(len(SIZES))
    size = magnitude(u.abs()).expand_as(first)
    room = CLOSE * (zero.abs() + size + magnitude(v.abs())) + torch.finfo(like.dtype).tiny
    units = torch.randint(zero.numel(), (OUTPUTS,), generator=draw).to(like.device)
    rows = torch.zeros(OUTPUTS, zero.numel(), dtype=like.dtype, device=like.device)
    rows[torch.arange(OUTPUTS), units] = 1.0
    with torch.enable_grad():
        start = torch.zeros(OUTPUTS, *shape, dtype=like.dtype, device=like.device, requires_grad=True)
        (found,) = torch.autograd.grad((apply(start).reshape(rows.shape) * rows).sum(), start)
    flat = u.reshape(len(SIZES), -1)
    weights = found.reshape(OUTPUTS, -1).T  # (inputs, OUTPUTS)

    def agree(found: Tensor, expected: Tensor, room: Tensor) -> bool:
        return bool(((found - expected).abs() <= room).all())  # also not where there is no number

    def tried(values: Tensor) -> Tensor:  # (sizes, OUTPUTS)
        return values.reshape(len(SIZES), -1)[:, units]

    return (
        agree(alone, both[-1:], room[-1:])
        and agree(both - second, first - zero, room)
        and agree(tried(first - zero), flat @ weights, tried(room))
        and agree(tried(size), flat.abs() @ weights.abs(), tried(room))
    )
