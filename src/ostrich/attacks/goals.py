"""What counts as success.

A goal belongs to a batch: its tensors have the image as first axis, so a part of the batch has a
part of the goal (`rows`). `loss` is what an attack minimises; it is computed in float64, since in
float32 the gradient of a confident network's cross-entropy is exactly zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, Self, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError
from ostrich.models.answers import answered, switched_off

# Margins from which on the slope of cross-entropy, exp(-margin), gets lost: that of the label, which is its
# probability less one, in float64 from 36.7 on; all of it in float32 on its way back to the image, whose
# smallest normal number is exp(-87).
SATURATED = 30.0
# Cross-entropy; what image and goal are apart in logits; half of the steps on either.
Loss = Literal["ce", "margin", "ce-then-margin"]
SLACK = 64  # rounding errors of the spread of the logits by which a verified success must be clear


@runtime_checkable
class Goal(Protocol):
    """What every goal offers; `logits` are (N, K)."""

    @property
    def kind(self) -> str:
        """untargeted, targeted or confident."""

    @property
    def classes(self) -> Tensor:
        """The class concerned, (N,): the label to leave, or the class to reach."""

    def reached(self, logits: Tensor, slack: float = 0) -> Tensor:
        """Whether each image has got there, (N,) bool, by its `logits` (N, K).

        `slack` is by how many rounding errors of the logits' spread it must be clear: 0, a tie does.
        No answer (`models.answers`) reaches no class, and has left every label.
        """

    def loss(self, logits: Tensor) -> Tensor:
        """What to minimise, (N,) float64, of `logits` (N, K)."""

    def rows(self, keep: Tensor) -> Self:
        """The goal of the images where `keep` (N,) is true, or of those at its places."""

    def to(self, device: torch.device) -> Self:
        """The goal with its tensors on `device`."""


@dataclass(frozen=True, eq=False, repr=False)
class Untargeted:
    """Any class but the label. `labels` int64 (N,)."""

    labels: Tensor
    kind = "untargeted"

    def __post_init__(self) -> None:
        _check_classes("labels", self.labels)

    def __repr__(self) -> str:
        return f"<Untargeted: {len(self.labels)} labels>"

    @property
    def classes(self) -> Tensor:
        return self.labels

    def reached(self, logits: Tensor, slack: float = 0) -> Tensor:
        elsewhere = logits.argmax(1) != self.labels
        return _clear(-margin(logits, self.labels), logits, slack, elsewhere) | ~answered(logits)

    def loss(self, logits: Tensor) -> Tensor:
        precise = logits.double()
        found = F.cross_entropy(precise, self.labels, reduction="none")
        if (found.detach() < math.exp(-SATURATED)).any():  # its slope is lost, the margin's is not
            return (margin(precise, self.labels) - SATURATED).clamp_min(0) - found
        return -found

    def rows(self, keep: Tensor) -> Self:
        return replace(self, labels=self.labels[keep])

    def to(self, device: torch.device) -> Self:
        return replace(self, labels=self.labels.to(device))


@dataclass(frozen=True, eq=False, repr=False)
class Targeted:
    """One given class. `targets` int64 (N,)."""

    targets: Tensor
    kind = "targeted"

    def __post_init__(self) -> None:
        _check_classes("targets", self.targets)

    def __repr__(self) -> str:
        return f"<Targeted: {len(self.targets)} targets>"

    @property
    def classes(self) -> Tensor:
        return self.targets

    def reached(self, logits: Tensor, slack: float = 0) -> Tensor:
        return _clear(margin(logits, self.targets), logits, slack, logits.argmax(1) == self.targets)

    def loss(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits.double(), self.targets, reduction="none")

    def rows(self, keep: Tensor) -> Self:
        return replace(self, targets=self.targets[keep])

    def to(self, device: torch.device) -> Self:
        return replace(self, targets=self.targets.to(device))


@dataclass(frozen=True, eq=False, repr=False)
class Confident:
    """One given class with at least the softmax probability `confidence`, in (0, 1). `targets` int64 (N,).

    Raises InputError for another confidence and for what are no class indices.
    """

    targets: Tensor
    confidence: float = 0.99
    kind = "confident"

    def __post_init__(self) -> None:
        _check_classes("targets", self.targets)
        if not 0 < self.confidence < 1:
            raise InputError(f"A confidence lies between 0 and 1; got {self.confidence}.")

    def __repr__(self) -> str:
        return f"<Confident: {len(self.targets)} targets at {self.confidence:g}>"

    @property
    def classes(self) -> Tensor:
        return self.targets

    def reached(self, logits: Tensor, slack: float = 0) -> Tensor:
        probability = logits.double().softmax(1).gather(1, self.targets[:, None])[:, 0]
        return answered(logits) & (probability - slack * torch.finfo(logits.dtype).eps >= self.confidence)

    def loss(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits.double(), self.targets, reduction="none")

    def rows(self, keep: Tensor) -> Self:
        return replace(self, targets=self.targets[keep])

    def to(self, device: torch.device) -> Self:
        return replace(self, targets=self.targets.to(device))


@dataclass(frozen=True, eq=False, repr=False)
class Beyond:
    """A goal that is reached where images are past it by `margin` logits at least."""

    goal: Goal
    margin: float

    def __repr__(self) -> str:
        return f"<{self.goal!r} by {self.margin:g} logits>"

    @property
    def kind(self) -> str:
        return self.goal.kind

    @property
    def classes(self) -> Tensor:
        return self.goal.classes

    def reached(self, logits: Tensor, slack: float = 0) -> Tensor:
        past = (missed(self.goal, logits) <= -self.margin) | ~answered(logits)
        return past & self.goal.reached(logits, slack)

    def loss(self, logits: Tensor) -> Tensor:
        return self.goal.loss(logits)

    def rows(self, keep: Tensor) -> Self:
        return replace(self, goal=self.goal.rows(keep))

    def to(self, device: torch.device) -> Self:
        return replace(self, goal=self.goal.to(device))


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """A class's logit minus the largest other one, (N,): positive where it is the prediction."""
    own = logits.gather(1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return own - others.max(1).values


def rivals(logits: Tensor, classes: Tensor, count: int) -> Tensor:
    """The `count` most probable other classes (N, count), at least one; of those that are not switched off.

    Where fewer are left, the first stands in the others' place.
    """
    others = logits.scatter(1, classes[:, None], -torch.inf)
    found = others.topk(max(1, min(count, others.shape[1] - 1)), dim=1)
    return torch.where(found.values.isneginf(), found.indices[:, :1], found.indices)


def missed(goal: Goal, logits: Tensor) -> Tensor:
    """By how much images miss their goal, in logits (N,), float64; below 0 where they are past it.

    Where a probability is asked for, those are its log-odds: the logit against all others together.
    """
    if isinstance(goal, Beyond):
        return missed(goal.goal, logits)
    if isinstance(goal, Confident):
        logits, first = logits.double(), goal.classes[:, None]
        others = logits.scatter(1, first, -torch.inf).logsumexp(1)
        return math.log(goal.confidence / (1 - goal.confidence)) - logits.gather(1, first)[:, 0] + others
    return margin(logits.double(), goal.classes) * (1 if goal.kind == "untargeted" else -1)


def usual_loss(goal: Goal, norm: str) -> Loss:
    """The loss that is followed where none is chosen: ce, in L2 away from a label ce-then-margin.

    Cross-entropy raises all other classes by their probabilities, and in L2 what is spent on one class is
    lost to the others: an image stands that a change towards one class alone would mislead. The margin goes
    there, but from afar cross-entropy leads better, so it has the first half. In Linf every value moves by
    the whole budget whatever the weights, and towards a target there is one class to spend on.
    """
    return "ce-then-margin" if norm == "l2" and goal.kind == "untargeted" else "ce"


def followed(goal: Goal, loss: Loss, spent: int, steps: int) -> Callable[[Tensor], Tensor]:
    """The loss (N,) float64, of the logits (N, K), that is followed after `spent` of so many steps."""
    late = loss == "ce-then-margin" and spent >= steps // 2  # an only step is the margin's
    return partial(missed, goal) if loss == "margin" or late else goal.loss


def _clear(advantage: Tensor, logits: Tensor, slack: float, arrived: Tensor) -> Tensor:
    """Advantage above zero by `slack` rounding errors of the logits' spread, and with it one of the largest.

    What all logits have in common is no part of the spread: an offset moves no prediction. Nor is a class
    that is switched off. Scores that are steps tie exactly: then the prediction decides, `arrived` (n,), but
    not where more slack is asked for than a verification needs.
    """
    off = switched_off(logits)
    largest = logits.abs().masked_fill(off, 0).amax(1)
    spread = logits.masked_fill(off, -torch.inf).amax(1) - logits.masked_fill(off, torch.inf).amin(1)
    errors = torch.maximum(slack * torch.minimum(spread, largest), min(slack, 1) * largest)
    clear = advantage > torch.finfo(logits.dtype).eps * errors
    return answered(logits) & (clear | ((advantage == 0) & arrived & (slack <= SLACK)))


def _check_classes(what: str, classes: Tensor) -> None:
    if not isinstance(classes, Tensor) or classes.ndim != 1 or classes.dtype != torch.int64:
        got = f"{classes.dtype} {tuple(classes.shape)}" if isinstance(classes, Tensor) else repr(classes)
        raise InputError(f"A goal's {what} are class indices, int64 of shape (N,); got {got}.")
