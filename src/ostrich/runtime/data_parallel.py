"""A batch by several processes: micro-batches, whose gradients are added up before a step.

    for part in own_parts(len(rows), recipe.micro_batch):    this process's micro-batches
    DataParallel(network).backward(losses)                   the gradient of the whole batch, in every process
    with statistics.of(part): network(...)                   batch norm, beginning where the last step ended

A batch of n images is cut into ceil(n / size) micro-batches, as even as can be. Into that cut no number of
processes enters: process r of w takes the micro-batches r, r + w, ..., whole, and what is random about one is
drawn by its number or by its images'. So a step is that of one process, up to the rounding of sums. Within a
process gradients are accumulated; the last of its backward passes adds up those of all, by torch's
DistributedDataParallel (Li et al. 2020, "PyTorch Distributed: experiences on accelerating data parallel
training", section 3.2.4). One that has no micro-batch adds zeros.

Batch norm normalises by the images of a micro-batch (the "ghost batches" of Hoffer, Hubara and Soudry 2017,
"Train longer, generalize better"). Its running statistics after a step are the mean, by shares of images, of
what each micro-batch makes of those before the step: no order enters, and the momentum is one step's.

Of a network without batch norm and dropout the cut is of no matter; there each process gets a part, however
few images there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from warnings import catch_warnings, filterwarnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ostrich.runtime import distributed, events

Loss = Callable[[], Tensor]


@dataclass(frozen=True)
class Part:
    """A micro-batch: its number among `of`, its `rows` of the batch, and its `share` of the images."""

    number: int
    of: int
    rows: slice
    share: float


def parts(count: int, size: int, *, apart: bool = False) -> list[Part]:
    """The micro-batches of a batch of `count` images, of at most `size` each, as even as can be.

    `apart` says that its images have nothing to do with each other: then there are as many as processes, too.
    """
    number = min(count, max(-(-count // size), distributed.world() if apart else 1))
    ends = pairwise(count * i // number for i in range(number + 1))
    return [Part(i, number, slice(a, b), (b - a) / count) for i, (a, b) in enumerate(ends)]


def own_parts(count: int, size: int, *, apart: bool = False) -> list[Part]:
    """Those of them that this process computes; none where there are fewer than processes."""
    return parts(count, size, apart=apart)[distributed.rank() :: distributed.world()]


def is_apart(*networks: nn.Module) -> bool:
    """Whether the images of a batch have nothing to do with each other: no batch norm, no dropout.

    Dropout draws for a batch as it comes, so that its size decides what is dropped.
    """
    together = (_BatchNorm, _DropoutNd, nn.RReLU)
    return not any(isinstance(module, together) for network in networks for module in network.modules())


def say_idle(count: int, size: int, *, apart: bool) -> None:
    """Say, in rank 0, that a batch of `count` images has too few micro-batches for the processes."""
    number, world = len(parts(count, size, apart=apart)), distributed.world()
    if number >= world or not distributed.is_main():
        return
    have = "is one micro-batch" if number == 1 else f"has {number} micro-batches"
    wait = "1 process waits" if world - number == 1 else f"{world - number} processes wait"
    way = "a larger batch_size has one for each"
    if not apart and count >= world:
        way = f"--set micro_batch={count // world} has one for each, and then gives the same on any number"
    events.say(f"a batch of {count} images {have}, so {wait}: {way}")


class _Called(nn.Module):
    """What DistributedDataParallel wraps: parameters, used by whatever function has their network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.used = nn.ParameterList(p for p in network.parameters() if p.requires_grad)

    def forward(self, loss: Loss | None) -> Tensor:
        if loss is not None:
            return loss()
        return torch.stack([p[None][:0].sum() for p in self.used]).sum()  # a zero of each


class DataParallel:
    """The gradients of a network, of a whole batch, whoever computes its micro-batches.

    A loss is a function of nothing, so the network may be called several times in it, or with its slope in
    it. Every process makes its instance and calls `backward` equally often; the parameters become rank 0's.
    """

    def __init__(self, network: nn.Module) -> None:
        self._wrapped = None
        if distributed.world() > 1:
            from torch.nn.parallel import DistributedDataParallel

            self._wrapped = DistributedDataParallel(called := _Called(network))
            # After its first backward pass it lays gradients out anew, and sums of more than two round
            # otherwise: that is to be before the first step, of a new run and of one that goes on.
            self.backward([])
            for parameter in called.used:
                parameter.grad = None

    def backward(self, losses: Sequence[tuple[float, Loss]]) -> None:
        """Add the gradient of the sum of share * loss, over these and those of the other processes."""
        if self._wrapped is None:
            for share, loss in losses:
                _weighted(loss(), share).backward()
            return
        given: list[tuple[float, Loss | None]] = [*losses] or [(1.0, None)]
        for number, (share, used) in enumerate(given, 1):
            with nullcontext() if number == len(given) else self._wrapped.no_sync(), catch_warnings():
                filterwarnings("ignore", message="Grad strides")  # of a single channel, which lies either way
                # What it adds up it divides by the number of processes.
                _weighted(self._wrapped(used), share * distributed.world()).backward()


def _weighted(loss: Tensor, share: float) -> Tensor:
    return loss if share == 1 else share * loss


class Statistics:
    """The buffers of a network, batch norm's running statistics among them, over the micro-batches of a step.

    `of(part)` lets a micro-batch begin with those of before the step, and `settle` leaves their mean. Of a
    single one in a single process nothing is done: it leaves what it leaves.
    """

    def __init__(self, network: nn.Module) -> None:
        self._places = [
            (module, name)
            for module in network.modules()
            for name, value in module._buffers.items()
            if value is not None
        ]
        self._before: list[Tensor] = []
        self._moved: list[Tensor] = []

    @contextmanager
    def of(self, part: Part) -> Iterator[None]:
        """Within it the network computes this micro-batch."""
        if part.of == 1 and distributed.world() == 1:
            yield
            return
        self._begin()
        # New tensors, since a graph may hold those of another micro-batch.
        for (module, name), value in zip(self._places, self._before, strict=True):
            module._buffers[name] = value.clone()
        try:
            yield
        finally:
            for i, (module, name) in enumerate(self._places):
                left = module._buffers[name]
                assert left is not None
                self._moved[i] += _step(left, self._before[i], part.share)
                module._buffers[name] = self._before[i]

    @torch.no_grad()
    def settle(self) -> None:
        """After the last micro-batch of a step: what all of them make of it, in every process."""
        if distributed.world() == 1 and not self._before:
            return
        self._begin()
        if distributed.world() > 1:
            self._moved = _summed(self._moved)
        for value, moved in zip(self._before, self._moved, strict=True):
            value += moved.round().to(value.dtype) if not value.is_floating_point() else moved
        self._before, self._moved = [], []

    def _begin(self) -> None:
        if not self._before:
            self._before = [
                value for module, name in self._places if (value := module._buffers[name]) is not None
            ]
            kinds = [value if value.is_floating_point() else value.double() for value in self._before]
            self._moved = [torch.zeros_like(value) for value in kinds]


def _step(after: Tensor, before: Tensor, share: float) -> Tensor:
    """How far a micro-batch moved a buffer, by its share; counts move alike in all."""
    with torch.no_grad():
        moved = after - before if before.is_floating_point() else after.double() - before.double()
        return share * moved


def _summed(values: list[Tensor]) -> list[Tensor]:
    """Each tensor summed over the processes, by one message."""
    if not values:
        return values
    flat = torch.cat([value.flatten() for value in values])
    dist.all_reduce(flat)
    found = flat.split([value.numel() for value in values])
    return [part.view_as(value).to(value.dtype) for part, value in zip(found, values, strict=True)]
