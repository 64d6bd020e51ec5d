"""`ostrich.generate.neighbours` and `evaluate`: has it memorised, and how far is it from real images?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ostrich.errors import InputError
from ostrich.figures.clips import is_clip
from ostrich.generative import memorisation
from ostrich.generative.evaluation import evaluate as measured
from ostrich.generative.generator import Generator
from ostrich.generative.references import Data, feature_network, held_out_images, training_images
from ostrich.models import Classifier, load
from ostrich.runtime.runs import Run
from ostrich.verbs.generate.asking import Answer, Question, as_generator, facts_of
from ostrich.verbs.inputs import Images, as_training_data
from ostrich.verbs.outcome import Where, answer

IMAGES, CLIPS = 2000, 256  # samples that are measured


class NeighboursResult(Answer):
    """Samples `images` (N, C, H, W) in [0, 1], their nearest training images, and the verdict.

    `neighbours` has them in each space of distances; `sentences` say what follows.
    """

    def __init__(self, question: Question, check: memorisation.MemorisationCheck) -> None:
        super().__init__(question, check.figures)
        self.images, self.neighbours, self.sentences = check.images, check.neighbours, check.sentences
        self._check = check

    @property
    def headline(self) -> tuple[str, ...]:
        return ("n", "training", "held_out", "memorised")

    def write(self, run: Run) -> None:
        self._check.write(run.folder)

    @property
    def shown(self) -> Tensor:
        return self._check.sheet


class EvaluationResult(Answer):
    """Distances of samples from held-out images beside their floor and ceilings, in `figures`."""

    @property
    def headline(self) -> tuple[str, ...]:
        return ("samples", "features", "frechet_distance", "floor_two_halves_of_real", "ceiling_mean_image")

    def write(self, run: Run) -> None:
        """There is nothing beside run.json."""


def neighbours(
    generator: str | Path | Generator,
    data: Images | None = None,
    *,
    count: int = 256,
    features: str | Classifier | None = None,
    seed: int = 0,
    device: str = "auto",
    out: Where = None,
    force: bool = False,
) -> NeighboursResult:
    """Samples' nearest training images, in pixels and in features, and whether the generator memorised.

    `count` samples are looked at. `data` is the training data, by default what the generator's card says;
    `features` the classifier whose features are compared, by default the card's. The rule of the verdict is
    that of `ostrich.generative.neighbours`. Raises InputError, UnknownName.
    """
    if count < 1:
        raise InputError(f"--count is at least 1; got {count}.")
    made_by = as_generator(generator, device)
    network = feature_network(made_by, features, device)
    given = _as_data(data)
    training, held_out = training_images(made_by, given), held_out_images(made_by, given)
    memorisation.check_enough(training, held_out)
    asked = {"n": count, **_named(given), "features": network.name}
    facts = facts_of(training.name, len(training), training.sha256)

    def compute(question: Question) -> NeighboursResult:
        images = made_by.sample(range(count), seed=seed)[0]
        mirrored = made_by.card.get("flip", True)  # cards did not say it
        check = memorisation.check_memorisation(images, training, held_out, network, mirrored=mirrored)
        return NeighboursResult(question, check)

    question = Question("neighbours", made_by, asked, seed, compute, facts)
    found: NeighboursResult = answer(question, out, force)
    return found


def evaluate(
    generator: str | Path | Generator,
    data: Images | None = None,
    *,
    count: int | None = None,
    features: str | Classifier | None = None,
    judge: str | Classifier | None = None,
    seed: int = 0,
    device: str = "auto",
    out: Where = None,
    force: bool = False,
) -> EvaluationResult:
    """Measure samples of `generator` against held-out images in the features of a named classifier.

    Only in those of "inception" is the distance FID. `data` and `features` as for `neighbours`; `count` is
    the number of samples, by default 2000 images or 256 clips. `judge` is another classifier, which says of
    which class conditional samples are. Raises InputError, UnknownName.
    """
    made_by = as_generator(generator, device)
    network = feature_network(made_by, features, device)
    other = judge if judge is None or isinstance(judge, Classifier) else load(judge, device=device)
    if other is not None and made_by.class_names is None:
        raise InputError(f"{made_by.name} is not conditional: there is no class asked for, so no --judge.")
    given = _as_data(data)
    held_out = held_out_images(made_by, given)
    samples = count if count is not None else CLIPS if is_clip(made_by.shape) else IMAGES
    judged_by = None if other is None else judge if isinstance(judge, str) else other.name
    asked = {"n": samples, **_named(given), "features": network.name, "judge": judged_by}
    facts = facts_of(held_out.name, len(held_out), held_out.sha256)

    def compute(question: Question) -> EvaluationResult:
        figures = measured(made_by, held_out, network, judge=other, samples=samples, seed=seed)
        return EvaluationResult(question, figures)

    found: EvaluationResult = answer(Question("evaluate", made_by, asked, seed, compute, facts), out, force)
    return found


def _as_data(data: Images | None) -> Data:
    return None if data is None else as_training_data(data)


def _named(data: Data) -> Mapping[str, Any]:
    """How run.json names the data that was given."""
    return {"data": data} if data is None or isinstance(data, str) else {"data": data.name}
