"""What a generator is measured by: its training images, held-out ones, and a network's features."""

from __future__ import annotations

from ostrich.data.dataset import Samples
from ostrich.data.training_data import open_split
from ostrich.errors import InputError
from ostrich.generative import inception
from ostrich.generative.generator import Generator
from ostrich.models import Classifier, load
from ostrich.models.loading import pick_device

GIVEN = "images"  # what `Samples.of` calls images that were given in Python
NAME_THEM = "name the images: --data DATA, in Python data="
Data = str | Samples | None  # None: the data that the generator's card names


def training_images(generator: Generator, data: Data = None) -> Samples:
    """The images that the generator was trained on."""
    card = generator.card
    return open_split(
        _named(generator, data), "train", generator.shape, limit=card.get("limit"), seed=card.get("seed", 0)
    )


def held_out_images(generator: Generator, data: Data = None) -> Samples:
    """Images that the generator was not trained on."""
    return open_split(_named(generator, data), "test", generator.shape, seed=generator.card.get("seed", 0))


def feature_network(generator: Generator, features: str | Classifier | None, device: str) -> Classifier:
    """The classifier whose features are compared, by default the card's. Raises InputError for none."""
    name = features or generator.card.get("judge")
    if name is None:
        raise InputError(
            "Name the classifier whose features are compared: --features MODEL, in Python features=."
        )
    if isinstance(name, Classifier):
        return name
    kind, _, weights = name.partition(":")
    if kind == inception.NAME:
        return inception.inception(weights or None, str(pick_device(device)))
    return load(name, device=device)


def _named(generator: Generator, data: Data) -> str | Samples:
    if data is not None:
        return data
    named: str | None = generator.card.get("data")
    if named is None:
        raise InputError(f"{generator.name} has no card that says what it was trained on; {NAME_THEM}.")
    if named == GIVEN:
        raise InputError(f"{generator.name} was trained on images given in Python; {NAME_THEM}.")
    return named
