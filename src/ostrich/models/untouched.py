"""Someone's network, asked in its own numbers and handed back as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar, cast
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

Network = TypeVar("Network")
WRAPPED = "_orig_mod"  # what torch.compile calls the module that it wraps
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


@dataclass
class _Held:
    """What torch has one of for all threads, held at a value while somebody asks; as it was afterwards."""

    lock: Lock = field(default_factory=Lock)
    asked: int = 0
    restoring: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> None:
        with self.lock:
            if not self.asked:
                self._set()
            self.asked += 1

    def __exit__(self, *_raised: object) -> None:
        with self.lock:
            self.asked -= 1
            if not self.asked:
                self.restoring.close()

    def _set(self) -> None:
        """Set it; what was set before is restored in the opposite order."""
        raise NotImplementedError


class _Float32(_Held):
    """How torch multiplies float32 numbers, while somebody asks for all of their bits; as it was afterwards.

    cuDNN's convolutions keep 10 of 23 bits where a GPU has TF32, unless told otherwise; matrix products do
    where a user has said so.
    """

    def _set(self) -> None:
        """All of their bits; what was set before is restored in the opposite order."""
        later = self.restoring.callback
        for one in _kinds():
            later(setattr, one, "fp32_precision", one.fp32_precision)
        # Read, the older settings raise where they and the newer ones say different things, inside of a
        # compiled network too: so they are set where they are what is in use.
        with suppress(RuntimeError):
            later(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        with suppress(RuntimeError):
            later(setattr, torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
            torch.backends.cudnn.allow_tf32 = False
        for one in _kinds():
            if one.fp32_precision not in ("ieee", "none"):
                one.fp32_precision = "ieee"


def _kinds() -> tuple[Any, ...]:
    """What multiplies, each with a precision of its own."""
    gpu: Any = torch.backends.cudnn
    cpu: Any = torch.backends.mkldnn
    return (gpu.conv, gpu.rnn, torch.backends.cuda.matmul, cpu.conv, cpu.rnn, cpu.matmul)


class _AsWritten(_Held):
    """What torch.compile made runs as it is written, layer by layer, so that hooks are called."""

    def _set(self) -> None:
        self.restoring.enter_context(torch.compiler.set_stance("force_eager"))


_float32, _as_written = _Float32(), _AsWritten()


@dataclass
class _Buffers(_Held):
    """What a network's forward may write into: its buffers, as they were when the first asked."""

    network: ReferenceType[nn.Module] = field(kw_only=True)

    def _set(self) -> None:
        for module in _parts(self.network()):
            for name, buffer in module.named_buffers(recurse=False):
                if not buffer.is_inference():  # which nothing can write into
                    self.restoring.callback(_put_back, module, name, buffer, buffer.clone())


@torch.no_grad()
def _put_back(module: nn.Module, name: str, buffer: torch.Tensor, before: torch.Tensor) -> None:
    """The same tensor as the buffer of that name, with the values it had."""
    if not isinstance(module, torch.jit.ScriptModule) and module._buffers.get(name) is not buffer:
        module._buffers[name] = buffer
    if buffer.shape != before.shape:  # as observers of 8 bits find how many channels there are
        buffer.resize_(before.shape)
    if not torch.equal(buffer, before):
        buffer.copy_(before)


_held: WeakKeyDictionary[nn.Module, _Buffers] = WeakKeyDictionary()


@contextmanager
def untouched(network: object) -> Iterator[None]:
    """The network in evaluation mode with frozen parameters, in whole float32; as it was again afterwards.

    What torch.compile made of it runs as it is written. Training flags, `requires_grad` and buffers, which a
    forward may change, are restored also after an exception, once for contexts within each other. Gradients
    are taken with respect to images only, so `.grad` is never written. What is no Module is left alone.
    """
    with _float32, uncompiled(network), _kept(network), _evaluated(network):
        yield


def _kept(network: object) -> AbstractContextManager[object]:
    """A context after which the network's buffers are what they were."""
    if not isinstance(network, nn.Module):
        return nullcontext()
    return _held.setdefault(network, _Buffers(network=ref(network)))


def uncompiled(network: object) -> AbstractContextManager[object]:
    """A context in which what torch.compile made of the network, if anything, runs as it is written."""
    return _as_written if is_compiled(network) else nullcontext()


@contextmanager
def _evaluated(network: object) -> Iterator[None]:
    """In evaluation mode with frozen parameters."""
    if not isinstance(network, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in network.modules()]
    frozen = [(one, one.requires_grad) for one in network.parameters() if not one.is_inference()]
    try:
        if any(training for _, training in modes):
            network.eval()
        for parameter, required in frozen:
            if required:
                parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            if module.training != training:
                module.training = training
        for parameter, required in frozen:
            if parameter.requires_grad != required:
                parameter.requires_grad_(required)


def is_scripted(network: object) -> bool:
    """Whether any part of it is TorchScript: nothing can be seen inside such a part."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in _parts(network))


def is_compiled(network: object) -> bool:
    """Whether any part of it is torch.compile's, by a wrapper or in place."""
    parts = _parts(network)
    return any(WRAPPED in part._modules or part.__dict__.get("_compiled_call_impl") for part in parts)


def unwrapped(network: Network) -> Network:
    """The network inside what computes the same: torch.compile's wrapper, DataParallel, averaged weights."""
    while isinstance(network, nn.Module) and (inside := _inside(network)) is not None:
        network = cast(Network, inside)
    return network


def _inside(wrapper: nn.Module) -> nn.Module | None:
    name = WRAPPED if WRAPPED in wrapper._modules else "module" if type(wrapper) in WRAPPERS else None
    return None if name is None else wrapper._modules[name]


def _parts(network: object) -> Iterable[nn.Module]:
    return network.modules() if isinstance(network, nn.Module) else ()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Parameters that require no gradient, in the mode the network is in; as they were again afterwards."""
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.requires_grad_(False)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
