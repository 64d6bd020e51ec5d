"""Generators: samples, sliders along the ways that change most, a walk between two codes, what is nearest."""

from __future__ import annotations

import base64
from functools import cache
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ostrich.data.dataset import Samples
from ostrich.data.training_data import open_split
from ostrich.errors import InputError
from ostrich.generative import Generator
from ostrich.generative.directions import principal_directions
from ostrich.generative.generator import known_generators, load_generator
from ostrich.generative.neighbours import nearest
from ostrich.images import as_gif, rounded
from ostrich.serve.jobs.asked import Asked, Name
from ostrich.serve.playground import Playground, png, seen_at
from ostrich.serve.worker import Job

DIRECTIONS, NEAREST = 6, 4
COMPARED = 1000  # training images at most: they are rendered, at some milliseconds each
MILLISECONDS = 80  # of a clip's frame
Along = Annotated[list[Annotated[float, Field(ge=-8, le=8)]], Field(max_length=DIRECTIONS)]
Seed = Annotated[int, Field(ge=0, le=10**6)]


class OfGenerator(Asked):
    """A wish about a bundled generator, of all its classes or one."""

    generator: Name
    asked_class: Name | None = None
    seed: Seed = 0


class Sample(OfGenerator):
    """Samples of a bundled generator."""

    count: Annotated[int, Field(ge=1, le=36)] = 12


class Walk(OfGenerator):
    """The way from one numbered sample to another."""

    start: Seed
    end: Seed
    steps: Annotated[int, Field(ge=2, le=24)] = 9


class Nearest(OfGenerator):
    """The training images that are nearest to a sample, moved along principal directions."""

    number: Seed
    along: Along = []


class Steer(OfGenerator):
    """A sample moved along principal directions."""

    number: Seed
    along: Along = []


def sample(_playground: Playground, asked: Sample, job: Job) -> None:
    """The samples' pictures, clips as loops, and what the generator is."""
    generator = _loaded(asked.generator)
    classes = _classes(generator, asked.asked_class)
    images, labels = generator.sample(range(asked.count), seed=asked.seed, classes=classes)
    names = generator.class_names
    job.emit(
        "samples",
        generator=asked.generator,
        classes=list(names or ()),
        pictures=[_shown(image) for image in images],
        names=[] if names is None or labels is None else [names[k] for k in labels.tolist()],
        clips=images.ndim == 5,
    )


def walk(_playground: Playground, asked: Walk, job: Job) -> None:
    """The pictures on the way, its ends included."""
    generator = _loaded(asked.generator)
    start, end = (generator.codes.numbered(range(n, n + 1), asked.seed) for n in (asked.start, asked.end))
    codes = generator.codes.between(start, end, asked.steps)[:, 0]
    images = generator(codes, _repeated(generator, asked.asked_class, asked.steps))
    job.emit("walk", pictures=[_shown(image) for image in images])


def steer(playground: Playground, asked: Steer, job: Job) -> None:
    """The picture, and what the networks see in it."""
    image = _steered(asked)
    job.emit("steered", picture=_shown(image[0]), directions=DIRECTIONS, **_seen(playground, image))


def nearest_images(_playground: Playground, asked: Nearest, job: Job) -> None:
    """The nearest of the first training images, and of how many of all."""
    generator, image = _loaded(asked.generator), _steered(asked)
    card = generator.card
    count = min(COMPARED, card["limit"])
    job.emit("said", sentence=f"Fetching the first {count} of {card['limit']} training images.")
    training = _training(asked.generator, count)
    distances, rows = nearest(rounded(image).flatten(1), training.images().flatten(1), NEAREST)
    job.emit(
        "nearest",
        of=count,
        all=card["limit"],
        rows=[
            {"name": training.files[row], "picture": _shown(training[row : row + 1][0]), "distance": distance}
            for row, distance in zip(rows[0].tolist(), distances[0].tolist(), strict=True)
        ],
    )


def _steered(asked: Steer | Nearest) -> Tensor:
    """The image (1, C, H, W), or clip, that is asked for."""
    generator = _loaded(asked.generator)
    code = generator.codes.numbered(range(asked.number, asked.number + 1), asked.seed)
    if any(asked.along):
        directions = _directions(asked.generator)[: len(asked.along)]
        code = generator.codes.clipped(code + torch.tensor(asked.along) @ directions)
    return generator(code, _repeated(generator, asked.asked_class, 1))


def _seen(playground: Playground, image: Tensor) -> dict[str, Any]:
    """Bars, where the picture has as many channels as the networks take; brought to their size."""
    first = image[:, :, 0] if image.ndim == 5 else image
    if first.shape[1] != playground.classifier.channels:
        return {"networks": []}
    first = seen_at(playground.classifier, first)
    return {"made": playground.keep(first, "m"), "networks": playground.bars(rounded(first))}


@cache
def _training(name: str, count: int) -> Samples:
    """The first training images of a generator, at its size."""
    generator = _loaded(name)
    return open_split(
        generator.card["data"], "train", generator.shape, limit=count, seed=generator.card["seed"]
    )


@cache
def _loaded(name: str) -> Generator:
    """A bundled generator: no path of a page is opened. Raises InputError."""
    known = [row["name"] for row in known_generators()]
    if name not in known:
        raise InputError(f"The generators here are {', '.join(known)}.")
    return load_generator(name)


@cache
def _directions(name: str) -> Tensor:
    return principal_directions(_loaded(name), DIRECTIONS)


def _classes(generator: Generator, name: str | None) -> list[int] | None:
    if name is None or generator.class_names is None:
        return None
    return [generator.class_index(name)]


def _repeated(generator: Generator, name: str | None, count: int) -> Tensor | None:
    """A class for each of so many codes; the first where none is asked for."""
    if generator.class_names is None:
        return None
    return torch.full((count,), 0 if name is None else generator.class_index(name))


def _shown(image: Tensor) -> str:
    """An image, or a clip (C, T, H, W) as an endless GIF, as a data: address."""
    if image.ndim == 3:
        return png(rounded(image))
    return "data:image/gif;base64," + base64.b64encode(as_gif(image.unbind(1), MILLISECONDS)).decode()
