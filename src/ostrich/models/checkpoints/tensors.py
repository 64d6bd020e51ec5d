"""Tensors as a torch pickle describes them, made by us: storages of bytes, and views of them.

A description is checked before anything is made: a tensor lies wholly within its storage and has no more
values than it (nothing is spread out by a stride of zero), and a storage is as long as the file says it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ostrich.models.checkpoints.machine import Global, Refused, Stub

DTYPES = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
HOMES = ("torch", "torch.cuda", "torch.storage")


@dataclass(eq=False)
class Storage:
    """`count` values of a type under a `key`; `read(key, size)` gives that many bytes."""

    key: str
    dtype: torch.dtype
    count: int
    read: Callable[[str, int], bytearray]

    @cached_property
    def content(self) -> torch.UntypedStorage:
        size = self.count * self.dtype.itemsize
        if not size:
            return torch.UntypedStorage(0)
        return torch.frombuffer(self.read(self.key, size), dtype=torch.uint8).untyped_storage()


@dataclass(frozen=True, eq=False, kw_only=True)
class Described:
    """A tensor that is not read yet."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> Tensor:
        try:
            empty = torch.empty(0, dtype=self.dtype)
            return empty.set_(self.storage.content, self.offset, self.shape, self.stride)
        except (RuntimeError, TypeError) as error:  # of a type that torch names and cannot make
            raise Refused(f"tensors of {self.dtype} are not read") from error


def storage_of(found: object, read: Callable[[str, int], bytearray]) -> Storage | Stub:
    """What a persistent id, ("storage", type, key, place, count), stands for. Raises Refused."""
    if not isinstance(found, tuple) or len(found) not in (5, 6) or found[0] != "storage":
        return Stub("persistent id")
    kind, key, count, view = found[1], found[2], found[4], found[5] if len(found) == 6 else None
    home, _, name = kind.name.rpartition(".") if isinstance(kind, Global) else ("", "", "")
    if home not in HOMES or name not in STORAGES or view is not None or not isinstance(key, str):
        raise Refused("a tensor is kept in a form that is not known")
    return Storage(key, STORAGES[name], _size(count), read)


def described(storage: object, offset: object, shape: object, stride: object, *_: object) -> Any:
    """`torch._utils._rebuild_tensor_v2`: values of the storage's own type. Raises Refused."""
    if not isinstance(storage, Storage):
        raise Refused("a tensor has no storage")
    return _described(storage, storage.dtype, offset, shape, stride)


def described_by_type(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    needs_gradient: object,
    hooks: object,
    dtype: object,
    *_: object,
) -> Any:
    """`torch._utils._rebuild_tensor_v3`: a type beside untyped bytes. Raises Refused."""
    if not isinstance(storage, Storage) or not isinstance(dtype, Global) or dtype.name not in DTYPES:
        raise Refused("a tensor is kept in a form that is not known")
    return _described(storage, DTYPES[dtype.name], offset, shape, stride)


def _described(storage: Storage, dtype: torch.dtype, offset: object, shape: object, stride: object) -> Any:
    if (
        not isinstance(shape, tuple)
        or not isinstance(stride, tuple)
        or len(shape) != len(stride)
        or len(shape) > 64
    ):
        raise Refused("a tensor has no shape")
    first, sides, steps = _size(offset), tuple(map(_size, shape)), tuple(map(_size, stride))
    values, held = math.prod(sides), storage.count * storage.dtype.itemsize // dtype.itemsize
    last = first + sum((side - 1) * step for side, step in zip(sides, steps))
    if values > held or (values and last >= held):
        raise Refused(f"a tensor of {'x'.join(map(str, sides))} does not lie within its {held} values")
    return Described(storage=storage, dtype=dtype, offset=first, shape=sides, stride=steps)


def _size(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise Refused("a size is a whole number")
    return value


def _first(value: object = None, *_: object) -> object:
    return value


def _pairs(pairs: object = (), *_: object) -> dict[str, Any]:
    """An ordered dictionary; its entries follow, but old files give a list of pairs."""
    if not isinstance(pairs, list | tuple):
        return {}
    return {
        p[0]: p[1] for p in pairs if isinstance(p, list | tuple) and len(p) == 2 and isinstance(p[0], str)
    }


def _empty(*_: object) -> dict[str, Any]:
    return {}


def _from_type(function: object = None, kind: object = None, arguments: object = (), *_: object) -> object:
    """A subclass of Tensor, as the tensor it is."""
    if isinstance(function, Global) and isinstance(arguments, tuple) and function.name in REBUILD:
        return REBUILD[function.name](*arguments)
    return Stub(function.name if isinstance(function, Global) else "function")


REBUILD: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": described,
    "torch._utils._rebuild_tensor_v2": described,
    "torch._utils._rebuild_tensor_v3": described_by_type,
}
MAKERS: dict[str, Callable[..., Any]] = {
    **REBUILD,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _first,
    "collections.OrderedDict": _pairs,
    "collections.defaultdict": _empty,
    "builtins.dict": _pairs,
    "__builtin__.dict": _pairs,
}
