"""A bare training loop for networks of few layers: so many steps, looked at where one asks.

`training/loop.py` counts epochs and shuffles, augments, averages and resumes; here a step takes a tenth of a
millisecond or a few, and all images lie in memory as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.data.dataset import Samples
from ostrich.models.loading import pick_device
from ostrich.runtime.randomness import keyed
from ostrich.studies.fitting import loss_and_error

ORDER = 21  # of the random numbers that shuffle
TOGETHER = 2000  # images evaluated at once


def as_floats(part: Samples, device: str) -> tuple[Tensor, Tensor]:
    """Images (N, D) in [0, 1] and labels (N,) of a split, on a device."""
    (images, labels), where = part.tensors(), pick_device(device)
    return images.flatten(1).float().div(255).to(where), labels.to(where)


def stepped(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    at: Collection[int],
    watch: Callable[[int], None],
    before: Callable[[int], None] = lambda step: None,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Train by cross-entropy on images (N, D).

    Each epoch has its order, and leaves out its last, smaller batch. `before` a step (counted from 1) may set
    the rate, `after` it the weights may be constrained. After each step of `at` the network is watched in
    evaluation mode.
    """
    per_epoch = len(images) // batch_size
    assert per_epoch, "a batch is no larger than the images"
    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, steps + 1):
        place = (step - 1) % per_epoch
        if place == 0:
            order = torch.randperm(len(images), generator=keyed(seed, ORDER, step))
        rows = order[place * batch_size : (place + 1) * batch_size]
        network.train()
        before(step)
        optimiser.zero_grad()
        F.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimiser.step()
        after()
        if step in at:
            network.eval()
            watch(step)


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    """What the network gives for images (N, D), some at a time."""
    return torch.cat([network(part) for part in images.split(TOGETHER)])


def error(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent wrong, in the mode that the network is in."""
    return loss_and_error(outputs(network, images), labels)[1]
