"""What studies about a network of the user's have in common: MODEL and DATA, opened in each trial."""

from __future__ import annotations

import json
from dataclasses import dataclass

from torch import Tensor

from ostrich import data as datasets
from ostrich.data.dataset import Samples
from ostrich.data.loading import load_for
from ostrich.errors import InputError
from ostrich.inspection.watching import module_of
from ostrich.models import Classifier
from ostrich.models.cards import card_of
from ostrich.models.loading import load
from ostrich.models.options import ModelOptions
from ostrich.studies.schema import Spec


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(Spec):
    """`model` and `data` are what the command line said of the network and its images, as JSON.

    `models` are further networks that a setting names, each MODEL or MODEL@FILE.
    """

    model: str = ""
    images: int = 256

    @property
    def models(self) -> tuple[str, ...]:
        return ()


def named(words: str, device: str) -> Classifier:
    """MODEL, or MODEL@FILE with its weights. Raises InputError for what cannot be loaded."""
    model, _, weights = words.partition("@")
    return load(model, weights=weights or None, device=device)


def origin(spec: Spec) -> str | None:
    """How the weights of the study's network were trained, by the card beside them; None where none lies."""
    weights = json.loads(spec.model).get("weights") if isinstance(spec, NetworkSpec) else None
    card = card_of(weights) if weights else None
    if card is None:
        return None
    right = f"{card['test_accuracy']:.1%} of {card['test_images']:,} test images right"
    return f"trained on {card['train_images']:,} images by `{card['recipe']}`; {right}"


def opened(spec: NetworkSpec, seed: int) -> tuple[Classifier, Tensor, Tensor]:
    """The classifier, images (N, C, H, W) and labels (N,). Raises InputError for what cannot be used."""
    classifier, samples = opened_samples(spec, limit=spec.images, seed=seed)
    assert samples.labels is not None
    return classifier, samples.images().to(classifier.device), samples.labels


def opened_samples(spec: NetworkSpec, *, limit: int | None, seed: int = 0) -> tuple[Classifier, Samples]:
    """The classifier, and so many of its images with labels. Raises InputError for what cannot be used."""
    dataset = datasets.open_data(json.loads(spec.data))
    if dataset.labels is None:
        raise InputError(f"A study of a network needs labels; {dataset.name} has none.")
    classifier = ModelOptions(**json.loads(spec.model) | {"device": spec.device}).load(dataset.size)
    module_of(classifier)
    return classifier, load_for(dataset, classifier, limit=limit, seed=seed)
