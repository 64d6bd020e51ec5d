"""A network's answers in batches, and the size of a batch for a network that takes only one size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

TOGETHER = 64  # images in a forward, unless said
VALUES = 2**25  # numbers in a forward at most: 64 images of 3x418x418
SIDES = (224, 32, 64, 28, 16, 48, 96, 128, 160, 192, 256, 299, 384, 448, 512)  # of images that are tried
LARGEST = 64  # the largest batch that is tried
ONE_ROW = re.compile(r"[(\[]1(x|, )\d")  # "(1x25088 and 512x10)", "[1, 3, 32, 32]"


class Batches(Protocol):
    """Images (N, C, H, W) of which some in a row can be had: a tensor, or `data.Samples`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


def images_per_forward(images: Tensor) -> int:
    """How many of these images (N, C, H, W) are one forward: 64, of large ones fewer."""
    return max(1, min(TOGETHER, VALUES // max(1, images[:1].numel())))


def exactly(forward: Callable[[Tensor], Tensor], images: Tensor, size: int) -> Tensor:
    """Answers (N, ...) for images (N, ...), of which `forward` takes exactly `size` at once.

    The last part is filled up by repeating its last image; without images an empty one is asked about,
    for the form of the answer.
    """
    return torch.cat([forward(full)[:count] for full, count in filled(images, size)])


def filled(images: Tensor, size: int) -> Iterator[tuple[Tensor, int]]:
    """Images (N, ...) in parts of exactly `size`, and how many of each are asked about.

    The last part is filled up by repeating its last image; without images an empty one is.
    """
    for part in images.split(size):
        last = part[-1:] if len(part) else part.new_zeros(1, *part.shape[1:])
        more = last.expand(size - len(part), *part.shape[1:])
        yield (torch.cat([part, more]) if len(part) < size else part), len(part)


def fixed_batch(works: Callable[[int], bool], complaint: str) -> int | None:
    """The only number of images a network takes, after its `complaint` about a single one.

    Tried are the numbers in the complaint and the powers of two, up to 64; it has to refuse one more. A
    complaint that shows the one row, as "(1x25088 and 512x10)" does, is about the image: None then.
    """
    if ONE_ROW.search(complaint):
        return None
    named = [int(number) for number in re.findall(r"\d+", complaint)]
    powers = [2**i for i in range(1, LARGEST.bit_length())]  # 2 ... 64
    sizes = dict.fromkeys([*(n for n in named if 2 <= n <= LARGEST), *powers])
    return next((size for size in sizes if works(size) and not works(size + 1)), None)
