"""`ostrich.attack` with a fooling attack: from noise to certainty, for one class or many spread ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.engine import runner
from ostrich.attacks.engine.result import Result
from ostrich.attacks.engine.resuming import described
from ostrich.attacks.fooling import evidence
from ostrich.attacks.fooling.ascent import noise, spread
from ostrich.attacks.goals import Confident
from ostrich.attacks.transfer import borrow_gradients
from ostrich.errors import InputError
from ostrich.images import to_bytes
from ostrich.models.classifier import Classifier
from ostrich.runtime.events import progress
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs.attack.given import Given
from ostrich.verbs.inputs import Model, as_classifier
from ostrich.verbs.outcome import Kept, Where, begun_on

HEADLINE = ("n", "success_rate", "confidence", "forwards_per_image")


class FoolingResult(Kept, Result):
    """Images made from noise: tensors with the image as first axis, and `figures`.

    `classes` (N,) are those of which the network was to be made certain.
    """

    def __init__(
        self, name: str, result: Result, classes: Tensor, run: Run, figures: Mapping[str, Any]
    ) -> None:
        Result.__init__(self, **vars(result))
        Kept.__init__(self, name, run, figures, evidence.PICTURE, HEADLINE)
        self.classes: Tensor = classes


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Question:
    """A fooling attack on a network: all that decides its result.

    Without a `target` it is for all classes, or for `limit` evenly spread ones.
    """

    method: InputSpecificAttack
    classifier: Classifier
    confidence: float
    target: str | None
    surrogate: str | None
    limit: int | None
    seed: int
    precision: str

    @cached_property
    def classes(self) -> list[int]:
        """The classes that images are made for. Raises InputError, UnknownName."""
        if self.target in ("random", "least-likely"):
            raise InputError(
                f"A target {self.target} is said of an image; for {self.method.name} it is a class."
            )
        count = self.classifier.num_classes
        if self.target is not None:
            return [self.classifier.class_index(self.target)]
        return spread(count, count if self.limit is None else self.limit)

    @cached_property
    def start(self) -> Tensor:
        """The noise that is attacked, (N, C, H, W). Raises InputError where its size is not known."""
        classifier = self.classifier
        if classifier.size is None:
            raise InputError(
                f"The input size of {classifier.name} is not known: ostrich.load(..., size=224), or --size."
            )
        return noise(self.classes, (classifier.channels, *classifier.size), self.seed)

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        start = self.start
        checksum = hashlib.sha256(to_bytes(start).tobytes()).hexdigest()
        asked: dict[str, Any] = {
            "attack": described(self.method),
            "target": self.target,
            "precision": self.precision,
            "limit": self.limit,
            "confidence": self.confidence,
        }
        asked |= {"surrogate": self.surrogate} if self.surrogate else {}
        return begun_on(
            f"attack-{self.method.name}",
            asked,
            self.classifier,
            None,
            data={"name": "noise", "n": len(start), "sha256": checksum},
            seed=self.seed,
            out=out,
            force=force,
        )

    def answered(self, run: Run) -> FoolingResult:
        """The result; its pieces and its files lie in the run directory."""
        method, classifier, start = self.method, self.classifier, self.start
        goal = Confident(torch.tensor(self.classes, device=classifier.device), self.confidence)
        with (
            stopwatch() as spent,
            progress(f"{method.name} for {len(start)} classes", len(start), "classes") as advance,
        ):
            trace = evidence.Trace(run, method)
            result = runner.attack(
                method,
                classifier,
                start.to(classifier.device),
                goal,
                seed=self.seed,
                precision=self.precision,
                shards=run.folder / "shards",
                progress=advance,
                watch=trace,
            )
        seconds, confidence = spent.seconds, evidence.confidence_of(classifier, result, goal)
        evidence.write(run.folder, classifier, goal, result, confidence)
        figures = evidence.figures(method.name, classifier, goal, result, confidence, seconds)
        figures |= {"archive": trace.rows[-1]} if trace.rows else {}
        return FoolingResult(f"attack-{method.name}", result, goal.classes, run, figures)


def asked(given: Given, model: Model) -> Question:
    """A fooling attack as it is given. Raises InputError for what cannot be answered."""
    method = given.attack()
    assert isinstance(method, InputSpecificAttack)
    assert given.confidence is not None
    classifier = borrow_gradients(method, as_classifier(model), given.surrogate)
    question = Question(
        method=method,
        classifier=classifier,
        confidence=given.confidence,
        target=given.target,
        surrogate=None if classifier.surrogate is None else classifier.surrogate.name,
        limit=given.limit,
        seed=given.seed,
        precision=given.precision,
    )
    runner.check_attack(method, classifier)
    question.start  # noqa: B018 - refused before anything is written
    return question
