"""A pretend accelerator: tensors that live on the CPU and say that they live elsewhere.

What fails first where code meets a GPU is a tensor of one device beside a tensor of another, a generator of
the CPU that is to draw on the GPU, and `.numpy()` of what is not on the CPU. None of the three needs a GPU to
be found. `Held` wraps a CPU tensor and reports `ACCELERATOR` as its device; each of its operations runs on
the CPU, in the same kernels, so results are those of the CPU bit for bit; and an operation that CUDA would
refuse is refused. What may mix there may mix here: a CPU number (a tensor without dimensions) joins
elementwise operations, CPU indices pick from an accelerator's tensor, `copy_` and `.to` go between the two.

The device is torch's own place for other backends ("PrivateUse1"), so that factories, `.to`, `state_dict`,
autograd, autocast and `torch.manual_seed` reach it by the roads that CUDA takes. Its global generator is one
of its own, as CUDA's is. Autograd counts devices once: this module is imported before the first backward.

What this cannot check: kernels and their numerics (TF32, bf16, non-deterministic sums); asynchronous
errors and races of streams; memory and speed; pinned memory, copies between accelerators, DDP and NCCL;
`torch.compile`; kernels that CUDA lacks for a type. On CUDA `module.to(device)` keeps its Parameter
objects; here they are new ones. There is no `torch.Generator(device)` here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretend"
CPU = torch.device("cpu")
# They mix devices on CUDA too. Their own rules are in `_check`.
COPIES = ("aten::copy_", "aten::_to_copy", "aten::_copy_from")
INDEXING = (
    *("aten::index", "aten::_unsafe_index"),
    *("aten::index_put", "aten::index_put_", "aten::_index_put_impl_"),
)
# Not elementwise, yet a CPU number may stand for their value.
NUMBERS = (
    *("aten::fill", "aten::fill_", "aten::masked_fill", "aten::masked_fill_", "aten::index_fill_"),
    *INDEXING[2:],
)
# What makes a tensor from nothing; other factories are made of these.
FACTORIES = (
    *(
        "empty.memory_format",
        "empty_strided",
        "eye",
        "eye.m",
        "full",
        "linspace",
        "logspace",
        "scalar_tensor",
    ),
    *("arange", "arange.start", "arange.start_step", "randperm", "randperm.generator"),
    *("tril_indices", "triu_indices", "fft_fftfreq", "fft_rfftfreq"),
)


class _Module(_DummyBackendModule):
    """What torch asks of `torch.cuda`, of this device."""

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def manual_seed_all(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    manual_seed = manual_seed_all

    def get_rng_state(self, device: object = None) -> Tensor:
        return self.generator.get_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        self.generator.set_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


MODULE = _Module()
_setup_privateuseone_for_python_backend(NAME, backend_module=MODULE)
ACCELERATOR = torch.device(NAME, 0)


class DevicesMixed(RuntimeError):
    """What CUDA would refuse."""


class Held(Tensor):
    """`held`, a CPU tensor, under the name of the accelerator."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Held:
        assert not isinstance(held, Held)
        self = Tensor._make_wrapper_subclass(
            *(cls, held.size(), held.stride(), held.storage_offset()),
            dtype=held.dtype,
            layout=held.layout,
            device=ACCELERATOR,
        )
        self.held = held
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, value: Held) -> None:
        Tensor.data.__set__(self, value)
        self.held = value.held

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(f"can't convert {ACCELERATOR} tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.numpy()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def __deepcopy__(self, memo: dict[int, Any]) -> Held:
        if id(self) not in memo:
            memo[id(self)] = copied = self.detach().clone().requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                copied._is_param = True
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> Any:
        return _unpickled, (self.detach().held, self.requires_grad)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Held({self.held!r})"

    def __format__(self, form: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), form)


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """The operation on the CPU, refused where CUDA would refuse it; its results on their device."""
    _check(func, args, kwargs)
    wrappers: dict[int, Held] = {}

    def opened(value: Any) -> Any:
        if isinstance(value, Held):
            wrappers[id(value.held)] = value
            return value.held
        return value

    opened_args, options = tree_map(opened, args), tree_map(opened, kwargs)
    device = torch.device(kwargs.get("device") or ACCELERATOR)
    if kwargs.get("device") is not None:
        options["device"] = CPU
    options.pop("pin_memory", None)
    if any(argument.name == "generator" for argument in func._schema.arguments):
        if kwargs.get("generator") is not None:
            raise DevicesMixed(f"Expected a '{NAME}' device type for generator but found 'cpu': {func}")
        options["generator"] = MODULE.generator

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or device.type != NAME:
            return value
        if id(value) not in wrappers:
            return Held(value)
        known = wrappers[id(value)]  # written to in place
        if known.shape != value.shape or known.stride() != value.stride():  # squeeze_ and its like
            with torch._C._DisableTorchDispatch():
                known.as_strided_(value.size(), value.stride(), value.storage_offset())
        return known

    return tree_map(wrapped, _OWN.get(func, func)(*opened_args, **options))


def _check(func: Any, args: tuple, kwargs: dict) -> None:
    name = func._schema.name
    found: list[Tensor] = []
    tree_map(lambda value: found.append(value) if isinstance(value, Tensor) else None, (args, kwargs))
    if name in COPIES:
        return
    if name in INDEXING:  # indices may come from the CPU
        found = [args[0], *(value for value in args[2:] if isinstance(value, Tensor))]
    plain = [value for value in found if not isinstance(value, Held)]
    if name in NUMBERS or torch.Tag.pointwise in func.tags:
        written = func._schema.is_mutable and found[:1]
        plain = [value for value in plain if value.dim() or (written and value is written[0])]
    if plain or (name in INDEXING and not isinstance(args[0], Held)):
        kinds = [f"{'accelerator' if isinstance(v, Held) else 'cpu'} {tuple(v.shape)}" for v in found]
        raise DevicesMixed(f"Expected all tensors to be on the same device: {func} of {', '.join(kinds)}")


def _dropped(x: Tensor, p: float, train: bool | None, generator: torch.Generator | None = None) -> Any:
    """Dropout as the CPU computes it; an accelerator has a kernel of its own."""
    if not train:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    noise = torch.empty_like(x).bernoulli_(1 - p, generator=MODULE.generator).div_(1 - p)
    return x * noise, noise != 0


_OWN: dict[Any, Callable[..., Any]] = {torch.ops.aten.native_dropout.default: _dropped}


def _made(func: Any, *args: Any, **kwargs: Any) -> Tensor:
    return _run(func, args, kwargs)


def _copied(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    """What `torch.tensor(..., device=...)` calls, past the road of tensor subclasses."""
    opened = [value.held if isinstance(value, Held) else value for value in (to, source)]
    opened[0].copy_(opened[1])
    return to


def overload(name: str) -> Any:
    """An operation by its name in torch's tables."""
    base, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, base), overload or "default")


_KERNELS = torch.library.Library("aten", "IMPL")
for _name in FACTORIES:
    _KERNELS.impl(_name, functools.partial(_made, overload(_name)), "PrivateUse1")
_KERNELS.impl("_copy_from", _copied, "PrivateUse1")


TARGET: list[object] = []  # the map_location of the load that is running


def _unpickled(held: Tensor, requires_grad: bool) -> Tensor:
    """A tensor of the accelerator read from a file: where it was, unless the load says otherwise."""
    where = ACCELERATOR if not TARGET or TARGET[-1] is None else torch.device(str(TARGET[-1]))
    return held.to(where).requires_grad_(requires_grad)


torch.serialization.add_safe_globals([_unpickled])
