"""An attack on single images: its question, put together from what the user has, and its answer.

The answer becomes figures and a run directory; what the attack computes stands in `attacks/`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import InputSpecificAttack, targets
from ostrich.attacks.base import State
from ostrich.attacks.engine import evidence, runner
from ostrich.attacks.engine.figures import attack_figures, broken_by, curve, under_views
from ostrich.attacks.engine.result import Result
from ostrich.attacks.engine.resuming import described, goal_facts
from ostrich.attacks.eot import EOT
from ostrich.attacks.goals import Goal, Untargeted
from ostrich.attacks.transfer import borrow_gradients
from ostrich.data.dataset import Samples
from ostrich.models.answers import right
from ostrich.models.classifier import Classifier
from ostrich.models.steadiness import refuse_other_answers
from ostrich.runtime import events
from ostrich.runtime.memory import give_back
from ostrich.runtime.randomness import seeded
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import stopwatch
from ostrich.verbs.attack.given import Given, Watch, check_labels
from ostrich.verbs.inputs import Model, as_classifier, as_samples
from ostrich.verbs.outcome import Outcome, Where, begun_on, copy_run

SHARDS = "shards"  # of a run that goes on: its finished batches
HELD = 2**23  # values of the images of a run that stay in memory; those of more are read from its files


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
    watch: Watch | None = None
    keep: str = "all"  # which images are files of its run

    def facts(self) -> dict[str, Any]:
        """What is asked of the network, as run.json has it."""
        asked: dict[str, Any] = {"attack": described(self.method), "eot": repr(self.eot)}
        asked |= {"target": self.target, "precision": self.precision}
        if self.classifier.surrogate is not None:
            asked["surrogate"] = self.classifier.surrogate.name
        if self.goal is not None:
            asked["goal"] = goal_facts(self.goal)
        if self.keep != "all":
            asked["keep"] = self.keep
        return asked

    def begin(self, out: Where, force: bool) -> Any:
        """Its run directory."""
        name, asked = f"attack-{self.method.name}", self.facts()
        return begun_on(name, asked, self.classifier, self.samples, seed=self.seed, out=out, force=force)

    def files(self, run: Run, labels: Tensor, goal: Goal) -> evidence.Evidence:
        """The files of its run, none of them written yet."""
        return evidence.Evidence(run.folder, self.samples, labels, goal, self.keep)

    def look(self, step: int, state: State) -> None:
        """Show a step to who watches."""
        if self.watch is not None:
            self.watch(step, state.images)

    def answered(self, run: Run | None) -> AttackResult:
        """The result; with a run, its pieces are kept there, and its files written."""
        method, classifier, samples = self.method, self.classifier, self.samples
        labels, predictions = self.labels, None
        with seeded(self.seed, classifier.device):  # where its answers are random
            if labels is None or samples.in_memory:  # of many large images they come with the attack
                labels, predictions = targets.labels(classifier, samples, labels)
            goal = self.goal or targets.goal(classifier, samples, labels, self.target, self.seed)
        files = None if run is None else self.files(run, labels, goal)
        holds = files is None or method.photographs or self.eot is not None or _few(samples)
        wrote = 0.0  # seconds

        def keep(rows: range, part: Result, keys: list[int] | None) -> Result:
            nonlocal wrote
            if files is not None:
                started = time.monotonic()
                files.add(rows, part, keys)
                if self.keep == "none" and keys is None:  # no file of a success can be read back
                    own = goal.rows(torch.arange(rows.start, rows.stop, device=goal.classes.device))
                    evidence.refuse_lost_successes(classifier, part, own)
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
                write=None if files is None or holds else files.pictures,
                watch=runner.unwatched if self.watch is None else self.look,
            )
        clean = found.clean_predictions if predictions is None else predictions
        if predictions is not None:
            moved = found.clean_predictions != predictions.to(found.clean_predictions.device)
            said = "Images are answered otherwise"
            refuse_other_answers(classifier, classifier.beside(samples.images())[moved], said)
        if files is None:
            evidence.refuse_lost_successes(classifier, found, goal)
        labels = labels.to(clean.device)
        correct, labelled = right(clean, labels), self.labels is not None
        norm, seconds = method.threat.norm, spent.seconds - wrote
        figures = attack_figures(method.name, found, norm, correct, labelled, seconds, classifier, self.eot)
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

    images: Any  # Tensor (N, C, H, W); of many written to a run, evidence.FileImages
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
        if self.folder is not None and isinstance(self.images, evidence.FileImages):
            return copy_run(self, folder, force=force)
        with self.question.begin(folder, force) as run:
            files = self.question.files(run, self.labels, self.goal)
            files.add(range(len(self.success)), self)
            self.confirm(run, files)
            run.finish(self.figures)
        return Path(folder)

    def confirm(self, run: Run, files: evidence.Evidence) -> None:
        """Read back what its files claim; the figures that are of files."""
        self._written_by(run)
        asked = self.question
        method, samples, classifier = asked.method, asked.samples, asked.classifier
        files.reread(classifier, method.threat)
        self.figures |= method.report(run.folder, classifier, samples.index, self.goal, self, asked.seed)


def _few(samples: Samples) -> bool:
    """Whether their images may stay in memory."""
    return samples.in_memory and len(samples) * samples[:1].numel() <= HELD


def asked(given: Given, model: Model) -> Question:
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
    classifier = borrow_gradients(method, classifier, given.surrogate, samples)
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
        watch=given.watch,
        keep=given.keep,
    )
