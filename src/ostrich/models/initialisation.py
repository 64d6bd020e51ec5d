"""Where training starts: weights by formula, and weights scaled by data (LSUV).

    normal      N(0, 0.01^2)                       Krizhevsky 2012
    xavier      variance 1 / fan_in                Glorot and Bengio 2010, in the form of He 2015, section 2.2
    he          variance 2 / fan_in                He et al. 2015, eq. 10
    twice-he    variance 4 / fan_in                for comparison: the signal doubles with each layer
    default     U(+-1 / sqrt(fan_in))              PyTorch's, variance 1 / (3 fan_in)

A layer followed by ReLU multiplies the second moment of what it is given by fan_in * variance / 2, so He
keeps it. That holds in the mean over weights: in one network it wanders, the more the narrower the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt

import torch
from torch import Tensor, nn

from ostrich.errors import InputError, UnknownName
from ostrich.models.untouched import is_compiled, untouched

FACTORS = {"xavier": 1.0, "he": 2.0, "twice-he": 4.0, "default": 1 / 3}  # variance times fan_in
STARTS = ("normal", "xavier", "he", "twice-he", "default")
PLAIN_STD = 0.01
TOLERANCE, MOST_TRIES = 0.1, 10  # of LSUV: Mishkin and Matas 2016, algorithm 1


def standard_deviation(start: str, fan_in: int) -> float:
    """Of one weight. Raises UnknownName."""
    if start not in STARTS:
        raise UnknownName("initialisation", start, STARTS)
    return PLAIN_STD if start == "normal" else sqrt(FACTORS[start] / fan_in)


def initialise(network: nn.Module, start: str, generator: torch.Generator | None = None) -> nn.Module:
    """Draw the weights of all convolutions and linear layers anew, in place; their biases become 0.

    Raises UnknownName.
    """
    for module in weighted(network).values():
        std = standard_deviation(start, module.weight[0].numel())
        drawn = torch.empty(module.weight.shape)
        if start == "default":
            drawn.uniform_(-sqrt(3) * std, sqrt(3) * std, generator=generator)
        else:
            drawn.normal_(0, std, generator=generator)
        with torch.no_grad():
            module.weight.copy_(drawn)
            if module.bias is not None:
                module.bias.zero_()
    return network


def lsuv(network: nn.Module, inputs: Tensor, generator: torch.Generator | None = None) -> dict[str, float]:
    """Layer-sequential unit variance (Mishkin and Matas 2016): starts that unit variance is measured for.

    In place, every convolution and linear layer gets orthonormal weights, and then, in the order in which a
    forward meets them, is divided by the deviation of its outputs for `inputs` (N, C, H, W), normalised as
    the network takes them, until their variance is 1 up to 0.1. Biases become 0. Returns each layer's
    deviation at the end. Raises InputError for a compiled network and for a layer whose output does not vary.
    """
    if is_compiled(network):
        raise InputError("A compiled network cannot be initialised layer by layer; do it before compiling.")
    layers = weighted(network)
    with torch.no_grad(), untouched(network):
        for module in layers.values():
            rows = module.weight.flatten(1)
            module.weight.copy_(_orthonormal(rows, generator).view_as(module.weight))
            if module.bias is not None:
                module.bias.zero_()
        order = list(_deviations(network, layers, inputs))
        found: dict[str, float] = {}
        for name in order:
            for _ in range(MOST_TRIES):
                std = _deviations(network, {name: layers[name]}, inputs)[name]
                if not 0 < std < float("inf"):
                    raise InputError(f"The outputs of layer {name!r} do not vary for these inputs.")
                found[name] = std
                if abs(std * std - 1) <= TOLERANCE:
                    break
                layers[name].weight.div_(std)
    return found


def weighted(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The convolutions and linear layers by name."""
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def _orthonormal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Rows, or where there are more of them than columns the columns, orthonormal."""
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    u, _, v = torch.linalg.svd(drawn, full_matrices=False)
    return (u if u.shape == drawn.shape else v).to(like)


def _deviations(
    network: nn.Module, layers: dict[str, nn.Conv2d | nn.Linear], inputs: Tensor
) -> dict[str, float]:
    """The deviation of each layer's outputs in one forward, in the order in which they are met."""
    found: dict[str, float] = {}
    with _watched(layers, found):
        network(inputs)
    return found


@contextmanager
def _watched(layers: dict[str, nn.Conv2d | nn.Linear], found: dict[str, float]) -> Iterator[None]:
    def hook(name: str):  # type: ignore[no-untyped-def]
        def watch(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            found.setdefault(name, output.std().item())

        return watch

    handles = [module.register_forward_hook(hook(name)) for name, module in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
