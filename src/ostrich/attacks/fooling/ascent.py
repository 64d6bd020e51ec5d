"""Fooling images by gradient ascent: from noise to an image of which the network is certain.

Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", the images found by gradient
ascent (after Simonyan 2014, section 2: ascent on a class with L2 regularisation). Run with the goal
`Confident(classes, 0.99)`: it ends when the network gives the class that probability on the image
rounded to 8 bits. Nothing bounds the image; what is attacked is noise, of which `noise` draws some.

Here the step goes down the goal's loss, the cross-entropy, and its length is fixed: a gradient's
own length tells nothing from one network to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack, State
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.images import rounded
from ostrich.runtime.ranges import above, at_least

CONFIDENCE = 0.99  # what the commands call certain
GREY = 0.5
SPREAD = 0.1  # standard deviation of the noise that `noise` draws, about middle grey


@dataclass(frozen=True, kw_only=True)
class FoolingAscent(InputSpecificAttack):
    """A fooling image by gradient ascent from noise: at most `steps` forwards and backwards per image.

    Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", the images found by gradient
    ascent.

    steps      most steps
    step_size  root mean square change of a value in a step
    decay      part of the distance to middle grey that a step takes back
    stop       "first": an image is done once it is broken; "budget": when all steps are spent
    """

    name: ClassVar[str] = "fooling-ascent"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("none",)
    needs_data: ClassVar[bool] = False  # it attacks noise
    threat: ClassVar[Threat] = Unbounded()

    steps: Annotated[int, at_least(1)] = 200
    step_size: Annotated[float, above(0)] = 1 / 255
    decay: Annotated[float, at_least(0, below=1)] = 0.001
    stop: Literal["first", "budget"] = "first"

    def init(self, problem: Problem) -> State:
        return State(problem.originals)

    def step(self, problem: Problem, state: State) -> State:
        length = self.step_size * state.images[:1].numel() ** 0.5  # of the whole step, in L2
        downhill = -self.threat.direction(problem.gradient(state.images))
        moved = GREY + (1 - self.decay) * (state.images - GREY) + length * downhill
        return State(self.threat.project(moved, problem.originals))


def noise(classes: Sequence[int], shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Normal noise about middle grey (N, C, H, W), on the 8-bit grid; each class has its own."""
    drawn = []
    for index in classes:
        generator = torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)
        drawn.append(torch.randn(shape, generator=generator))
    return rounded(GREY + SPREAD * torch.stack(drawn))


def spread(num_classes: int, count: int = 10) -> list[int]:
    """At most `count` classes, evenly spread."""
    count = min(count, num_classes)
    return [i * num_classes // count for i in range(count)]
