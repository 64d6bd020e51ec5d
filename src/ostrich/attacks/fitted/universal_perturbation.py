"""Universal perturbations: one change that fools a network on most images.

algorithm "gradient": minibatches of the fitting images, v <- project(v - step * direction(grad)), the
gradient that of the mean loss (Shafahi, Najibi, Xu, Dickerson, Davis, Goldstein 2020, "Universal
adversarial training", section 3: stochastic gradient, sign steps). The loss is the margin by which the
goal is missed: its slope does not vanish where an image is far from its goal or past it. A batch is
mirrored half of the time, which doubles what there is to fit on; and what is kept spends the whole
budget: under Linf the sign of v, for what came to rest between the bounds did so by chance.

algorithm "deepfool": Moosavi-Dezfooli, Fawzi, Fawzi, Frossard 2017, "Universal adversarial
perturbations", algorithm 1. Pass after pass, wherever x + v is not yet fooled, the smallest change
that fools it there (DeepFool, L2) is added to v, and v projected into the budget, until all but
`delta` of the fitting images are fooled. There one image follows another; here those of a batch that
are not fooled are looked at together from the same v, and their changes added one after another.

Fooled is who changes the prediction, right or wrong: no labels are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from ostrich.attacks.base import FittedAttack, FittingState, Tensors, select
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.fitted.fitting import Fitting
from ostrich.attacks.minimum_norm.deepfool import DeepFool
from ostrich.attacks.threats import Linf, Threat, Unbounded
from ostrich.errors import InputError
from ostrich.images import fingerprints, into_range
from ostrich.runtime import distributed
from ostrich.runtime.randomness import keyed
from ostrich.runtime.ranges import above, at_least

DELTA = 0.2  # Moosavi-Dezfooli 2017, their code: of the fitting images, that may stay unfooled
INNER = DeepFool(steps=10, candidates=10)  # their code: max_iter and num_classes
CHANCE, MIRROR = 12, 14  # purposes of random numbers: a random perturbation, mirrored batches


@dataclass(frozen=True, kw_only=True)
class Universal(FittedAttack):
    """One change that fools on most images: `epochs` forwards and backwards per fitting image.

    Shafahi, Najibi, Xu, Dickerson, Davis, Goldstein 2020, "Universal adversarial training", section 3; or
    with algorithm "deepfool" Moosavi-Dezfooli, Fawzi, Fawzi, Frossard 2017, "Universal adversarial
    perturbations", algorithm 1: a forward per image and pass, up to 10 forwards and 90 backwards more for one
    that is not fooled, and a forward of all to know the rate. Ours differs: the loss of algorithm "gradient"
    is the margin, batches are mirrored half of the time, and under Linf what is kept is the sign of the
    change at the whole budget; algorithm "deepfool" looks at a batch from the same change.

    algorithm   "gradient" or "deepfool"
    fit         images to fit on, the rest is judged; None: half of what there is
    victims     further networks to fit on, MODELs joined by +
    epochs      passes over the fitting images
    batch_size  images; None: 32, or of few images as many as make eight batches
    mirror      whether batches are mirrored half of the time; of algorithm "gradient"
    step_size   in the norm of the budget; None: eps / 10; of algorithm "gradient"
    delta       part of the images that may stay unfooled; None: 0.2 with "deepfool", else all epochs are
                spent

    Raises InputError for settings of the other algorithm.
    """

    name: ClassVar[str] = "universal"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = Linf(10 / 255)
    algorithm: Literal["gradient", "deepfool"] = "gradient"
    fit: Annotated[int | None, at_least(1)] = None
    victims: str | None = None
    epochs: Annotated[int, at_least(1)] = 30
    batch_size: Annotated[int | None, at_least(1)] = None
    mirror: bool = True
    step_size: Annotated[float | None, above(0)] = None
    delta: Annotated[float | None, at_least(0, below=1)] = None

    def validate(self) -> None:
        if self.step_size is not None and self.algorithm == "deepfool":
            raise InputError("step_size belongs to algorithm=gradient; DeepFool knows the size of its steps.")
        if self.victims is not None and self.algorithm == "deepfool":
            raise InputError(
                "DeepFool's boundaries are those of one network; victims need algorithm=gradient."
            )

    @property
    def untargeted_only(self) -> bool:
        return self.algorithm == "deepfool"

    @property
    def data_parallel(self) -> bool:
        return self.algorithm == "gradient"  # of the other one image follows another

    def init(self, fitting: Fitting) -> FittingState:
        return {"perturbation": torch.zeros_like(fitting.images[0]), "done": torch.tensor(False)}

    def epoch(self, fitting: Fitting, state: FittingState, number: int) -> FittingState:
        v = state["perturbation"]  # (C, H, W)
        advance = self._slide if self.algorithm == "gradient" else self._cross
        size = self.batch_size or max(1, min(32, len(fitting.images) // 8))
        coin = keyed(fitting.seed, MIRROR, number)
        for batch in fitting.batches(size, number):
            rows = fitting.own(batch)
            x = fitting.images[rows]
            if self.mirror and self.algorithm == "gradient" and torch.rand(1, generator=coin).item() < 0.5:
                x = x.flip(3)
            v = advance(fitting, v, rows, x, len(batch))
        delta = DELTA if self.delta is None and self.algorithm == "deepfool" else self.delta
        done = delta is not None and self._unfooled(fitting, v) <= delta
        return {"perturbation": v, "done": torch.tensor(done)}

    def tensors(self, state: FittingState) -> Tensors:
        v = state["perturbation"]
        if self.algorithm == "gradient":
            v = self.threat.eps * self.threat.direction(v[None])[0]
        return {"perturbation": v}

    def apply(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        return self.threat.project(images + tensors["perturbation"], images)

    def random_baseline(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        return random_change(self.threat, images, keys, seed)

    def picture(self, tensors: Tensors) -> Tensor | None:
        return enlarged(tensors["perturbation"])

    def _slide(self, fitting: Fitting, v: Tensor, rows: Tensor, x: Tensor, count: int) -> Tensor:
        """v after a step down the mean loss of a batch of `count` images, of which x (n, C, H, W) are own."""
        gradient = fitting.gradient(v, rows, lambda v: into_range(x + v), of=count)
        length = self.step_size if self.step_size is not None else self.threat.eps / 10
        return within_budget(self.threat, v - length * self.threat.direction(gradient[None])[0])

    def _cross(self, fitting: Fitting, v: Tensor, rows: Tensor, x: Tensor, count: int) -> Tensor:
        """v with the smallest changes added that take the unfooled images of a batch over a boundary."""
        shifted = into_range(x + v)
        still = ~fitting.reached(shifted, rows)
        for change in smallest_changes(fitting, shifted[still], rows[still]):
            v = within_budget(self.threat, v + change)
        return v

    def _unfooled(self, fitting: Fitting, v: Tensor) -> float:
        """The part of the fitting images that v does not fool."""
        rows = fitting.own(torch.arange(len(fitting.images), device=v.device))
        hits = int(fitting.reached(into_range(fitting.images[rows] + v), rows).sum()) if len(rows) else 0
        return 1 - distributed.sums(hits, device=v.device)[0] / len(fitting.images)


def smallest_changes(fitting: Fitting, images: Tensor, rows: Tensor) -> Tensor:
    """DeepFool's changes (n, C, H, W) of `images`, which those at `rows` have become; all at once."""
    goal, counted = fitting.goal.rows(rows), fitting.counted(len(rows))
    logits = fitting.access.logits(images, counted)
    keys = tuple(fingerprints(images))
    problem = Problem(fitting.access, images, goal, Unbounded("l2"), counted, keys, fitting.seed, logits)
    state, found, place = INNER.init(problem), images.clone(), torch.arange(len(rows), device=images.device)
    for _ in range(INNER.steps):
        if not len(place):
            break
        state = INNER.step(problem, state)
        found[place] = state.images
        problem = problem.keep(~state.done)
        place, state = place[~state.done], select(state, ~state.done)
    return found - images


def within_budget(threat: Threat, change: Tensor) -> Tensor:
    """A change (C, H, W), whatever image it is added to, no larger than the budget."""
    if threat.norm == "linf":
        return change.clamp(-threat.eps, threat.eps)
    return change * (threat.eps / change.norm().clamp_min(1e-30)).clamp_max(1)


def random_change(threat: Threat, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
    """Each image (n, C, H, W) with random signs, or a random direction, of the budget's size."""
    shape = images.shape[1:]
    noise = [torch.randn(shape, generator=keyed(seed, key, CHANCE), dtype=torch.float64) for key in keys]
    return threat.project(images + threat.eps * threat.direction(torch.stack(noise).to(images)), images)


def enlarged(change: Tensor) -> Tensor:
    """A change (C, H, W) as an image: grey is none, its largest value white or black."""
    return 0.5 + change / (2 * change.abs().max().clamp_min(1e-12))
