"""Carlini-Wagner L2: the smallest change for a margin, by Adam in a space without walls.

Carlini and Wagner 2017, "Towards evaluating the robustness of neural networks", section V and VI.A:
minimise  |x' - x|^2 + c f(x'),  f = max(margin, -confidence), x' = (tanh(w) + 1) / 2, with c searched
in `constants` rounds: ten times larger until one succeeds, then bisection. Every image has its own
c, its own Adam, and its own abort: a round ends where a tenth of its steps brought no progress.

Theirs begins every round at the original. Here that is so until a constant succeeds; from then on a
round goes on where the last one ended, with Adam as it was and at a lower rate, and bisection ends
where the two constants are close. That takes a third of the gradients for files at the same distance; before
rounding the median distance is a tenth larger (benchmarks/choices.md, on the toybox's residual network).

The tanh is stretched a little beyond [0, 1] and clamped, the gradient passing the clamp: at pixels
of exactly 0 and 1 the plain tanh has no slope, so they would never move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import EndingState, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import Beyond, Goal, missed
from ostrich.attacks.per_image import lift, square, where
from ostrich.attacks.threats import Threat, Unbounded
from ostrich.runtime.ranges import above, at_least

STRETCH = 1.05  # of the tanh, about middle grey; more frees pixels at 0 and 1 sooner, less is nearer
PROGRESS = 0.9999  # part of the last loss below which a check finds progress (their code)
ENOUGH = 0.95  # the same, once a constant has succeeded
CLOSE = 0.2  # part of the smallest constant that succeeded, within which it is not sought further
REFINED = 0.3  # of the learning rate, once a constant has succeeded
CHECKS = 10  # of progress in a round (their code)
LARGEST = 1e10  # constant (their code)
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam


@dataclass(frozen=True)
class Search(EndingState):
    """`images` are to be evaluated next."""

    space: Tensor  # (n, C, H, W), w
    first: Tensor  # (n, C, H, W), Adam's mean of gradients
    second: Tensor  # (n, C, H, W), Adam's mean of squares
    constant: Tensor  # (n,) float64, c
    low: Tensor  # (n,) the largest c that failed
    high: Tensor  # (n,) the smallest c that succeeded
    reached: Tensor  # (n,) bool, in this round
    checked: Tensor  # (n,) float64, the loss at the last check
    spent: Tensor  # (n,) int64, steps of this round
    adam: Tensor  # (n,) int64, steps of this Adam
    round: Tensor  # (n,) int64


@dataclass(frozen=True, kw_only=True)
class CW(InputSpecificAttack):
    """Carlini and Wagner's L2 attack: at most `constants` * `iterations` forwards and backwards per image.

    Carlini and Wagner 2017, "Towards evaluating the robustness of neural networks", sections V and VI.A.

    constants         values of c that are tried
    iterations        steps of Adam for each c
    learning_rate     of Adam, in the space of the tanh
    initial_constant  the first c
    confidence        margin, of logits, that a success has at least, and at which the loss no longer falls
    abort             whether a round that makes no progress is ended
    """

    name: ClassVar[str] = "cw"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    stop: ClassVar[str] = "minimum"

    threat: Threat = Unbounded()
    constants: Annotated[int, at_least(1)] = 9
    iterations: Annotated[int, at_least(1)] = 1000
    learning_rate: Annotated[float, above(0)] = 0.01
    initial_constant: Annotated[float, above(0)] = 1e-3
    confidence: Annotated[float, at_least(0)] = 0.0
    abort: bool = True

    @property
    def steps(self) -> int:
        return self.constants * self.iterations

    def aim(self, goal: Goal) -> Goal:
        return Beyond(goal, self.confidence) if self.confidence else goal

    def init(self, problem: Problem) -> Search:
        x = problem.originals
        space = to_space(x)
        number = x.new_zeros(len(x), dtype=torch.float64)
        count = torch.zeros_like(problem.rows)
        never = torch.zeros_like(count, dtype=torch.bool)
        return Search(
            images=to_images(space),
            space=space,
            first=torch.zeros_like(x),
            second=torch.zeros_like(x),
            constant=number + self.initial_constant,
            low=number,
            high=number + torch.inf,
            reached=never,
            checked=number + torch.inf,
            spent=count,
            adam=count,
            round=count,
            done=never,
        )

    def step(self, problem: Problem, state: Search) -> Search:
        x = problem.originals

        def loss(logits: Tensor) -> Tensor:
            return state.constant * missed(problem.goal, logits).clamp_min(-self.confidence)

        value, gradient, reached = problem.evaluate(state.images, loss)
        total = value + square(state.images - x)
        state = _adam(self, state, gradient + 2 * (state.images - x))
        state = replace(state, reached=state.reached | reached, spent=state.spent + 1)
        over = state.spent >= self.iterations
        if self.abort:
            due = state.spent % max(1, self.iterations // CHECKS) == 0
            enough = torch.where(state.high < torch.inf, ENOUGH, PROGRESS)
            over = over | (due & (total > enough * state.checked))
            state = replace(state, checked=torch.where(due, total, state.checked))
        return _next_round(self, state, x, over)


def to_space(images: Tensor) -> Tensor:
    """w of images in [0, 1]."""
    return torch.atanh((2 * images - 1) / STRETCH)


def to_images(space: Tensor) -> Tensor:
    """Images in [0, 1] of w."""
    return ((STRETCH * torch.tanh(space) + 1) / 2).clamp(0, 1)


def _adam(method: CW, state: Search, gradient: Tensor) -> Search:
    """One step of Adam (Kingma and Ba 2015, algorithm 1) in w; `gradient` is that of the images."""
    slope = STRETCH / 2 * (1 - torch.tanh(state.space).square())
    gradient = gradient * slope
    first = BETA1 * state.first + (1 - BETA1) * gradient
    second = BETA2 * state.second + (1 - BETA2) * gradient.square()
    count = state.adam + 1
    steps = count.double()
    rate = method.learning_rate * torch.where(state.high < torch.inf, REFINED, 1.0)
    scale = rate * (1 - BETA2**steps).sqrt() / (1 - BETA1**steps)
    space = state.space - lift(scale, first) * first / (second.sqrt() + EPSILON)
    return replace(state, images=to_images(space), space=space, first=first, second=second, adam=count)


def _next_round(method: CW, state: Search, x: Tensor, over: Tensor) -> Search:
    """Where a round is `over` (n,), the next constant; from the original while none has succeeded."""
    low = torch.where(over & ~state.reached, state.constant, state.low)
    high = torch.where(over & state.reached, state.constant, state.high)
    found = high < torch.inf
    following = torch.where(found, (low + high) / 2, state.constant * 10)
    # The last round takes the largest constant where none has succeeded (their code).
    last = over & ~found & (state.round + 2 >= method.constants) & (method.constants >= 10)
    following = torch.where(last, LARGEST, following)
    again = over & ~found
    nothing = torch.zeros_like(x)
    space = where(again, to_space(x), state.space)
    rounds = state.round + over
    close = over & found & (high - low <= CLOSE * high)
    return replace(
        state,
        images=where(again, to_images(space), state.images),
        space=space,
        first=where(again, nothing, state.first),
        second=where(again, nothing, state.second),
        constant=torch.where(over, following, state.constant),
        low=low,
        high=high,
        reached=state.reached & ~over,
        checked=torch.where(over, torch.inf, state.checked),
        spent=torch.where(over, 0, state.spent),
        adam=torch.where(again, 0, state.adam),
        round=rounds,
        done=close | (rounds >= method.constants),
    )
