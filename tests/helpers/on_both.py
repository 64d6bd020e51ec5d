"""The same computation on the CPU and on the pretend accelerator, compared bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from accelerator import CPU
from torch import Tensor


def on_both(compute: Callable[[torch.device], Any], accelerator: torch.device) -> Any:
    """What is computed on the accelerator, after it was seen to be what is computed on the CPU."""
    wanted, got = compute(CPU), compute(accelerator)
    assert alike(wanted, got)
    return got


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal bit for bit, wherever their tensors are; NaN equals NaN."""
    if isinstance(one, Tensor):
        one, other = one.detach().cpu(), other.detach().cpu()
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and bool(((one == other) | ((one != one) & (other != other))).all())
        )
    if is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            alike(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)
        )
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return bool(one == other or (one != one and other != other))
