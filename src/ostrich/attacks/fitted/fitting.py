"""Fitting an image-agnostic attack: from images to an artefact.

An image-agnostic attack is a state machine over passes through its fitting images: `init(fitting) ->
state`, `epoch(fitting, state, number) -> state`. What is left of the state is an artefact
(`artefact.py`), which the engine applies to other images and judges there. The networks, the goals
and the counting are the engine's own.

Under torchrun every process goes through the same epochs, where the attack says that it can
(`data_parallel`): each takes its part of a batch, gradients are added up, and all make the same step, which
is one process's up to rounding. The network is frozen and in evaluation mode, so it is of no matter which
images are computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
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
from ostrich.runtime import distributed, events, together
from ostrich.runtime.executors import Here, current
from ostrich.runtime.facts import digest
from ostrich.runtime.randomness import keyed
from ostrich.runtime.resumable import Checkpoint

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

    def own(self, rows: Tensor) -> Tensor:
        """This process's part of the images at `rows` (n,); all where it fits alone, none of too few."""
        return rows.tensor_split(distributed.world())[distributed.rank()]

    def gradient(
        self,
        parameter: Tensor,
        rows: Tensor,
        shown: Callable[[Tensor], Tensor],
        loss: Callable[[Goal, Tensor], Tensor] = missed,
        of: int | None = None,
    ) -> Tensor:
        """The gradient, shaped as `parameter`, of the mean loss of the images at `rows` (n,).

        With `of`, the images of the whole batch, `rows` are this process's `own`, and it is the gradient of
        the whole; of other processes too, then.

        `shown(parameter)` (n, C, H, W) is what the network sees of them; `loss` is that of `slope`. Where an
        image's slope is not finite, that image alone teaches nothing.
        """
        if not len(rows):
            return distributed.total(torch.zeros_like(parameter))
        with torch.enable_grad():
            leaf = parameter.detach().clone().requires_grad_(True)
            images = shown(leaf)
            (found,) = torch.autograd.grad(images, leaf, self.slope(images.detach(), rows, of, loss))
        return distributed.total(found)

    def slope(
        self,
        images: Tensor,
        rows: Tensor,
        of: int | None = None,
        loss: Callable[[Goal, Tensor], Tensor] = missed,
    ) -> Tensor:
        """The gradient (n, C, H, W) of the mean loss of `images`, which are those at `rows` changed.

        With `of`, the mean is that of so many images, of which these are this process's. `loss(goal, logits)`
        is (n,), `missed` unless given: beside it the cross-entropy of an untargeted goal has next to no slope
        on an image that is not fooled yet, and that of a targeted one next to none on an image that is there,
        so that it follows few of the images. Values that are not finite are zero. Of several networks, the
        mean.
        """
        goal, counted, count = self.goal.rows(rows), self.counted(len(rows)), of or len(rows)
        lent = self.access.classifier.surrogate is not None  # whose logits do not say what is reached
        own, _ = self.access.gradient(
            images,
            counted,
            lambda z: loss(goal, z) / count,
            reached=None if lent else goal.reached,
        )
        return _mean(own, [other.slope(images, rows, of, loss) for other in self.others])

    def reached(self, images: Tensor, rows: Tensor) -> Tensor:
        """Whether `images` (n, C, H, W), those at `rows` changed, reach their goals everywhere, (n,)."""
        found = self.goal.rows(rows).reached(self.access.logits(images, self.counted(len(rows))))
        for other in self.others:
            found = found & other.reached(images, rows)
        return found

    @property
    def counts(self) -> tuple[Tensor, ...]:
        """Each (1,): forwards, backwards, and of each network gradients asked for and useless ones."""
        asked = [(one.access.gradients, one.access.useless) for one in (self, *self.others)]
        return self.access.forwards, self.access.backwards, *(count for pair in asked for count in pair)

    def count_from(self, counts: Sequence[Tensor]) -> None:
        """Go on from these `counts`."""
        for count, before in zip(self.counts, counts, strict=True):
            count.copy_(before)  # all networks count in these

    @property
    def zero_gradient(self) -> bool:
        """Whether most gradients that were asked for were zero or not finite, in every network."""
        return all(bool(one.access.zero_gradient) for one in (self, *self.others))

    def counted(self, count: int) -> Tensor:
        """As many rows of the one count as there are images to be charged."""
        return torch.zeros(count, dtype=torch.int64, device=self.images.device)


@dataclass(frozen=True)
class Fitted:
    """What a fitting left: the tensors of the artefact, and what it took, of so many processes.

    `zero_gradient`: most gradients that it asked for were zero or not finite, so that it learned nothing.
    """

    tensors: Tensors
    epochs: int
    forwards: int
    backwards: int
    seconds: float
    processes: int = 1
    zero_gradient: bool = False


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
        raise InputError(
            f"{method.name} has no image to fit on that has an answer and has not reached its goal already."
        )
    networks = [classifier, *victims(method, classifier)]
    with ExitStack() as left_as_it_was:
        for one in networks:
            left_as_it_was.enter_context(untouched(one.network))
        none = torch.zeros(1, dtype=torch.int64, device=images.device)
        counts = (none, none.clone())
        seen = [_seen_by(one, images, goal, seed, precision, counts) for one in networks]
        fitting = replace(seen[0], goal=goal, others=tuple(seen[1:]))
        facts = {} if checkpoint is None else _facts(method, networks, images, goal, seed, precision)
        with Checkpoint(checkpoint, facts) as kept:
            begun = _found(kept, method, fitting)

            def after(standing: _Standing, leaving: bool) -> None:
                kept.offer(lambda: dict(vars(standing)), leaving)
                progress(standing.epoch, method.epochs)

            clean = [one.clean for one in seen]
            epochs = _Epochs(method, networks, images, goal, clean, seed, precision, begun)
            if not method.data_parallel:
                say_alone(method)
            run = current().by_all if method.data_parallel else Here().by_all
            standing, processes = run(epochs, fitting, after)
            kept.save(dict(vars(standing)))
    fitting.count_from(standing.counts)
    forwards, backwards = (int(count) for count in fitting.counts[:2])
    tensors, seconds = method.tensors(standing.state), kept.seconds
    return Fitted(
        tensors, standing.epoch, forwards, backwards, seconds, processes, zero_gradient=fitting.zero_gradient
    )


def say_alone(method: FittedAttack) -> None:
    """Say that one process fits it, where others wait."""
    if count := together.helpers():
        waits = "another waits" if count == 1 else f"{count} others wait"
        events.say(f"one process fits {method.name}, and {waits}: its fitting is not data-parallel")


@dataclass(frozen=True)
class _Standing:
    """Epochs done, the state after them, and the `Fitting.counts` of all processes."""

    epoch: int
    state: FittingState
    counts: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Epochs:
    """The epochs of a fitting, which every process goes through at the same time; all that decides them.

    `clean` are the logits of the images by each of the networks.
    """

    method: FittedAttack
    networks: Sequence[Classifier]
    images: Tensor
    goal: Goal
    clean: Sequence[Tensor]
    seed: int
    precision: str
    begun: _Standing

    def __call__(
        self,
        fitting: Fitting | None = None,
        after: Callable[[_Standing, bool], None] | None = None,
    ) -> tuple[_Standing, int]:
        """Where it ends, and by how many processes.

        The command's own has its `fitting`; `after` each epoch it is told where it stands, and whether any
        process is asked to leave, which all then do: the command by an interrupt.
        """
        with ExitStack() as left_as_it_was:
            for one in self.networks if fitting is None else ():
                left_as_it_was.enter_context(untouched(one.network))
            return self._run(fitting or self._fitting(), after), distributed.world()

    def _run(self, fitting: Fitting, after: Callable[[_Standing, bool], None] | None) -> _Standing:
        standing, method, device = self.begun, self.method, self.images.device
        own = fitting.counts
        while standing.epoch < method.epochs and not bool(standing.state.get("done", False)):
            state = method.epoch(fitting, standing.state, standing.epoch)
            counts = tuple(distributed.total(count.clone()) for count in own)
            standing = _Standing(standing.epoch + 1, state, counts)
            leaving = distributed.leaving(device)
            if after is not None:
                after(standing, leaving)
            elif leaving:
                break
        return standing

    def _fitting(self) -> Fitting:
        """What another process sees; it counts its own."""
        none = torch.zeros(1, dtype=torch.int64, device=self.images.device)
        counts, given = (none, none.clone()), (self.images, self.goal, self.seed, self.precision)
        seen = [
            _seen_by(one, *given, counts, clean) for one, clean in zip(self.networks, self.clean, strict=True)
        ]
        return replace(seen[0], goal=self.goal, others=tuple(seen[1:]))


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
    clean: Tensor | None = None,
) -> Fitting:
    """What one network sees; where predictions are to change, they are its own, by its `clean` logits."""
    access = Access(classifier, precision, *counts)
    access.prepare(images[:1])
    if clean is None:
        rows = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        clean = access.reference_logits(images, rows)
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


def _found(checkpoint: Checkpoint, method: FittedAttack, fitting: Fitting) -> _Standing:
    """Where it stands: at the beginning, or where an earlier one was cut off."""
    kept = checkpoint.restore(fitting.images.device)
    if kept is None:
        return _Standing(0, method.init(fitting), fitting.counts)
    fitting.count_from(kept["counts"])
    return _Standing(kept["epoch"], kept["state"], fitting.counts)
