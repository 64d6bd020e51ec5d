"""Programs of torch.export as networks."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from ostrich.errors import InputError

Network = TypeVar("Network")


def settled(network: Network) -> Network | Exported:
    """The network; a program of torch.export, whose modes cannot be asked for, as one that has none."""
    if isinstance(network, torch.fx.GraphModule) and {"train", "eval"} <= vars(network).keys():
        return Exported(network)
    return network


class Exported(nn.Module):
    """A program of torch.export, which knows no training mode."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program
        for module in self.modules():
            module.training = False

    def _apply(self, fn: Any, recurse: bool = True) -> Exported:
        """It stays where, and of the type, it was exported: both are written into the program."""
        return self

    def train(self, mode: bool = True) -> Exported:
        if mode:
            raise InputError("An exported program cannot be trained.")
        return self

    def forward(self, x: torch.Tensor) -> Any:
        return self.program(x)
