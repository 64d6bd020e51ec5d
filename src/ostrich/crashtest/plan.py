"""What a check costs, and on how many images each probe runs.

Probes of two kinds share the time. Those of `check.FIRST` always answer: each has a share of what is left and
gives by then the best it has. The others say what they cost at most; one is admitted when its turn comes, by
the time that is left then and the network's speed then, and is given up where that was wrong.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ostrich.attacks.engine.problem import Access
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.context import FEW, Context
from ostrich.models.untouched import untouched
from ostrich.runtime.resumable import Computation, Piece

PIECE = Piece("plan")
FIRST_SHARE, GRADIENTS = 0.02, 100  # part of the time; of an image that is attacked
FEWEST = 16  # images; a figure of fewer says nothing
CLEAN_SHARE = 0.1  # largest part of the time that the clean predictions may take
TIMINGS, ENOUGH = 4, 0.5  # of forward and gradient, the fastest counts; seconds after which fewer do
TIMED = 8  # images in a call that is timed


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Forwards and gradients for each image, at most, and gradients besides."""

    forwards: float = 0.0
    gradients: float = 0.0
    fixed_gradients: float = 0.0


ANYTIME = Cost()  # of a probe that takes as many images as its time allows


class Probe(Protocol):
    """One question of the crash test: a file under `probes/`."""

    TITLE: str
    COST: Cost

    def probe(self, context: Context) -> Answer:
        """The answer. Raises CannotRun where the question has no meaning for the network or images."""


@dataclass
class Plan:
    """The network's speed as measured last, and what a resumed check keeps.

    That is how many images there are, `n` in all, `images` by probe, and how many are attacked `first`.
    """

    kept: Computation
    forwards_per_second: float = math.inf
    gradients_per_second: float = math.inf
    images: dict[str, int] = field(default_factory=dict)
    n: int | None = None
    first: int | None = None
    threads: int = field(default_factory=torch.get_num_threads)  # of torch, as it was

    @classmethod
    def open(cls, kept: Computation) -> Plan:
        """The plan that is kept, or a new one."""
        return cls(kept, **(kept.load(PIECE) or {}))

    def measure(self, context: Context) -> None:
        """The network's speed now: a machine may have become busy, or a network slow.

        Where it answers faster on one thread, for the processors are busy with something else, it gets one.
        """
        forward, gradient = _speed(context, self.threads)
        self.forwards_per_second, self.gradients_per_second = 1 / forward, 1 / gradient

    def begin(self, name: str, images: int) -> None:
        """Keep that a probe runs on so many images."""
        self.images[name] = images
        self.save()

    def save(self) -> None:
        """Keep it for a check that goes on after an interruption."""
        self.kept.save(PIECE, {"images": self.images, "n": self.n, "first": self.first}, 0.0)

    def affordable(self, count: int, left: float) -> int:
        """How many of `count` images can be asked about once in their share of `left` seconds."""
        return max(1, int(min(count, CLEAN_SHARE * left * self.forwards_per_second)))

    def first_batch(self, left: float) -> int:
        """How many images are attacked first, so that their answer takes a small part of `left` seconds."""
        return max(FEW, int(FIRST_SHARE * left * self.gradients_per_second / GRADIENTS))

    def seconds(self, probe: Probe, images: int) -> float:
        """What a probe costs at most."""
        cost = probe.COST
        gradients = cost.fixed_gradients + images * cost.gradients
        return gradients / self.gradients_per_second + images * cost.forwards / self.forwards_per_second

    def fitting(self, probe: Probe, count: int, left: float, following: int = 0) -> int:
        """On how many of `count` images a probe fits into `left` seconds, 0 if on none.

        One that costs more than its part of the time, where so many are `following`, takes half of the
        images, and half again, but not below 16.
        """
        images = count
        while self.seconds(probe, images) > left / (1 + following) and images // 2 >= FEWEST:
            images //= 2
        return images if self.seconds(probe, images) <= left else 0


@contextmanager
def threads_restored() -> Iterator[None]:
    """Torch's number of threads is afterwards what it was."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _speed(context: Context, threads: int) -> tuple[float, float]:
    """Seconds per image of a forward and of a gradient, on a small batch, on one thread or on `threads`."""
    images = context.samples[: max(1, min(TIMED, len(context.samples)))].to(context.classifier.device)
    rows = torch.arange(len(images), device=images.device)
    access = Access(context.attacked, context.precision, torch.zeros_like(rows), torch.zeros_like(rows))
    with untouched(context.classifier.network):
        forwards = {}
        for count in {1, threads}:
            torch.set_num_threads(count)
            forwards[count] = _fastest(lambda: context.classifier.predict(images)) / len(images)
        forward, count = min((seconds, count) for count, seconds in forwards.items())
        torch.set_num_threads(count)
        if context.attacked.access != "gradient":
            return forward, forward
        access.prepare(images[:1])
        gradient = _fastest(lambda: access.gradient(images, rows, lambda logits: logits.sum(1))[0])
        return forward, gradient / len(images)


def _fastest(compute: Callable[[], Tensor]) -> float:
    """Seconds of the fastest of some calls: the first chooses kernels, a neighbour may slow another one."""
    times: list[float] = []
    while len(times) < TIMINGS and sum(times) < ENOUGH:
        started = time.perf_counter()
        compute().cpu()  # an accelerator answers when it is done
        times.append(time.perf_counter() - started)
    return min(times)
