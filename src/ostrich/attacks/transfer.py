"""Transfer: what fools another network is tried on this one.

Szegedy 2014, section 4.2, and Papernot, McDaniel, Goodfellow 2016, "Transferability in machine
learning": an attack with gradients on a surrogate costs the victim one query per image. Here APGD on
the surrogate, which spends its whole budget, so that what is found lies deep. What the surrogate gets wrong
before is moved as far from the goal's boundary as the budget goes.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import Attack, InputSpecificAttack, State
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.goals import Beyond
from ostrich.attacks.gradient.apgd import APGD
from ostrich.attacks.threats import Linf, Threat
from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.models import load
from ostrich.models.answers import predictions
from ostrich.models.classifier import Classifier
from ostrich.runtime.ranges import at_least

TRIED = 64  # images, by which it is told how a surrogate wants to be fed


@dataclass(frozen=True, kw_only=True)
class Transfer(InputSpecificAttack):
    """One forward per image of the network under attack."""

    name: ClassVar[str] = "transfer"
    needs: ClassVar[str] = "labels"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    steps: ClassVar[int] = 1
    stop: ClassVar[str] = "first"

    threat: Threat = Linf(8 / 255)
    surrogate: str  # MODEL as on the command line; normalised as it is loaded
    iterations: Annotated[int, at_least(1)] = 50

    def check_classifier(self, classifier: Classifier) -> None:
        """Refuse a surrogate that cannot be had or does not fit the classifier."""
        self.companions(classifier)

    def companions(self, classifier: Classifier) -> tuple[Classifier, ...]:
        return (companion(self.surrogate, classifier, "surrogate"),)

    def init(self, problem: Problem) -> State:
        from ostrich.attacks.engine.runner import attack  # which runs this file

        x, (other,) = problem.originals, self.companions(problem.access.classifier)
        method = APGD(threat=self.threat, steps=self.iterations, stop="budget")
        run = partial(attack, method, other, seed=problem.seed, precision=problem.access.precision)
        found = run(x, problem.goal)
        images, there = found.images, ~found.attacked  # the surrogate is wrong of these as they are
        if there.any():
            images[there] = run(x[there], Beyond(problem.goal.rows(there), torch.inf)).images
        return State(images)

    def step(self, problem: Problem, state: State) -> State:
        problem.propose(state.images, torch.ones_like(problem.rows, dtype=torch.bool))
        return state


def borrow_gradients(
    method: Attack, classifier: Classifier, surrogate: Any | None, images: Tensor | Samples | None = None
) -> Classifier:
    """The classifier; where a surrogate is given, one `with_gradients_of` it, tried on `images`.

    Raises InputError where it is of no use or does not fit, and where it is missing.
    """
    if surrogate is None:
        if method.needs == "gradient" and classifier.access != "gradient":
            raise InputError(
                f"{method.name} needs gradients; {classifier.name} {classifier.lacks}. Lend it "
                "those of a network alike with --surrogate MODEL, or take an attack that needs none: "
                "`ostrich list attacks`."
            )
        return classifier
    if method.needs != "gradient":
        raise InputError(f"--surrogate lends gradients; {method.name} takes none.")
    return with_gradients_of(surrogate, classifier, images)


def with_gradients_of(
    surrogate: Any, classifier: Classifier, images: Tensor | Samples | None = None
) -> Classifier:
    """A classifier that is attacked by the gradients of a surrogate, and judged as the given one.

    A surrogate that brings no normalisation is given the classifier's, unless it agrees with the classifier
    on as many of the first `images` (N, C, H, W) as it is; which it was is among the remarks. Neither of the
    two is changed. Raises InputError where it does not fit.
    """
    other = copy(companion(surrogate, classifier, "surrogate"))
    if other.access != "gradient":
        raise InputError(f"The surrogate {other.name} {other.lacks}; its gradients are needed.")
    borrowing = copy(classifier)
    borrowing.surrogate = other
    if other.mean is None and other.std is None and (classifier.mean or classifier.std):
        borrowing.surrogate, guessed = _normalised(other, classifier, images)
        borrowing.told = classifier.told | {"surrogate's input": guessed}
    return borrowing


def _normalised(
    other: Classifier, classifier: Classifier, images: Tensor | Samples | None
) -> tuple[Classifier, str]:
    """A surrogate without mean and std, as it is or with the classifier's, and a sentence on why."""
    alike = copy(other)
    alike.mean, alike.std = classifier.mean, classifier.std
    said = f"{other.name} brings no mean and std: "
    if images is None or not len(images):
        return alike, f"{said}those of {classifier.name} are taken"
    images = images[:TRIED]
    own = predictions(classifier.predict(images))
    plain, normalised = (int((predictions(one.predict(images)) == own).sum()) for one in (other, alike))
    agreed = f"it agrees with {classifier.name} on {plain} of {len(images)} images as it is, on {normalised}"
    chosen = "taken" if normalised > plain else "not taken"
    return alike if normalised > plain else other, f"{said}{agreed} with those, which are {chosen}"


def companion(model: Any, classifier: Classifier, role: str) -> Classifier:
    """Another network for the images and classes of a classifier: MODEL, a module, or a classifier.

    Raises InputError where it cannot be had or does not fit.
    """
    other = model if isinstance(model, Classifier) else load(model, device=classifier.device)
    wanted = (classifier.channels, classifier.num_classes)
    fits = other.channels == wanted[0] and (other.class_names is None or other.num_classes == wanted[1])
    if fits and other.size != classifier.size and not isinstance(model, Classifier):
        other = load(model, size=classifier.size, device=classifier.device)
    if (other.channels, other.num_classes) != wanted:
        raise InputError(
            f"The {role} {other.name} has {other.channels} channels and {other.num_classes} classes; the "
            f"network under attack has {wanted[0]} and {wanted[1]}."
        )
    names = (other.class_names, classifier.class_names)
    if None not in names and list(names[0]) != list(names[1]):  # type: ignore[arg-type]
        raise InputError(
            f"The {role} {other.name} has other classes than {classifier.name}, or in another order."
        )
    return other
