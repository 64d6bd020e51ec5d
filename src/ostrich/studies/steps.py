"""A bare training loop for networks of few layers: so many steps, looked at where one asks.

`training/loop.py` counts epochs and shuffles, augments and averages; here a step takes a tenth of a
millisecond or a few, and all images lie in memory as floats. As there, what the network draws belongs to the
step: nothing random has a state that lives longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.data.dataset import Samples
from ostrich.models.loading import pick_device
from ostrich.runtime.facts import digest
from ostrich.runtime.randomness import keyed, seed_of, seeded
from ostrich.runtime.resumable import Checkpoint
from ostrich.studies.fitting import loss_and_error
from ostrich.studies.schema import Row

ORDER, MASKS = 21, 14  # of the random numbers that shuffle, and of those that the network draws
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
    watch: Callable[[int], Row],
    before: Callable[[int], None] = lambda step: None,
    after: Callable[[], None] = lambda: None,
    checkpoint: Path | None = None,
) -> list[Row]:
    """Train by cross-entropy on images (N, D); the rows of what was watched.

    Each epoch has its order, and leaves out its last, smaller batch. `before` a step (counted from 1) may set
    the rate, `after` it the weights may be constrained. After each step of `at` the network is watched in
    evaluation mode. With `checkpoint`, what was cut off goes on from that file, as if it had not been: but
    for what `watch` keeps to itself.
    """
    per_epoch = len(images) // batch_size
    assert per_epoch, "a batch is no larger than the images"
    facts = {}
    if checkpoint is not None:
        facts = {
            "network": digest(repr(network), network.state_dict()),
            "optimiser": digest(optimiser.state_dict()["param_groups"]),
            "images": digest(images),
            "labels": digest(labels),
            "how": repr((steps, batch_size, seed, sorted(at), str(images.device))),
        }
    rows: list[Row] = []
    done = 0

    def standing() -> dict[str, Any]:
        states = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
        return {"step": done, "rows": rows, **states}

    order = torch.empty(0, dtype=torch.int64)
    with Checkpoint(checkpoint, facts) as kept:
        if (found := kept.restore()) is not None:
            done, rows = found["step"], found["rows"]
            network.load_state_dict(found["network"])
            optimiser.load_state_dict(found["optimiser"])
        for step in range(done + 1, steps + 1):
            place = (step - 1) % per_epoch
            if place == 0 or not len(order):
                order = torch.randperm(len(images), generator=keyed(seed, ORDER, step - place))
            chosen = order[place * batch_size : (place + 1) * batch_size]
            network.train()
            before(step)
            optimiser.zero_grad()
            with seeded(seed_of(seed, MASKS, step), images.device):
                F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimiser.step()
            after()
            if step in at:
                network.eval()
                rows.append(watch(step))
            done = step
            kept.offer(standing)
        kept.save(standing())
    network.eval()
    return rows


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    """What the network gives for images (N, D), some at a time."""
    return torch.cat([network(part) for part in images.split(TOGETHER)])


def error(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent wrong, in the mode that the network is in."""
    return loss_and_error(outputs(network, images), labels)[1]
