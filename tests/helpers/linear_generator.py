"""A generator that is a matrix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ostrich.generative.codes import Codes
from ostrich.generative.generator import Generator


class Linear(nn.Module):
    """A generator that is a matrix, so that its gradient is one too."""

    def __init__(self, matrix: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.matrix, self.shape = nn.Parameter(matrix, requires_grad=False), shape

    def forward(self, codes: Tensor, classes: Tensor | None) -> Tensor:
        return (codes @ self.matrix.T).view(-1, *self.shape)


def generator(
    shape: tuple[int, ...] = (3, 4, 4),
    *,
    kind: str = "uniform",
    length: int = 5,
    class_names: tuple[str, ...] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Generator:
    matrix = 0.02 * torch.randn(
        np.prod(shape), length, generator=torch.Generator().manual_seed(0), dtype=dtype
    )
    return Generator(
        name="linear",
        network=Linear(matrix, shape).eval(),
        codes=Codes(kind, length),
        shape=shape,
        class_names=class_names,
        card={},
    )
