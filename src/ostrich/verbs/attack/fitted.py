"""`ostrich.attack` with a fitted attack: fitted on a part of the images, judged on the rest.

With an artefact nothing is fitted, and all images are judged that it was not fitted on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ostrich.attacks.base import FittedAttack
from ostrich.attacks.engine.result import Result
from ostrich.attacks.engine.resuming import described
from ostrich.attacks.engine.runner import check_attack
from ostrich.attacks.fitted import evidence
from ostrich.attacks.fitted.artefact import Artefact, judge, load_artefact
from ostrich.attacks.fitted.fitting import check_goal, victims
from ostrich.attacks.fitted.held_out import CleanImages, evaluate_clean, fit_held_out, hold_out_split
from ostrich.attacks.fooling.recognition import by_name
from ostrich.attacks.targets import check_target
from ostrich.attacks.transfer import borrow_gradients, companion
from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models.classifier import Classifier
from ostrich.runtime.runs import Run
from ostrich.verbs.attack.given import Given, check_labels
from ostrich.verbs.inputs import Model, as_classifier, as_samples
from ostrich.verbs.outcome import Kept, Where, begun_on

HEADLINE = ("n", "clean_accuracy", "success_rate", "fooling_rate", "by_chance")


class FittedResult(Kept, Result):
    """What an artefact does to the images held out: tensors with the image as first axis, and `figures`.

    `artefact` is applied to others by `ostrich.attack(name, model, images, artefact=result.artefact)`;
    `index` are the places of the images held out among those given, `labels` (N,) theirs.
    """

    def __init__(
        self, result: Result, artefact: Artefact, held_out: CleanImages, run: Run, figures: Mapping[str, Any]
    ) -> None:
        Result.__init__(self, **vars(result))
        Kept.__init__(self, f"attack-{artefact.method.name}", run, figures, "pictures.png", HEADLINE)
        self.artefact: Artefact = artefact
        self.index: tuple[int, ...] = held_out.samples.index
        self.labels: Tensor = held_out.labels


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Question:
    """A fitted attack on images: all that decides its result.

    `method` is that of the `artefact`, where one is applied. `also` are further networks, by name, on which
    it is judged; `surrogate` what lends the gradients, as it is named.
    """

    method: FittedAttack
    artefact: Artefact | None
    classifier: Classifier
    samples: Samples
    target: str | None
    also: Mapping[str, Classifier]
    surrogate: str | None
    seed: int
    precision: str

    def check(self) -> None:
        """Refuse, by an InputError, what cannot be fitted or judged; nothing is written before."""
        method, classifier, samples, given = self.method, self.classifier, self.samples, self.artefact
        if self.target in ("random", "least-likely") and not method.paints:
            raise InputError(
                f"A target {self.target} is said of an image; for {method.name} it is one class for all."
            )
        check_target(classifier, self.target)
        if given is None:
            check_attack(method, classifier)
            victims(method, classifier)
            check_goal(method, "untargeted" if self.target is None else "targeted")
        else:
            given.check(classifier)
        if method.paints and samples.views is None:
            raise InputError(
                f"{method.name} paints an object: give it mesh:FILE or mesh:toybox/NAME for DATA."
            )
        if given is None:
            hold_out_split(samples.keys, method.fit, samples.labels, self.seed)
            return
        if samples.views is not None and method.paints and given.facts["mesh"] != samples.views.mesh.digest:
            raise InputError(
                f"The artefact paints {given.facts['data']}, another mesh than {samples.name}: "
                "give it that one."
            )
        if not given.unseen(self.keys).any():
            raise InputError("The artefact was fitted on every one of these images; give it others.")

    @cached_property
    def keys(self) -> list[int]:
        """What tells images that were fitted on: of a mesh's views their numbers, whatever their size."""
        samples = self.samples
        return fingerprints(samples.images()) if samples.views is None else list(samples.views.numbers)

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        asked: dict[str, Any] = {"attack": described(self.method), "target": self.target}
        asked |= {"precision": self.precision}
        asked |= {"also": list(self.also)} if self.also else {}
        asked |= {"surrogate": self.surrogate} if self.surrogate else {}
        if self.artefact is not None:
            asked |= {"attack": repr(self.method), "artefact": self.artefact.digest()}
        name = f"attack-{self.method.name}"
        return begun_on(name, asked, self.classifier, self.samples, seed=self.seed, out=out, force=force)

    def answered(self, run: Run) -> FittedResult:
        """Fit and judge; the files lie in the run directory."""
        classifier, seed = self.classifier, self.seed
        clean = evaluate_clean(self.method, classifier, self.samples)
        if self.artefact is None:
            artefact, rest = fit_held_out(
                run.folder,
                self.method,
                classifier,
                clean,
                self.keys,
                target=self.target,
                seed=seed,
                precision=self.precision,
            )
        else:
            artefact, rest = self.artefact, self.artefact.unseen(self.keys).nonzero()[:, 0].tolist()
        artefact = replace(artefact, method=artefact.method.bind_views(clean.samples.views))
        held_out = clean.take(rest)
        started = time.monotonic()
        judgement = judge(artefact, classifier, held_out.images, held_out.labels, seed)
        seconds = time.monotonic() - started
        evidence.write(run.folder, artefact, classifier, held_out, judgement)
        figures = evidence.figures(
            run.folder, artefact, classifier, held_out, judgement, seconds=seconds, seed=seed
        )
        if self.also:
            rates = {
                name: evidence.transfer_rate(artefact, other, held_out, seed)
                for name, other in self.also.items()
            }
            figures["transfer"] = rates
        figures["left_out"] = len(clean.samples) - len(held_out.samples)
        return FittedResult(judgement.result, artefact, held_out, run, figures)


def asked(given: Given, model: Model) -> Question:
    """A fitted attack as it is given. Raises InputError for what cannot be fitted or judged."""
    kind = given.kind
    assert issubclass(kind, FittedAttack)
    artefact = None if given.artefact is None else as_artefact(given.artefact, kind)
    method = given.attack() if artefact is None else artefact.method
    assert isinstance(method, FittedAttack)
    classifier = as_classifier(model)
    labels = given.goal.classes if given.goal is not None and given.labels is None else given.labels
    samples = as_samples(
        given.images, labels, classifier, limit=given.limit, seed=given.seed, skip_bad=given.skip_bad
    )
    check_labels(samples.labels, classifier)
    surrogate = given.surrogate
    if artefact is None:
        classifier = borrow_gradients(method, classifier, surrogate, samples)
    question = Question(
        method=method,
        artefact=artefact,
        classifier=classifier,
        samples=samples,
        target=given.target,
        also=by_name([companion(one, classifier, "network") for one in given.also]),
        surrogate=None if classifier.surrogate is None else classifier.surrogate.name,
        seed=given.seed,
        precision=given.precision,
    )
    question.check()
    return question


def as_artefact(artefact: str | Path | Artefact, kind: type[FittedAttack]) -> Artefact:
    """An artefact of that attack, as it is or from its file. Raises InputError for any other."""
    if isinstance(artefact, str | Path):
        return load_artefact(artefact, kind)
    if not isinstance(artefact, Artefact):
        raise InputError(
            f"An artefact is the file of one, or `result.artefact` of a fitted attack; got {artefact!r}."
        )
    if artefact.method.name != kind.name:
        name = artefact.method.name
        raise InputError(
            f"This is an artefact of {name}: ostrich.attack({name!r}, ..., artefact=...) applies it."
        )
    return artefact
