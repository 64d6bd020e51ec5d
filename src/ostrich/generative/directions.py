"""Principal directions of a generator: ways through its codes along which its images vary most.

Härkönen 2020, "GANSpace", the principal components of what many samples look like, each carried back to the
codes by linear regression. There they are components of a layer's outputs; here of the images themselves,
seen at SIDE pixels, so that any generator has them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ostrich.errors import InputError
from ostrich.generative.generator import Generator

SAMPLES, SIDE = 512, 16


def principal_directions(generator: Generator, count: int = 8, seed: int = 0) -> Tensor:
    """Unit vectors (count, Z), the one along which images vary most first; a clip counts by its first frame.

    Of a vector and its opposite it is the one whose largest number is above 0. Raises InputError for more
    directions than the codes have numbers, or the images as they are seen.
    """
    samples = range(SAMPLES)
    codes = generator.codes.numbered(samples, seed)  # (N, Z)
    most = min(codes.shape[1], generator.shape[0] * SIDE**2)
    if not 1 <= count <= most:
        raise InputError(f"{generator.name} has 1 to {most} directions; got {count}.")
    images = generator(codes, generator.in_turn(samples, None))
    first = images[:, :, 0] if images.ndim == 5 else images
    looks = adaptive_avg_pool2d(first, SIDE).flatten(1).double()
    looks = looks - looks.mean(0)
    components = torch.linalg.eigh(looks.T @ looks).eigenvectors.flip(1)[:, :count]
    along = looks @ components  # (N, count)
    directions = along.T @ (codes - codes.mean(0)).double()
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return (directions * largest.sign() / directions.norm(dim=1, keepdim=True)).to(codes)
