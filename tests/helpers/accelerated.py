"""The pretend accelerator in use: autocast's casts, files that are loaded onto it, its random numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from accelerator import ACCELERATOR, CPU, MODULE, NAME, TARGET, Held, overload
from torch import Tensor
from torch.utils._pytree import tree_map

# As on CUDA, of the operations that networks here are made of: those in the lower type, those in float32.
LOWER = (
    *("conv2d", "conv3d", "conv_transpose2d.input", "conv_transpose3d.input"),
    *("linear", "matmul", "mm", "bmm"),
)
UPPER = (
    *("softmax.int", "log_softmax.int", "cross_entropy_loss"),
    *("binary_cross_entropy_with_logits", "mse_loss"),
)


def _cast(func: Any, to: torch.dtype | None, *args: Any, **kwargs: Any) -> Any:
    """The operation in the type that autocast asks for."""
    dtype = to or torch.get_autocast_dtype(NAME)

    def cast(value: Any) -> Any:
        floating = isinstance(value, Held) and value.is_floating_point() and value.dtype != torch.float64
        return value.to(dtype) if floating else value

    with torch.autocast(NAME, enabled=False):
        return func(*tree_map(cast, args), **tree_map(cast, kwargs))


_KERNELS, _OTHERWISE = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
_OTHERWISE.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
for _names, _type in ((LOWER, None), (UPPER, torch.float32)):
    for _name in _names:
        _KERNELS.impl(_name, functools.partial(_cast, overload(_name), _type), "AutocastPrivateUse1")


@contextmanager
def accelerated() -> Iterator[torch.device]:
    """The accelerator; within, `torch.load` knows it. Its random numbers are as before afterwards."""
    load, before = torch.load, MODULE.generator.get_state()

    def loaded(*args: Any, map_location: Any = None, **kwargs: Any) -> Any:
        TARGET.append(map_location)
        try:
            elsewhere = map_location is not None and torch.device(map_location).type == NAME
            found = load(*args, map_location=CPU if elsewhere else map_location, **kwargs)
        finally:
            TARGET.pop()
        return moved(found, ACCELERATOR) if elsewhere else found

    torch.load = loaded
    try:
        yield ACCELERATOR
    finally:
        torch.load = load
        MODULE.generator.set_state(before)


def moved(value: Any, device: torch.device) -> Any:
    """The same value with its tensors on the device, in containers and dataclasses too."""
    return tree_map(lambda leaf: _moved(leaf, device), value)


def _moved(leaf: Any, device: torch.device) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.to(device)
    if is_dataclass(leaf) and not isinstance(leaf, type):
        return replace(leaf, **{f.name: moved(getattr(leaf, f.name), device) for f in fields(leaf) if f.init})
    return leaf
