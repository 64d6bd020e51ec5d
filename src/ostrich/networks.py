"""Someone's network, handed back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    frozen = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval()
        for parameter, _ in frozen:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, required in frozen:
            parameter.requires_grad_(required)
