"""What a probe is given."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks import L2, Goal, InputSpecificAttack, Linf, Result, Threat
from ostrich.attacks import attack as run_attack
from ostrich.attacks.engine.evidence import refuse_lost_successes
from ostrich.attacks.engine.resuming import goal_facts
from ostrich.crashtest.answer import AttackOutcome, ProbeAnswer
from ostrich.crashtest.blocks import Pair
from ostrich.crashtest.outcomes import outcome
from ostrich.data.dataset import Samples
from ostrich.errors import OstrichError
from ostrich.images import fingerprints, write_png
from ostrich.models import Classifier
from ostrich.models.answers import predictions, right
from ostrich.models.steadiness import refuse_other_answers
from ostrich.runtime import events
from ostrich.runtime.deadline import in_its_own_time, time_left
from ostrich.runtime.events import Progress, silent
from ostrich.runtime.facts import MARK, digest
from ostrich.runtime.randomness import keyed
from ostrich.runtime.resumable import peek

ORDER = 41  # purpose of random numbers
FEW = 4  # images that are attacked first, at least
PART = 2  # of the images that came before, a batch is so large a part: a half
SWEEPING = ("noise", "robustness", "worst-case", "bounds")  # probes that take the budgets of gates too
NEEDS = {"worst-case": ("robustness",)}  # of a probe: those that its figure follows from
THREATS: dict[str, Callable[[float], Threat]] = {"linf": Linf, "l2": L2}


class CannotRun(OstrichError):
    """A probe has nothing to say about this network or these images; the reason goes into the report."""


def check_gradient(classifier: Classifier, why: str) -> None:
    """Refuse, by CannotRun, a network that gives no gradient; `why` is what the probe would do with it."""
    if classifier.access != "gradient":
        raise CannotRun(f"It {classifier.lacks}: {why}.")


@dataclass(kw_only=True)
class Context:
    """The network, the images and where to write; what several probes need is computed once.

    Attacks are made on `attacked`: the network, with the gradients of another one where one lends them.
    """

    classifier: Classifier
    samples: Samples
    folder: Path
    model_words: list[str]
    data_words: list[str]
    seed: int = 0
    precision: str = "fast"
    lent: Classifier | None = None  # the network with the gradients of a surrogate
    count: int | None = None  # of images that every probe takes, where that was asked for
    gates: list[str] = field(default_factory=list)  # as they were asked for
    budgets: dict[str, list[float]] = field(default_factory=dict)  # by norm: asked for by gates
    certified: dict[str, list[float]] = field(default_factory=dict)  # the same, of gates on lower bounds
    asked_for: frozenset[str] = frozenset()  # probes that were asked for by name, or by a gate
    images_of: dict[str, int] = field(default_factory=dict)  # by probe: how many images it may use
    progress: Progress = silent
    # Of so many queries for each image, how many images there is time for.
    images_within_time: Callable[[int], int] = lambda queries: 2**31
    first_batch: int = FEW
    outcomes: list[AttackOutcome] = field(default_factory=list)  # of attacks since a probe began
    saved: list[str] = field(default_factory=list)  # files since a probe began, by their paths
    faults: list[Exception] = field(default_factory=list)  # of ours, in probes
    _logits: Tensor | None = None
    _said: dict[int, Tensor] = field(default_factory=dict)  # logits (K,) by an image's fingerprint

    @property
    def attacked(self) -> Classifier:
        """The network as attacks see it."""
        return self.lent or self.classifier

    @property
    def images(self) -> Tensor:
        """All images (N, C, H, W)."""
        return self.samples.images().to(self.classifier.device)

    @property
    def logits(self) -> Tensor:
        """The network's clean logits (N, K)."""
        if self._logits is None:
            images = self.images
            self._logits = self.classifier.predict(images)
            self._said |= dict(zip(fingerprints(images), self._logits, strict=True))
        return self._logits

    @property
    def labels(self) -> Tensor:
        """The labels (N,); the clean predictions where the data has none."""
        given = self.samples.labels
        return self.predictions if given is None else given.to(self.logits.device)

    @property
    def predictions(self) -> Tensor:
        """The clean predictions (N,), NO_ANSWER where there is none."""
        return predictions(self.logits)

    @property
    def correct(self) -> Tensor:
        """Which images the network gets right, (N,) bool."""
        return right(self.predictions, self.labels)

    @property
    def clean_accuracy(self) -> float | None:
        """The share of images that it gets right; None where they have no labels."""
        if self.samples.labels is None:
            return None
        return int(self.correct.sum()) / len(self.samples)

    def restrict(self, count: int) -> None:
        """Keep so many images, in random order the first."""
        if count < len(self.samples):
            self.samples = self.samples.chosen(sorted(self.in_random_order()[:count]))
            self._logits = None

    def in_random_order(self) -> list[int]:
        """The places of all images: the first ones are a sample of all, however many they are."""
        return torch.randperm(len(self.samples), generator=keyed(self.seed, ORDER)).tolist()

    def rows(self, probe: str) -> list[int]:
        """The images a probe may use: evenly spread, so that classes stay balanced."""
        count = min(self.images_of.get(probe, len(self.samples)), len(self.samples))
        return [i * len(self.samples) // count for i in range(count)]

    def attack(self, method: InputSpecificAttack, rows: Tensor, goal: Goal) -> Result:
        """Attack some of the images, by their places; what came of it is one of the outcomes.

        Raises RandomAnswers where an image is answered otherwise than before.
        """
        result = self.attack_images(method, self.images[rows], goal)
        moved = result.clean_predictions != self.predictions[rows]
        refuse_other_answers(self.classifier, result.originals[moved], "Images are answered otherwise")
        refuse_lost_successes(self.attacked, result, goal)
        self.outcomes.append(outcome(method, rows, result))
        return result

    def without_gradient(self, rows: Tensor) -> Tensor:
        """Those of some images, by their places, on which every attack by gradients so far was useless."""
        if self.attacked.access != "gradient":
            return rows
        by_gradient = [one for one in self.outcomes if one["attack"] == "pgd"]
        seen = {row for one in by_gradient for row in one["rows"]}
        useful = {row for one in by_gradient for row in one["rows"] if row not in one["useless"]}
        return torch.tensor([row for row in rows.tolist() if row in seen - useful], dtype=rows.dtype)

    def attack_images(self, method: InputSpecificAttack, images: Tensor, goal: Goal) -> Result:
        """Attack any images (N, C, H, W); finished batches are found again after an interruption.

        Each question has a folder of its own, so that no answer is taken for another's.
        """
        asked = digest(repr(method), images, *goal_facts(goal).values()).removeprefix(MARK)
        return run_attack(
            method,
            self.attacked,
            images,
            goal,
            seed=self.seed,
            precision=self.precision,
            shards=self.folder / "shards" / f"{method.name}-{asked}",
            progress=self.progress,
        )

    def confidences(self, image: Tensor, count: int = 3) -> list[tuple[str, float]]:
        """The most probable classes of one image (C, H, W), with their probabilities."""
        (key,) = fingerprints(image[None])
        if key not in self._said:
            self.ask(image[None])
        logits = self._said[key]
        top = logits.softmax(0).topk(min(count, len(logits)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return [(self.classifier.class_name(k), p) for k, p in pairs]

    def ask(self, images: Tensor) -> None:
        """What the network says of images (n, C, H, W) that will be shown, in one go, however late it is."""
        with in_its_own_time():
            logits = self.classifier.predict(images)
        self._said |= dict(zip(fingerprints(images), logits, strict=True))

    def save(self, name: str, image: Tensor) -> str:
        """Write one image (C, H, W) under pictures/ and return the path as the report names it."""
        path = f"pictures/{name}.png"
        write_png(self.folder / path, image)
        self.saved.append(path)
        return path

    def comparison(self, name: str, original: Tensor, result: Tensor, budget: str, value: float) -> Pair:
        """A before-and-after item of the report, for one image (C, H, W)."""
        change = result - original
        largest = change.abs().max().item()
        factor = max(1.0, float(int(0.5 / largest))) if largest > 0 else 1.0
        before, after = self.confidences(original), self.confidences(result)
        return Pair(
            budget=budget,
            value=value,
            original=self.save(f"{name}-original", original),
            adversarial=self.save(f"{name}-adversarial", result),
            difference=self.save(f"{name}-difference", (0.5 + factor * change).clamp(0, 1)),
            factor=factor,
            before=list(before),
            after=list(after),
            caption=f"{before[0][0]} becomes {after[0][0]}",
        )

    def earlier(self, probe: str) -> ProbeAnswer | None:
        """What an earlier probe of this check wrote, if it is done."""
        written = peek(self.folder / "probes" / f"{probe}.json")
        answer = None if written is None else ProbeAnswer.model_validate(written)
        return answer if answer is not None and answer.done else None

    def command(self, probe: str) -> str:
        """What makes the figure of one probe alone, by what it needs: a command, or a call without one."""
        return self.typed(
            "check",
            only=",".join((*NEEDS.get(probe, ()), probe)),
            limit=self.limit(256) if self.count is None else None,
            images=self.count,
            precision=None if self.precision == "fast" else self.precision,
            fail_under=self.gates if self.gates and probe in SWEEPING else None,
        )

    def limit(self, usual: int) -> int | None:
        """What `--limit` says so that a command takes these images, None where the `usual` number does."""
        return len(self.samples) if len(self.samples) != usual and events.command() is not None else None

    def typed(self, verb: str, *names: str, **options: Any) -> str:
        """A command on this network and these images, or a call where there is none; None is left out.

        `settings` are those of a technique, by name. An option that is a list is said again for each.
        """
        said = {name: value for name, value in options.items() if value is not None}
        settings: dict[str, Any] = said.pop("settings", {})
        if verb == "check" and self.lent is not None and self.lent.surrogate is not None:
            said["surrogate"] = self.lent.surrogate.words[0]
        if self.seed:
            said["seed"] = self.seed
        if events.command() is None:
            given = [f"{name}={value!r}" for name, value in {**settings, **said}.items()]
            return f"ostrich.{verb}({', '.join([*map(repr, names), 'model', 'data', *given])})"
        words = ["ostrich", verb, *names, *self.model_words, *self.data_words]
        words += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        for name, value in said.items():
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(one)]
        return shlex.join(words)


def growing(rows: Tensor, first: int) -> Iterator[Tensor]:
    """Some places (n,) in batches: the `first` ones, then ever more at once.

    So there is an answer after few, and a batch for which there is no time is a part of all before it. Where
    the time has no end they are one batch.
    """
    start, endless = 0, time_left() == math.inf
    while start < len(rows):
        stop = len(rows) if endless else start + max(first, start // PART)
        yield rows[start:stop]
        start = stop


def sweep(context: Context, norm: str) -> list[float]:
    """The budgets of a curve, smallest first, with those that gates ask for.

    Linf: 1 to 16 levels of 255. L2: as if every value changed by half a level to four levels,
    eps = levels / 255 * sqrt(values), so that photographs and thumbnails are treated alike.
    """
    values = context.images[0].numel()
    if norm == "linf":
        usual = [level / 255 for level in (1, 2, 4, 8, 16)]
    else:
        usual = [float(f"{level / 255 * values**0.5:.2g}") for level in (0.5, 1, 2, 4)]
    asked = [eps for eps in context.budgets.get(norm, []) if eps > 0] + context.certified.get(norm, [])
    return sorted({*usual, *asked})


def robust_name(norm: str, eps: float) -> str:
    """What the robust accuracy at a budget is called, wherever it is listed."""
    return f"robust accuracy at {norm} {budget_text(norm, eps)}"


def certified_name(norm: str, eps: float) -> str:
    """What the certified accuracy at a budget, a lower bound of the robust one, is called."""
    return f"certified accuracy at {norm} {budget_text(norm, eps)}"


def budget_text(norm: str, eps: float) -> str:
    """A budget as people write it: 8/255, or 0.5."""
    levels = eps * 255
    if norm == "linf" and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{eps:.4g}"


def indices(mask: Tensor) -> Tensor:
    """The places where a mask (N,) is true."""
    return torch.nonzero(mask)[:, 0]
