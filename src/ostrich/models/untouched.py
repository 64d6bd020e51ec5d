"""Someone's network, asked in its own numbers and handed back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from torch import nn


@dataclass
class _Float32:
    """How torch multiplies float32 numbers, while somebody asks for all of their bits; as it was afterwards.

    cuDNN's convolutions keep 10 of 23 bits where a GPU has TF32, unless told otherwise; matrix products do
    where a user has said so.
    """

    lock: Lock = field(default_factory=Lock)
    asked: int = 0
    restoring: ExitStack = field(default_factory=ExitStack)

    def enter(self) -> None:
        with self.lock:
            self.asked += 1
            if self.asked == 1:
                self._set()

    def leave(self) -> None:
        with self.lock:
            self.asked -= 1
            if not self.asked:
                self.restoring.close()

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


_float32 = _Float32()


@contextmanager
def untouched(network: object) -> Iterator[None]:
    """The network in evaluation mode with frozen parameters, in whole float32; as it was again afterwards.

    Training flags and `requires_grad` are restored also after an exception. Gradients are taken
    with respect to images only, so `.grad` is never written. What is no Module is left alone.
    """
    _float32.enter()
    try:
        with _evaluated(network):
            yield
    finally:
        _float32.leave()


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


def is_compiled(network: object) -> bool:
    """Whether any part of it is TorchScript or torch.compile's: nothing can be seen inside such a part."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    return any(isinstance(part, torch.jit.ScriptModule) or hasattr(part, "_orig_mod") for part in modules)


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
