"""`ostrich.attack`: one attack on a network, by name or as it is, with its evidence.

What an attack computes stands in `attacks/`; here its question is put together from what the user has, and
its answer becomes figures and a run directory. The question of an attack on single images stands in this
file, the others in `fooling.py`, `fitted.py` and `camouflage.py`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ostrich.attacks import Attack, CamouflageAttack, FittedAttack, InputSpecificAttack, targets
from ostrich.attacks.engine import evidence, runner
from ostrich.attacks.engine.figures import attack_figures, broken_by, curve, under_views
from ostrich.attacks.engine.result import Result
from ostrich.attacks.engine.resuming import described, goal_facts
from ostrich.attacks.eot import EOT
from ostrich.attacks.fitted.artefact import Artefact
from ostrich.attacks.goals import Goal, Untargeted
from ostrich.attacks.transfer import borrow_gradients
from ostrich.data.dataset import Dataset, Samples
from ostrich.models.answers import right
from ostrich.models.classifier import Classifier
from ostrich.models.detectors import Detector
from ostrich.runtime import events
from ostrich.runtime.memory import give_back
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs import camouflage, fitted, fooling
from ostrich.verbs.attack_inputs import Given, Labels, check_labels, read_given, starts_from_noise
from ostrich.verbs.inputs import Images, Model, as_classifier, as_samples
from ostrich.verbs.outcome import Outcome, Where, begun_on, copy_run

SHARDS = "shards"  # of a run that goes on: its finished batches


def attack(
    method: str | Attack | type[Attack],
    model: Model | Detector,
    images: Images | Dataset | None = None,
    labels_or_goal: Labels | Goal | None = None,
    *,
    labels: Labels | None = None,
    goal: Goal | Labels | None = None,
    target: str | int | None = None,
    artefact: str | Path | Artefact | None = None,
    also: Model | Sequence[Model] = (),
    surrogate: Model | None = None,
    eot: EOT | int | None = None,
    limit: int | None = None,
    seed: int = 0,
    precision: str = "fast",
    skip_bad: bool = False,
    out: Where = None,
    force: bool = False,
    **settings: Any,
) -> AttackResult | fooling.FoolingResult | fitted.FittedResult | camouflage.CamouflageResult:
    """Attack a network, and decide on 8-bit images what is claimed.

    `method` is a name (`ostrich list attacks`), a class, or an attack with its settings; `settings` are those
    of a name or class: eps=8/255, steps=40 (one that is called as an option here, such as the `surrogate` of
    autoattack, is given in an instance). `model` is a classifier, a module, a function or a MODEL;
    `images` (N, C, H, W) in [0, 1], or DATA as on the command line; then labels (N,) or a goal, in their
    place or by name: without labels they are the clean predictions. `target` is a class by name or number,
    "random" or "least-likely"; a goal says it all. `surrogate` lends its gradients; `eot` averages them over
    random views. `limit` takes a seeded, class-balanced choice; `skip_bad` leaves out files that cannot be
    read.

    - An attack on single images tries those that the network gets right: an `AttackResult`.
    - fooling-* starts from noise and takes no images, but `confidence`, and `target` or `limit`, so many
      evenly spread classes: a `FoolingResult`.
    - A fitted one (universal, generator, patch, texture) is fitted on a part of the images, `fit` of them,
      and judged on the rest: a `FittedResult`. An `artefact`, a file or `result.artefact`, is applied
      instead of fitting; `also` are networks on which it is judged too.
    - dazzle takes a face detector, "detector:NAME", and pictures of faces: a `CamouflageResult`.

    A result has tensors with the image as first axis, `figures`, and `save(folder)`. With `out` it is written
    there from the beginning, and an interrupted one goes on. Raises InputError (wrong images, labels or
    settings; what the attack does not take or the network does not allow), UnknownName.
    """
    given = read_given(
        method,
        (labels_or_goal, labels, goal),
        target,
        also,
        eot,
        settings,
        images=images,
        artefact=artefact,
        surrogate=surrogate,
        limit=limit,
        seed=seed,
        precision=precision,
        skip_bad=skip_bad,
    )
    question = _question(given, model)
    if out is None and isinstance(question, Question):  # which needs no folder before it is saved
        return question.answered(None)
    with question.begin(out, force) as run:
        found = question.answered(run)
        run.finish(found.figures)
    shutil.rmtree(run.folder / SHARDS, ignore_errors=True)  # all of it stands in the files now
    return found


def _question(
    given: Given, model: Any
) -> Question | fooling.Question | fitted.Question | camouflage.Question:
    """All that decides the result. Raises InputError for what cannot be answered, before it is begun."""
    if issubclass(given.kind, CamouflageAttack):
        return camouflage.asked(given, model)
    if issubclass(given.kind, FittedAttack):
        return fitted.asked(given, model)
    if starts_from_noise(given.kind):
        return fooling.asked(given, model)
    return _asked(given, model)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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
        asked: dict[str, Any] = {"attack": described(self.method), "eot": repr(self.eot)}
        asked |= {"target": self.target, "precision": self.precision}
        if self.classifier.surrogate is not None:
            asked["surrogate"] = self.classifier.surrogate.name
        if self.goal is not None:
            asked["goal"] = goal_facts(self.goal)
        name = f"attack-{self.method.name}"
        return begun_on(name, asked, self.classifier, self.samples, seed=self.seed, out=out, force=force)

    def answered(self, run: Run | None) -> AttackResult:
        """The result; with a run, its pieces are kept there, and its files written."""
        method, classifier, samples = self.method, self.classifier, self.samples
        labels, predictions = self.labels, None
        if labels is None or samples.in_memory:  # of many large images they come with the attack
            labels, predictions = targets.labels(classifier, samples, labels)
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
            if holds:
                return part
            give_back()  # after each batch of large images
            return part.without_images()

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
        clean = found.clean_predictions if predictions is None else predictions
        labels = labels.to(clean.device)
        correct, labelled = right(clean, labels), self.labels is not None
        norm, seconds = method.threat.norm, spent.seconds - wrote
        figures = attack_figures(method.name, found, norm, correct, labelled, seconds, classifier)
        figures |= broken_by(method, found)
        if method.stop == "minimum":
            figures["curve"] = curve(found, correct)
        if self.eot is not None:
            figures["eot"] = under_views(self.eot, classifier, goal, found, self.seed)
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


@dataclass(kw_only=True, eq=False, repr=False)
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


def _asked(given: Given, model: Model) -> Question:
    """An attack on single images. Raises InputError for what does not go together."""
    method = given.attack()
    assert isinstance(method, InputSpecificAttack)
    classifier = as_classifier(model)
    samples = as_samples(
        given.images,
        given.labels,
        classifier,
        limit=given.limit,
        seed=given.seed,
        skip_bad=given.skip_bad,
    )
    labels = samples.labels
    only_right = given.goal is None or labels is not None
    if labels is None and isinstance(given.goal, Untargeted):
        labels = given.goal.classes
    check_labels(labels, classifier)
    targets.check_target(classifier, given.target)
    classifier = borrow_gradients(method, classifier, given.surrogate)
    runner.check_attack(method, classifier, given.eot)
    return Question(
        method=method,
        classifier=classifier,
        samples=samples,
        labels=labels,
        only_right=only_right,
        goal=given.goal,
        target=given.target,
        eot=given.eot,
        precision=given.precision,
        seed=given.seed,
    )
