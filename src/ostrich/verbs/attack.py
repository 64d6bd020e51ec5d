"""`ostrich.attack`: one attack on a network, by name or as it is, with its evidence.

What an attack computes stands in `attacks/`; here its question is put together from what the user has, and
its answer becomes figures and a run directory.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ostrich.attacks import Attack, InputSpecificAttack, find, targets
from ostrich.attacks.engine import evidence, runner
from ostrich.attacks.engine.result import Result
from ostrich.attacks.engine.resuming import described
from ostrich.attacks.eot import EOT
from ostrich.attacks.goals import Goal, Untargeted
from ostrich.attacks.transfer import borrow_gradients
from ostrich.data.dataset import Samples
from ostrich.errors import InputError, UnknownName
from ostrich.models.answers import right
from ostrich.models.classifier import Classifier
from ostrich.runtime import events
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs.inputs import Images, Model, as_classifier, as_samples
from ostrich.verbs.outcome import Outcome, Where, begun_on, copy_run

SHARDS = "shards"  # of a run that goes on: its finished batches


def attack(
    method: str | Attack | type[Attack],
    model: Model,
    images: Images | None = None,
    labels: Tensor | Sequence[int] | Goal | None = None,
    *,
    goal: Goal | Tensor | None = None,
    target: str | int | None = None,
    surrogate: Model | None = None,
    eot: EOT | int | None = None,
    limit: int | None = None,
    seed: int = 0,
    precision: str = "fast",
    out: Where = None,
    force: bool = False,
    **settings: Any,
) -> AttackResult:
    """Attack the images that a network gets right; what is claimed is decided on the 8-bit image.

    `method` is a name (`ostrich list attacks`), a class, or an attack with its settings; `settings` are those
    of a name: eps=8/255, steps=40. `model` is a classifier, a module, a function or a MODEL; `images`
    (N, C, H, W) in [0, 1] with `labels` (N,), or DATA as on the command line. Without labels they are the
    clean predictions. `target` is a class by name or number, "random" or "least-likely"; or `goal` says it
    all. `surrogate` lends its gradients; `eot` averages them over random views. `limit` takes a seeded,
    class-balanced choice.

    Returns an `AttackResult`: tensors with the image as first axis, `figures`, and `save(folder)`. With `out`
    it is written there from the beginning, and an interrupted one goes on. Raises InputError (wrong images,
    labels, settings; an attack that the network does not allow), UnknownName.
    """
    method = as_attack(method, settings)
    if not isinstance(method, InputSpecificAttack):
        raise InputError(f"{method.name} is fitted on images.")
    classifier = as_classifier(model)
    question = _asked(method, classifier, images, labels, goal, target, limit, seed)
    question = replace(question, eot=EOT(samples=eot) if isinstance(eot, int) else eot, precision=precision)
    borrow_gradients(method, classifier, surrogate)
    runner.check_attack(method, classifier, question.eot)
    if out is None:
        return question.answered(None)
    with question.begin(out, force) as run:
        found = question.answered(run)
        run.finish(found.figures)
    shutil.rmtree(run.folder / SHARDS, ignore_errors=True)  # all of it stands in the files now
    return found


def as_attack(method: str | Attack | type[Attack], settings: Mapping[str, Any]) -> Attack:
    """An attack of that name or class with settings. Raises UnknownName, InputError."""
    if isinstance(method, Attack):
        if settings:
            raise InputError(
                f"{method.name} has its settings already; {', '.join(settings)} belongs into it: "
                f"{type(method).__name__}({', '.join(f'{name}=...' for name in settings)})."
            )
        return method
    kind = find(method) if isinstance(method, str) else method
    if not isinstance(kind, type) or not issubclass(kind, Attack):
        raise InputError(f"An attack is a name, a class, or an instance of one; got {method!r}.")
    known = [field.name for field in fields(kind)]
    known += ["eps", "norm"] if "threat" in known else []
    for name in settings:
        if name not in known:
            raise UnknownName(f"setting of {kind.name}", name, known)
    return kind(**settings)


@dataclass(frozen=True, kw_only=True)
class Question:
    """An input-specific attack on images: all that decides its result."""

    method: InputSpecificAttack
    classifier: Classifier
    samples: Samples
    labels: Tensor | None  # those given, or to be left, (N,)
    only_right: bool  # images that are wrong before are left alone, whatever the goal
    goal: Goal | None  # where it is not said by `target`
    target: str | None
    eot: EOT | None = None
    precision: str = "fast"
    seed: int = 0

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        asked = {"attack": described(self.method), "eot": repr(self.eot), "target": self.target}
        asked |= {"precision": self.precision}
        if self.classifier.surrogate is not None:
            asked["surrogate"] = self.classifier.surrogate.name
        if self.goal is not None:
            asked["goal"] = str(self.goal)
        name = f"attack-{self.method.name}"
        return begun_on(name, asked, self.classifier, self.samples, seed=self.seed, out=out, force=force)

    def answered(self, run: Run | None) -> AttackResult:
        """The result; with a run, its pieces are kept there, and its files written."""
        method, classifier, samples = self.method, self.classifier, self.samples
        labels, predictions = targets.labels(classifier, samples, self.labels)
        goal = self.goal or targets.goal(classifier, samples, labels, self.target, self.seed)
        files = None if run is None else evidence.Evidence(run.folder, samples, labels, goal)
        holds = files is None or samples.in_memory or method.photographs
        wrote = 0.0  # seconds

        def keep(rows: range, part: Result) -> Result:
            nonlocal wrote
            if files is not None:
                started = time.monotonic()
                files.add(rows, part)
                wrote += time.monotonic() - started
            return part if holds else part.without_images()

        with (
            stopwatch() as spent,
            events.progress(f"{method.name} on {len(samples)} images", len(samples)) as advance,
        ):
            found = runner.attack(
                method,
                classifier,
                samples,
                goal,
                labels=labels if self.only_right else None,
                seed=self.seed,
                precision=self.precision,
                eot=self.eot,
                starts=samples.images() if method.needs == "labels" else None,
                shards=None if run is None else run.folder / SHARDS,
                progress=advance,
                keep=keep,
            )
        correct, labelled = right(predictions, labels), self.labels is not None
        norm, seconds = method.threat.norm, spent.seconds - wrote
        figures = evidence.figures(method.name, found, norm, correct, labelled, seconds, classifier)
        figures |= evidence.members(method, found)
        if method.stop == "minimum":
            figures["curve"] = evidence.curve(found, correct)
        if self.eot is not None:
            figures["eot"] = evidence.under_views(self.eot, classifier, goal, found, self.seed)
        tensors = vars(found)
        if files is not None and not holds:
            tensors |= {"images": files.images(), "originals": files.originals()}
        whole = AttackResult(
            **tensors,
            name=f"attack-{method.name}",
            figures=figures,
            question=self,
            goal=goal,
            labels=labels,
        )
        if files is not None and run is not None:
            whole.confirm(run, files)
        return whole


@dataclass(kw_only=True, repr=False)
class AttackResult(Result, Outcome):
    """What an attack did to N images, its `figures` as run.json has them, and `save(folder)`.

    `labels` (N,) are those that were given, else the clean predictions.
    """

    images: Any  # Tensor (N, C, H, W); of many large ones written to a run, evidence.FileImages
    originals: Any
    name: str
    figures: dict[str, Any]
    folder: Path | None = None
    question: Question
    goal: Goal
    labels: Tensor

    __repr__ = Outcome.__repr__

    @property
    def headline(self) -> tuple[str, ...]:
        return ("n", "clean_accuracy", "success_rate", "robust_accuracy", "forwards_per_image")

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        if self.folder is not None and not self.question.samples.in_memory:
            return copy_run(self.folder, folder, force=force)
        with self.question.begin(folder, force) as run:
            files = evidence.Evidence(run.folder, self.question.samples, self.labels, self.goal)
            files.add(range(len(self.success)), self)
            self.confirm(run, files)
            run.finish(self.figures)
        return Path(folder)

    def confirm(self, run: Run, files: evidence.Evidence) -> None:
        """Read back what its files claim; the figures that are of files."""
        self.folder = run.folder
        asked = self.question
        method, samples, classifier = asked.method, asked.samples, asked.classifier
        files.reread(classifier, method.threat)
        self.figures |= method.report(run.folder, classifier, samples.index, self.goal, self, asked.seed)


def _asked(
    method: InputSpecificAttack,
    classifier: Classifier,
    images: Images | None,
    labels: Tensor | Sequence[int] | Goal | None,
    goal: Goal | Tensor | None,
    target: str | int | None,
    limit: int | None,
    seed: int,
) -> Question:
    """Images, labels and goal as a question. Raises InputError for what does not go together."""
    if isinstance(labels, Goal):
        labels, goal = None, labels
    if isinstance(goal, Tensor):  # labels where a goal is meant
        labels, goal = goal, None
    if goal is not None and target is not None:
        raise InputError("Give a goal or a target, not both: the goal says what is to be reached.")
    if goal is not None and not isinstance(goal, Goal):
        raise InputError(
            "A goal is ostrich.Untargeted(labels), Targeted(classes) or Confident(classes, 0.99), or labels "
            f"(N,); got {type(goal).__name__}."
        )
    if images is None:
        raise InputError(f"{method.name} needs images: a tensor (N, C, H, W) in [0, 1], or DATA.")
    samples = as_samples(images, labels, classifier, limit=limit, seed=seed)
    given, only_right = samples.labels, goal is None or samples.labels is not None
    if given is None and isinstance(goal, Untargeted):
        given = goal.classes
    if (
        given is not None
        and len(given)
        and not 0 <= int(given.min()) <= int(given.max()) < classifier.num_classes
    ):
        raise InputError(
            f"Labels are classes 0 to {classifier.num_classes - 1} of {classifier.name}; got "
            f"{int(given.min())} to {int(given.max())}."
        )
    named = None if target is None else str(target)
    targets.check_target(classifier, named)
    return Question(
        method=method,
        classifier=classifier,
        samples=samples,
        labels=given,
        only_right=only_right,
        goal=goal,
        target=named,
        seed=seed,
    )
