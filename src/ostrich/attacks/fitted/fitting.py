"""Fitting an image-agnostic attack: from images to an artefact.

An image-agnostic attack is a state machine over passes through its fitting images: `init(fitting) ->
state`, `epoch(fitting, state, number) -> state`. What is left of the state is an artefact
(`artefact.py`), which the engine applies to other images and judges there. The networks, the goals
and the counting are the engine's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.attacks.base import FittedAttack, FittingState, Tensors
from ostrich.attacks.engine.problem import Access
from ostrich.attacks.engine.resuming import attack_facts
from ostrich.attacks.engine.runner import check_attack
from ostrich.attacks.goals import Goal, Untargeted, missed
from ostrich.attacks.transfer import companion
from ostrich.errors import InputError
from ostrich.models.answers import predictions
from ostrich.models.classifier import Classifier
from ostrich.models.untouched import untouched
from ostrich.runtime.facts import digest
from ostrich.runtime.randomness import keyed
from ostrich.runtime.resumable import Checkpoint, Content

ORDER = 11  # the purpose of the random numbers that order the images


@dataclass(frozen=True)
class Fitting:
    """What an image-agnostic attack sees: N images, their goal, and counted access to the network.

    `clean` (N, K) are the logits of the images. The counts of `access` are of the whole fitting, in
    its one row. `others` are the same images before further networks that are to be fooled as well.
    """

    access: Access
    images: Tensor
    goal: Goal
    clean: Tensor
    seed: int
    others: tuple[Fitting, ...] = ()

    def batches(self, size: int, epoch: int) -> Sequence[Tensor]:
        """The places of all images in batches, in an order of this epoch's own."""
        order = torch.randperm(len(self.images), generator=keyed(self.seed, ORDER, epoch))
        return order.to(self.images.device).split(size)

    def gradient(
        self,
        parameter: Tensor,
        rows: Tensor,
        shown: Callable[[Tensor], Tensor],
        loss: Callable[[Goal, Tensor], Tensor] = missed,
    ) -> Tensor:
        """The gradient, shaped as `parameter`, of the mean loss of the images at `rows` (n,).

        `shown(parameter)` (n, C, H, W) is what the network sees of them; `loss(goal, logits)` is (n,),
        `missed` unless given: beside it the cross-entropy of an untargeted goal has next to no slope on an
        image that is not fooled yet, and that of a targeted one next to none on an image that is there, so
        that it follows few of the images. Of several networks, the mean.
        """
        goal = self.goal.rows(rows)
        found, _ = self.access.gradient(
            parameter[None],
            self.counted(1),
            lambda z: loss(goal, z) / len(rows),
            None,
            lambda p: shown(p[0]),
        )
        return _mean(found[0], [other.gradient(parameter, rows, shown, loss) for other in self.others])

    def slope(self, images: Tensor, rows: Tensor) -> Tensor:
        """The gradient (n, C, H, W) of the mean `missed` of `images`, which are those at `rows` changed."""
        goal, counted = self.goal.rows(rows), self.counted(len(rows))
        own = self.access.gradient(images, counted, lambda z: missed(goal, z) / len(rows))[0]
        return _mean(own, [other.slope(images, rows) for other in self.others])

    def reached(self, images: Tensor, rows: Tensor) -> Tensor:
        """Whether `images` (n, C, H, W), those at `rows` changed, reach their goals everywhere, (n,)."""
        found = self.goal.rows(rows).reached(self.access.logits(images, self.counted(len(rows))))
        for other in self.others:
            found = found & other.reached(images, rows)
        return found

    def counted(self, count: int) -> Tensor:
        """As many rows of the one count as there are images to be charged."""
        return torch.zeros(count, dtype=torch.int64, device=self.images.device)


@dataclass(frozen=True)
class Fitted:
    """What a fitting left: the tensors of the artefact, and what it took."""

    tensors: Tensors
    epochs: int
    forwards: int
    backwards: int
    seconds: float


def fit(
    method: FittedAttack,
    classifier: Classifier,
    images: Tensor,
    goal: Goal,
    *,
    seed: int = 0,
    precision: str = "fast",
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fitted:
    """Fit on images (N, C, H, W) in [0, 1]; bit-equal whether or not it was cut off between epochs.

    With `checkpoint`, a file, the state is kept between epochs and found again.
    Raises InputError where there is nothing to fit on, for a network without gradients, and for victims
    that cannot be had or see other images or classes; OtherComputation for a checkpoint of another fitting.
    """
    pictures.check_images(images)
    check_attack(method, classifier)
    check_goal(method, goal.kind)
    if not len(images):
        raise InputError(f"{method.name} has no image to fit on that has not reached its goal already.")
    networks = [classifier, *victims(method, classifier)]
    with ExitStack() as left_as_it_was:
        for one in networks:
            left_as_it_was.enter_context(untouched(one.network))
        none = torch.zeros(1, dtype=torch.int64, device=images.device)
        counts = (none, none.clone())
        first, *others = [_seen_by(one, images, goal, seed, precision, counts) for one in networks]
        fitting = replace(first, goal=goal, others=tuple(others))
        access = fitting.access
        facts = {} if checkpoint is None else _facts(method, networks, images, goal, seed, precision)
        with Checkpoint(checkpoint, facts) as kept:
            before, state = _found(kept, method, fitting)
            while before < method.epochs and not bool(state.get("done", False)):
                state = method.epoch(fitting, state, before)
                before += 1
                kept.offer(partial(_standing, before, state, access))
                progress(before, method.epochs)
            kept.save(_standing(before, state, access))
    spent = int(access.forwards[0]), int(access.backwards[0])
    return Fitted(method.tensors(state), before, *spent, kept.seconds)


def victims(method: FittedAttack, classifier: Classifier) -> list[Classifier]:
    """The other networks it is to be fitted on. Raises InputError for one that does not fit."""
    named = method.victims.split("+") if method.victims else []
    found = [companion(name, classifier, "victim") for name in named]
    for one in found:
        check_attack(method, one)
    return found


def _seen_by(
    classifier: Classifier,
    images: Tensor,
    goal: Goal,
    seed: int,
    precision: str,
    counts: tuple[Tensor, Tensor],
) -> Fitting:
    """What one network sees; where predictions are to change, they are its own."""
    access = Access(classifier, precision, *counts)
    access.prepare(images[:1])
    clean = access.reference_logits(images, torch.zeros(len(images), dtype=torch.int64, device=images.device))
    own = Untargeted(predictions(clean).clamp_min(0)) if goal.kind == "untargeted" else goal
    return Fitting(access, images, own, clean, seed)


def _mean(own: Tensor, others: Sequence[Tensor]) -> Tensor:
    return torch.stack([own, *others]).mean(0) if others else own


def check_goal(method: FittedAttack, kind: str) -> None:
    """Refuse, by an InputError, a target where the method knows none."""
    if kind != "untargeted" and method.untargeted_only:
        raise InputError(f"{method} changes predictions and takes no target; leave --target out.")


def _facts(
    method: FittedAttack,
    networks: Sequence[Classifier],
    images: Tensor,
    goal: Goal,
    seed: int,
    precision: str,
) -> dict[str, str]:
    """What decides what is fitted; the first of the networks is the one attacked."""
    return {
        **attack_facts(method, networks[0], digest(images), goal, None, seed, precision),
        "weights of victims": digest(*(one.digest() for one in networks[1:])),
    }


def _standing(epoch: int, state: FittingState, access: Access) -> Content:
    return {"epoch": epoch, "state": state, "counts": (access.forwards, access.backwards)}


def _found(checkpoint: Checkpoint, method: FittedAttack, fitting: Fitting) -> tuple[int, FittingState]:
    """Epochs done, and the state after them."""
    kept = checkpoint.restore(fitting.images.device)
    if kept is None:
        return 0, method.init(fitting)
    counts = (fitting.access.forwards, fitting.access.backwards)
    for count, before in zip(counts, kept["counts"], strict=True):
        count.copy_(before)  # all networks count in these
    return kept["epoch"], kept["state"]
