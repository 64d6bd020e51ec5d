"""Several processes as one: torchrun makes of training and of its evaluation one computation.

One process unless torchrun's variables say otherwise. What is evaluated belongs to rank i modulo the number
of ranks, image by image: nothing is padded and nothing is counted twice. Who computes what of a training's
batch says `data_parallel`. Only rank 0 writes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor

from ostrich.runtime import interrupts


class _Group:
    processes: ClassVar[list[str]] = []


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
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(backend())
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, f"{socket.gethostname()} {os.getpid()}")
    _Group.processes = found
    try:
        yield
    finally:
        _Group.processes = []
        dist.destroy_process_group()


def backend() -> str:
    """What the processes speak by: NCCL between GPUs, else gloo."""
    return "nccl" if torch.cuda.is_available() else "gloo"


def processes() -> list[str]:
    """ "HOST PROCESS" of each, by rank; none where there is only this one."""
    return _Group.processes


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


def total(values: Tensor) -> Tensor:
    """A tensor summed over the processes, in every process: the gradient of one perturbation or patch."""
    if world() > 1:
        values = values.contiguous()
        dist.all_reduce(values)
    return values


def leaving(device: torch.device | None = None) -> bool:
    """Whether any process was asked to leave: all do so after the same step."""
    return sums(float(interrupts.pending()), device=device)[0] > 0
