"""Several processes as one: torchrun makes of a command data-parallel training and sharded evaluation.

One process unless torchrun's variables say otherwise. Image i of anything belongs to rank i modulo the number
of ranks: nothing is padded and nothing is counted twice. Only rank 0 writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    """This process's number, 0 where there is only one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def share(count: int) -> range:
    """The places, of so many, that are this process's."""
    return range(rank(), count, world())


@contextmanager
def process_group() -> Iterator[None]:
    """Within it the processes that torchrun started work together: over NCCL on GPUs, else over gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def wait() -> None:
    """Until every process is here."""
    if world() > 1:
        dist.barrier()


def sums(*values: float, device: torch.device | None = None) -> tuple[float, ...]:
    """Each value summed over the processes, in float64."""
    if world() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return tuple(total.tolist())


def broadcast_str(text: str) -> str:
    """Rank 0's text, for every process."""
    if world() == 1:
        return text
    box = [text]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def data_parallel(network: nn.Module) -> nn.Module:
    """The network, whose gradients are then averaged over the processes by each backward pass.

    Every process calls it equally often, each time followed by one backward pass.
    """
    if world() == 1:
        return network
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(network, broadcast_buffers=False)


def add_gradients(network: nn.Module) -> None:
    """The gradients of all processes, summed, in every process; a missing one counts as zero.

    For what `data_parallel` cannot do: networks that are called several times before a backward pass, or
    frozen in some, or whose slope is itself in the loss (`torch.autograd.grad`), as the players of a game.
    """
    if world() == 1:
        return
    parameters = [p for p in network.parameters() if p.requires_grad]
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters])
    dist.all_reduce(flat)
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters])):
        parameter.grad = part.view_as(parameter).contiguous(memory_format=_format(parameter))


def average_buffers(network: nn.Module) -> None:
    """Buffers of floats, batch norm's statistics among them, averaged over the processes."""
    if world() == 1:
        return
    for buffer in network.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer.div_(world())


def _format(tensor: Tensor) -> torch.memory_format:
    channels_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format
