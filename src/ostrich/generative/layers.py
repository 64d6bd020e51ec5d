"""Layers of the conditional generators: spectral normalisation, self-attention, conditional batch norm."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

Layer = TypeVar("Layer", bound=nn.Module)


class SpectralNorm(nn.Module):
    """W / sigma(W), sigma the largest singular value of W as (out, rest) (Miyato et al. 2018, eq. 8).

    sigma = u.W v, with u and v buffers that `advance` improves by one step of power iteration. It is called
    once a training step, by the loop, and not in every forward: so the function does not change between
    the two halves of a step, nor in evaluation.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn(matrix.shape[0]).to(matrix), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(matrix.shape[1]).to(matrix), dim=0))
        self.u: Tensor
        self.v: Tensor
        for _ in range(15):  # so that the first step already meets a norm near one
            self.advance(weight)

    @torch.no_grad()
    def advance(self, weight: Tensor) -> None:
        """One step of power iteration (algorithm 1): u from v, then v from u."""
        matrix = weight.flatten(1)
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        # Not as a product of matrices, which would be rounded to bf16 under autocast.
        return weight / ((weight.flatten(1) * self.v).sum(1) * self.u).sum()


def spectral(layer: Layer) -> Layer:
    """The layer with its weight spectrally normalised."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(layer, "weight", SpectralNorm(weight))
    return layer


def advance(network: nn.Module) -> None:
    """One step of power iteration for every spectrally normalised weight of a network."""
    for module in network.modules():
        if isinstance(module, parametrize.ParametrizationList):
            for one in module:
                if isinstance(one, SpectralNorm):
                    one.advance(module.original)


class SelfAttention(nn.Module):
    """x + gamma * attention over all places (Zhang et al. 2019, section 3, as in Brock et al. 2019).

    Queries and keys have an eighth of the channels, values half; keys and values are max-pooled by two.
    gamma starts at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = spectral(nn.Conv2d(channels, max(1, channels // 8), 1, bias=False))
        self.key = spectral(nn.Conv2d(channels, max(1, channels // 8), 1, bias=False))
        self.value = spectral(nn.Conv2d(channels, max(1, channels // 2), 1, bias=False))
        self.out = spectral(nn.Conv2d(max(1, channels // 2), channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # (N, C/8, H W)
        key = F.max_pool2d(self.key(x), 2).flatten(2)  # (N, C/8, H W / 4)
        value = F.max_pool2d(self.value(x), 2).flatten(2)  # (N, C/2, H W / 4)
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)  # (N, H W, H W / 4)
        seen = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])  # (N, C/2, H, W)
        return x + self.gamma * self.out(seen)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain 1 + g(y) and bias b(y) are linear in a condition y (N, Y)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = spectral(nn.Linear(condition, channels, bias=False))
        self.bias = spectral(nn.Linear(condition, channels, bias=False))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, bias = 1 + self.gain(condition), self.bias(condition)
        return self.norm(x) * gain[:, :, None, None] + bias[:, :, None, None]


def orthogonal_penalty(weight: Tensor) -> Tensor:
    """|W W^T o (1 - I)|^2, W (out, rest): rows at right angles, their lengths free (Brock 2019, eq. 3)."""
    matrix = weight.flatten(1)
    products = matrix @ matrix.T
    return (products - products.diag().diag()).square().sum()


@torch.no_grad()
def add_orthogonal_gradient(network: nn.Module, strength: float, except_for: tuple[str, ...] = ()) -> None:
    """Add the gradient of strength * `orthogonal_penalty` to the weights' gradients, in closed form.

    It is 4 * strength * (W W^T o (1 - I)) W. Names that contain a word of `except_for` are left out.
    """
    for name, weight in network.named_parameters():
        if weight.ndim < 2 or weight.grad is None or any(word in name for word in except_for):
            continue
        matrix = weight.flatten(1)
        products = matrix @ matrix.T
        products.fill_diagonal_(0)
        weight.grad.add_((products @ matrix).view_as(weight), alpha=4 * strength)
