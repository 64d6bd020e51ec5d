"""Pictures of compositional pattern-producing networks: many networks evaluated at every pixel at once.

The inputs are x and y, the distance from the centre (1 in the corner), and 1. A node's value is its
function of its weighted sum, and every function has values in [-1, 1]; an output's size is a channel of
the image, or its hue, lightness or saturation.

Nguyen, Yosinski, Clune 2015 give x and y in pixels; here they run from -8 to 8 along the longer side, so
that a network draws the same at any size, and that more first drawings are seen as something
(benchmarks/choices.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ostrich.attacks.fooling.cppn import Networks

INPUTS = 4  # x, y, distance from the centre, 1
REACH = 8.0  # of x and y, from the centre to the middle of the shorter sides
VALUES_AT_ONCE = 2**22  # of all nodes and pixels: 16 MB


def drawn(nets: Networks, height: int, width: int) -> Tensor:
    """Images (p, C, H, W) in [0, 1], float32."""
    at_once = max(1, VALUES_AT_ONCE // (nets.order.shape[1] * height * width))
    rows = torch.arange(len(nets), device=nets.order.device)
    return torch.cat([_drawn(nets.take(part), height, width) for part in rows.split(at_once)])


def _drawn(nets: Networks, height: int, width: int) -> Tensor:
    values = _values(nets, height, width).abs_().clamp_max_(1).unflatten(2, (height, width))
    return from_hls(values) if nets.outputs == 3 else values


def _values(nets: Networks, height: int, width: int) -> Tensor:
    """What the outputs give at each pixel, (p, outputs, H*W)."""
    used = _used(nets)
    inner = used.clone()
    inner[:, : INPUTS + nets.outputs] = False
    count = inner.sum(1)
    large_first = count.argsort(descending=True, stable=True)  # then whoever has a node is a prefix
    nets, inner, count = nets.take(large_first), inner[large_first], count[large_first]
    weight, function = _in_order(nets, inner, int(count[0]))
    most = weight.shape[1] - nets.outputs
    values = weight.new_empty(len(nets), weight.shape[1], height * width)
    values[:, :INPUTS] = coordinates(height, width).to(values)
    for node in range(INPUTS, weight.shape[1]):
        rows = int((count > node - INPUTS).sum()) if node < most else len(nets)
        before = min(node, most)
        if node < most:
            values[rows:, node] = 0
        total = torch.bmm(weight[:rows, node, None, :before], values[:rows, :before])[:, 0]
        values[:rows, node] = _applied(function[:rows, node], total)
    found = torch.empty_like(values[:, -nets.outputs :])
    found[large_first] = values[:, -nets.outputs :]
    return found


def _in_order(nets: Networks, inner: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Weights (p, n, n) and functions (p, n) of the inputs, up to `most` inner nodes, and the outputs."""
    key = torch.where(inner, nets.order, 1.5)  # what is unused comes between inner nodes and outputs
    key[:, :INPUTS], key[:, INPUTS : INPUTS + nets.outputs] = 0, 2
    places = key.argsort(dim=1, stable=True)
    places = torch.cat([places[:, : INPUTS + most], places[:, -nets.outputs :]], 1)
    rows = torch.arange(len(nets), device=places.device)[:, None]
    weight = nets.weight[rows[..., None], places[:, :, None], places[:, None]]
    return weight, nets.function[rows, places]


def _used(nets: Networks) -> Tensor:
    """Which nodes an output depends on, (p, m)."""
    used = torch.zeros_like(nets.order, dtype=torch.bool)
    used[:, INPUTS : INPUTS + nets.outputs] = True
    for _ in range(used.shape[1]):
        wider = used | (nets.linked & used[:, :, None]).any(1)
        if torch.equal(wider, used):
            break
        used = wider
    return used


def _applied(function: Tensor, total: Tensor) -> Tensor:
    """Each row's function (p,) of its sums (p, n)."""
    result = torch.empty_like(total)
    for number, apply in enumerate(FUNCTIONS):
        rows = function == number
        if rows.any():
            result[rows] = apply(total[rows])
    return result


def sigmoid(x: Tensor) -> Tensor:
    """2 / (1 + exp(-x)) - 1."""
    return torch.tanh(x / 2)


def gaussian(x: Tensor) -> Tensor:
    """exp(-x^2)."""
    return torch.exp(-x * x)


def linear(x: Tensor) -> Tensor:
    """A third of x, which is cut to [-3, 3]."""
    return x.clamp(-3, 3) / 3


FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (torch.sin, sigmoid, gaussian, linear)


def coordinates(height: int, width: int) -> Tensor:
    """The inputs (4, H*W) at each pixel."""
    places = [torch.arange(length).double() - (length - 1) / 2 for length in (height, width)]
    y, x = torch.meshgrid(*places, indexing="ij")
    distance = (x * x + y * y).sqrt()
    scale = 2 * REACH / max(height, width)
    inputs = [scale * x, scale * y, distance / distance.max().clamp_min(0.5), torch.ones_like(x)]
    return torch.stack(inputs).flatten(1).float()


def from_hls(values: Tensor) -> Tensor:
    """Hue, lightness and saturation (p, 3, H, W) in [0, 1] as red, green and blue."""
    hue, lightness, saturation = values.unbind(1)
    sixths = 6 * hue
    pure = torch.stack([(sixths - 3).abs() - 1, 2 - (sixths - 2).abs(), 2 - (sixths - 4).abs()], 1)
    chroma = (1 - (2 * lightness - 1).abs()) * saturation
    return (lightness[:, None] + (pure.clamp_(0, 1) - 0.5) * chroma[:, None]).clamp_(0, 1)
