"""What a check costs, and on how many images each probe runs.

A probe says what it costs at most. The network's speed is measured when the check begins. A probe is
admitted when its turn comes, by the time that is left then, for most cost less than their most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ostrich.attacks.engine.problem import Access
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.context import Context
from ostrich.models.untouched import untouched
from ostrich.runtime.resumable import Computation, Piece

PIECE = Piece("plan")
FEWEST = 16  # images; a figure of fewer says nothing
TIMINGS, ENOUGH = 5, 1.0  # of forward and gradient, the fastest counts; seconds after which fewer do


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Forwards and gradients for each image, at most, and gradients besides."""

    forwards: float = 0.0
    gradients: float = 0.0
    fixed_gradients: float = 0.0


class Probe(Protocol):
    """One question of the crash test: a file under `probes/`."""

    TITLE: str
    COST: Cost

    def probe(self, context: Context) -> Answer:
        """The answer. Raises CannotRun where the question has no meaning for the network or images."""


@dataclass
class Plan:
    """The network's speed, and the images (by probe) of those that began: an interrupted one keeps them."""

    kept: Computation
    forwards_per_second: float
    gradients_per_second: float
    images: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, kept: Computation, context: Context) -> Plan:
        """The plan that is kept, or a new one."""
        if (found := kept.load(PIECE)) is not None:
            return cls(kept, **found)
        forward, gradient = _speed(context)
        return cls(kept, 1 / forward, 1 / gradient)

    def begin(self, name: str, images: int) -> None:
        """Keep that a probe runs on so many images."""
        self.images[name] = images
        speeds = {name: vars(self)[name] for name in ("forwards_per_second", "gradients_per_second")}
        self.kept.save(PIECE, {**speeds, "images": self.images}, 0.0)

    def seconds(self, probe: Probe, images: int) -> float:
        """What a probe costs at most."""
        cost = probe.COST
        gradients = cost.fixed_gradients + images * cost.gradients
        return gradients / self.gradients_per_second + images * cost.forwards / self.forwards_per_second

    def fitting(self, probe: Probe, count: int, left: float) -> int:
        """On how many of `count` images a probe fits into `left` seconds, 0 if on none.

        One that costs too much takes half of the images, and half again, but not below 16.
        """
        images = count
        while self.seconds(probe, images) > left and images // 2 >= FEWEST:
            images //= 2
        return images if self.seconds(probe, images) <= left else 0

    def total(self, probes: Sequence[Probe], count: int, left: float) -> float:
        """Seconds, at most, of the probes that fit into `left`, one after the other."""
        spent = 0.0
        for probe in probes:
            images = self.fitting(probe, count, left - spent)
            spent += self.seconds(probe, images) if images else 0
        return spent


def _speed(context: Context) -> tuple[float, float]:
    """Seconds per image of one forward and of one gradient, on a small batch."""
    images = context.images[: max(1, min(16, len(context.samples)))]
    rows = torch.arange(len(images), device=images.device)
    access = Access(context.classifier, context.precision, torch.zeros_like(rows), torch.zeros_like(rows))
    with untouched(context.classifier.network):
        forward = _fastest(lambda: context.classifier.predict(images)) / len(images)
        if context.classifier.access != "gradient":
            return forward, forward
        access.prepare(images[:1])
        gradient = _fastest(lambda: access.gradient(images, rows, lambda logits: logits.sum(1))[0])
        return forward, gradient / len(images)


def _fastest(compute: Callable[[], Tensor]) -> float:
    """Seconds of the fastest of some calls: a neighbour on the machine can make a call many times slower."""
    compute().cpu()  # the first also chooses kernels
    times: list[float] = []
    while len(times) < TIMINGS and sum(times) < ENOUGH:
        started = time.perf_counter()
        compute().cpu()  # an accelerator answers when it is done
        times.append(time.perf_counter() - started)
    return min(times)
