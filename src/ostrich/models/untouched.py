"""Someone's network, handed back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def untouched(network: object) -> Iterator[None]:
    """The network in evaluation mode with frozen parameters; as it was again afterwards.

    Training flags and `requires_grad` are restored also after an exception. Gradients are taken
    with respect to images only, so `.grad` is never written. What is no Module is left alone.
    """
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
