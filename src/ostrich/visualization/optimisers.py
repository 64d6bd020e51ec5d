"""How a step follows the gradient: every image by itself, whatever climbs beside it.

normalised   x + step_size * g / mean|g|              as DGN-AM does (Nguyen 2016): one number
                                                      serves every network and unit; with `falls`, the
                                                      size falls linearly to nothing in so many steps
adam         Kingma and Ba 2015, uphill               lucid's choice, rate 0.05
constant     x + rate * g                             Yosinski 2015, in values of 0..255: a rate
progress     x + min(most, desired / |g|^2) * g       belongs to the network it was chosen for
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ostrich.errors import InputError

LEVELS = 255.0  # Yosinski's images have values of 0..255, so g is 1 / 255 of ours and x 255 times ours
State = tuple[Tensor, ...]


class Optimiser(Protocol):
    """A step up; `state` is what it remembers, the image as first axis of every tensor."""

    name: ClassVar[str]

    def init(self, parameters: Tensor) -> State:
        """What is remembered of `parameters` (R, ...) before the first step."""

    def step(self, parameters: Tensor, slope: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """The `parameters` (R, ...) after a step up the `slope` (R, ...), and the `state`.

        `step` counts from 0.
        """


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """Steps of one mean size, whatever the slope's.

    step_size  mean absolute change of a value in a step, above 0
    falls      steps after which it has fallen to nothing, linearly; 0: it stays

    Raises InputError for other values.
    """

    name: ClassVar[str] = "normalised"
    step_size: float = 4 / 255
    falls: int = 0

    def __post_init__(self) -> None:
        _positive("step_size", self.step_size)
        if self.falls < 0:
            raise InputError(f"falls is a number of steps, from 0 up; got {self.falls}.")

    def init(self, parameters: Tensor) -> State:
        return ()

    def step(self, parameters: Tensor, slope: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        size = _per_image(slope.abs().flatten(1).mean(1), slope)
        rate = self.step_size * (max(0.0, 1 - step / self.falls) if self.falls else 1.0)
        return parameters + rate * torch.where(size > 0, slope / size, 0), state


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam with its published betas and epsilon (Kingma and Ba 2015).

    step_size  above 0, in units of the parameters; lucid's code: 0.05
    """

    name: ClassVar[str] = "adam"
    step_size: float = 0.05

    def __post_init__(self) -> None:
        _positive("step_size", self.step_size)

    def init(self, parameters: Tensor) -> State:
        return torch.zeros_like(parameters), torch.zeros_like(parameters)

    def step(self, parameters: Tensor, slope: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        first = 0.9 * state[0] + 0.1 * slope
        second = 0.999 * state[1] + 0.001 * slope**2
        size = (second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
        return parameters + self.step_size * first / (1 - 0.9 ** (step + 1)) / size, (first, second)


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A constant times the gradient, for images of 0..255.

    rate  the constant, above 0
    """

    name: ClassVar[str] = "constant"
    rate: float = 100.0

    def __post_init__(self) -> None:
        _positive("rate", self.rate)

    def init(self, parameters: Tensor) -> State:
        return ()

    def step(self, parameters: Tensor, slope: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        return parameters + self.rate / LEVELS**2 * slope, state


@dataclass(frozen=True, kw_only=True)
class Progress:
    """As far as a straight slope would take the unit by `desired`, for images of 0..255.

    most     the largest rate, above 0
    desired  in the unit's own measure, above 0
    """

    name: ClassVar[str] = "progress"
    most: float = 100.0
    desired: float = 2.0

    def __post_init__(self) -> None:
        _positive("most", self.most)
        _positive("desired", self.desired)

    def init(self, parameters: Tensor) -> State:
        return ()

    def step(self, parameters: Tensor, slope: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        squared = (slope / LEVELS).square().flatten(1).sum(1)
        rate = (self.desired / squared).clamp_max(self.most)  # a slope of zero: the largest rate
        return parameters + _per_image(rate, slope) / LEVELS**2 * slope, state


OPTIMISERS: dict[str, type[Normalised] | type[Adam] | type[Constant] | type[Progress]] = {
    kind.name: kind for kind in (Normalised, Adam, Constant, Progress)
}


def _per_image(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (R,) to be broadcast over (R, ...)."""
    return numbers.view(-1, *[1] * (like.ndim - 1))


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise InputError(f"{name} is a number above 0; got {value}.")
