"""Artefacts: what an image-agnostic attack leaves, as a file, and how it is judged on other images.

A file is safetensors: the tensors, among them the fingerprints of the images it was fitted on, so
that none of these is ever judged; and as metadata the attack, its settings and what is known of the
fitting. It is applied by the one engine, as an input-specific attack of one step without gradients:
success is decided on the image rounded to 8 bits, inside the budget.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ostrich.attacks.base import FittedAttack, InputSpecificAttack, State, Tensors
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.engine.runner import Result, attack
from ostrich.attacks.engine.settings import configure
from ostrich.attacks.fitted.fitting import fit
from ostrich.attacks.goals import Goal, Targeted, Untargeted
from ostrich.attacks.threats import NORMS, Threat
from ostrich.errors import InputError
from ostrich.models.answers import NO_ANSWER, predictions, right
from ostrich.models.classifier import Classifier
from ostrich.models.steadiness import refuse_other_answers
from ostrich.runtime.facts import digest
from ostrich.runtime.files import CHECKSUM, whole
from ostrich.runtime.settings import readable

MARK = "ostrich artefact"
FILE = "artefact.safetensors"  # in a run directory
FITTED_ON = "fitted_on"  # the tensor of fingerprints


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Artefact:
    """A fitted attack: `shape` (C, H, W) is that of the images, `target` a class's index and name.

    `seen` int64 (N,) are the fingerprints of the fitting images, or the numbers of a mesh's views;
    `facts` what is known of the fitting.
    """

    method: FittedAttack
    tensors: Tensors
    shape: tuple[int, int, int]
    seen: Tensor
    target: tuple[int, str] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shape, target = (
            "x".join(map(str, self.shape)),
            "" if self.target is None else f", to {self.target[1]}",
        )
        return f"<Artefact of {self.method.name}: fitted on {len(self.seen)} images of {shape}{target}>"

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        settings = {name: str(vars(self.method)[name]) for name in readable(type(self.method))}
        settings |= {"norm": self.method.threat.norm, "eps": repr(self.method.threat.eps)}
        about = {
            "attack": self.method.name,
            "settings": settings,
            "shape": self.shape,
            "target": self.target,
            "facts": self.facts,
        }
        content = {name: value.detach().cpu().contiguous() for name, value in self.tensors.items()}
        content[FITTED_ON] = self.seen.cpu()
        words = json.dumps(about)
        with whole(Path(path)) as partial:
            save_file(content, partial, {MARK: words, CHECKSUM: digest(words, content)})

    def digest(self) -> str:
        """A checksum of the tensors."""
        checksum = hashlib.sha256()
        for name in sorted(self.tensors):
            checksum.update(name.encode() + self.tensors[name].detach().cpu().contiguous().numpy().tobytes())
        return checksum.hexdigest()

    def check(self, classifier: Classifier) -> None:
        """Refuse, by an InputError, a classifier whose images or classes the artefact does not fit."""
        channels, height, width = self.shape
        if channels != classifier.channels:
            raise InputError(
                f"The artefact is for images of {channels} channels; {classifier.name} takes "
                f"{classifier.channels}."
            )
        if self.method.one_size and classifier.size is not None and (height, width) != classifier.size:
            raise InputError(
                f"The artefact is for images of {height}x{width} pixels; those of {classifier.name} have "
                f"{classifier.size[0]}x{classifier.size[1]}. Give --size {height}x{width}, or fit another."
            )
        if self.target is not None:
            self._target(classifier)

    def goal(self, classifier: Classifier, predictions: Tensor) -> Goal:
        """What it is to reach on images with these clean predictions (N,): its class, or a change."""
        if self.target is None:
            return Untargeted(predictions.clamp_min(0))  # no answer is no class, and nothing to be left
        return Targeted(torch.full_like(predictions, self._target(classifier)))

    def unseen(self, keys: Sequence[int]) -> Tensor:
        """Which of the images with these fingerprints it was not fitted on, (N,) bool."""
        return ~torch.isin(torch.tensor(keys), self.seen.cpu())

    def _target(self, classifier: Classifier) -> int:
        """The classifier's class of that name, or where it has no names, of that number."""
        assert self.target is not None
        index, name = self.target
        return classifier.class_index(name if classifier.class_names is not None else str(index))


def fit_artefact(
    method: FittedAttack,
    classifier: Classifier,
    images: Tensor,
    predictions: Tensor,
    *,
    seen: Sequence[int],
    target: tuple[int, str] | None = None,
    seed: int = 0,
    precision: str = "fast",
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Artefact:
    """Fit a method on images (N, C, H, W) with these clean predictions (N,), whose fingerprints are `seen`.

    As `fitting.fit`, which it calls, of the images that have an answer; the facts are what the fitting cost,
    and whether it had no gradient to speak of.
    """
    told = predictions != NO_ANSWER
    images, predictions = images[told], predictions[told]
    blank = Artefact(
        method=method,
        tensors={},
        shape=tuple(images.shape[1:]),  # type: ignore[arg-type]
        seen=torch.tensor(seen, dtype=torch.int64)[told.cpu()],
        target=target,
    )
    goal = blank.goal(classifier, predictions)
    done = fit(
        method,
        classifier,
        images,
        goal,
        seed=seed,
        precision=precision,
        checkpoint=checkpoint,
        progress=progress,
    )
    facts = {name: vars(done)[name] for name in ("epochs", "forwards", "backwards", "seconds")}
    facts |= {"processes": done.processes} if done.processes > 1 else {}
    facts |= {"zero_gradient": True} if done.zero_gradient else {}
    return replace(blank, tensors=done.tensors, facts=facts)


def load_artefact(path: str | Path, kind: type[FittedAttack]) -> Artefact:
    """Read the artefact of an attack of this class. Raises InputError for any other file."""
    try:
        with safe_open(str(path), framework="pt") as file:
            facts = file.metadata() or {}
            about = json.loads(facts.get(MARK, "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        if about is not None and facts.get(CHECKSUM, known := digest(facts[MARK], tensors)) != known:
            raise ValueError("its checksum is another, or of another version of Ostrich")
    except FileNotFoundError:
        raise InputError(f"There is no artefact {str(path)!r}.") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read as an artefact ({error}).") from None
    if about is None:
        raise InputError(f"{str(path)!r} is no artefact of Ostrich, but some other safetensors file.")
    if (other := about["attack"]) != kind.name:
        raise InputError(f"{str(path)!r} is an artefact of {other}: `ostrich attack {other} ...` applies it.")
    return Artefact(
        method=configure(kind, about["settings"]),
        seen=tensors.pop(FITTED_ON),
        tensors=tensors,
        shape=tuple(about["shape"]),
        target=None if about["target"] is None else tuple(about["target"]),
        facts=about["facts"],
    )


@dataclass(frozen=True, kw_only=True)
class Applied(InputSpecificAttack):
    """An artefact, or with `random_baseline` something random in its place, as an attack of one step."""

    name: ClassVar[str] = "applied"
    norms: ClassVar[tuple[str, ...]] = tuple(NORMS)
    needs: ClassVar[str] = "labels"
    stop: ClassVar[str] = "first"
    steps: ClassVar[int] = 1

    artefact: Artefact
    random_baseline: bool = False

    @property
    def threat(self) -> Threat:
        return self.artefact.method.judged_in

    def init(self, problem: Problem) -> State:
        method, x = self.artefact.method, problem.originals
        tensors = {name: value.to(x) for name, value in self.artefact.tensors.items()}
        make = method.random_baseline if self.random_baseline else method.apply
        with torch.no_grad():
            return State(make(tensors, x, problem.keys, problem.seed))

    def step(self, problem: Problem, state: State) -> State:
        return state  # after the last step the engine verifies what it is left with


@dataclass(frozen=True)
class Judgement:
    """What an artefact does to images it was not fitted on.

    `fooling_rate` is the share of all images whose prediction changed (of a targeted artefact: of
    those not of the target class before); in `result`, `attacked` are only those right before.
    """

    result: Result
    fooling_rate: float | None
    random_baseline: float | None  # the success rate of something random in its place

    @property
    def success_rate(self) -> float | None:
        """The share of those right before that reach the goal."""
        return _mean(self.result.success[self.result.attacked])


def judge(
    artefact: Artefact, classifier: Classifier, images: Tensor, labels: Tensor, seed: int = 0
) -> Judgement:
    """Apply it to images (N, C, H, W) with `labels` (N,), and verify every success.

    Where the fitting had no gradient to speak of, no image had. Raises InputError for a classifier that the
    artefact does not fit, RandomAnswers for one that answers otherwise than before.
    """
    artefact.check(classifier)
    found = predictions(classifier.predict(images))
    goal, correct = artefact.goal(classifier, found), right(found, labels)
    result = attack(Applied(artefact=artefact), classifier, images, goal, seed=seed)
    moved = result.clean_predictions != found
    refuse_other_answers(classifier, images[moved], "Images are answered otherwise")
    changed = (result.predictions != result.clean_predictions)[result.attacked]
    random = attack(Applied(artefact=artefact, random_baseline=True), classifier, images, goal, seed=seed)
    result.attacked &= correct
    result.success &= correct
    if artefact.facts.get("zero_gradient"):
        result.zero_gradient |= result.attacked
    return Judgement(result, _mean(changed), _mean(random.success[result.attacked]))


def _mean(hits: Tensor) -> float | None:
    return hits.double().mean().item() if len(hits) else None
