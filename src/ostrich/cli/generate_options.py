"""What the commands on a trained generator have in common: its name, its data, its run directory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ostrich.data.pictures import Pictures
    from ostrich.generative import Generator
    from ostrich.models import Classifier
    from ostrich.runtime.runs import Run

GeneratorArgument = Annotated[
    str, typer.Argument(metavar="GENERATOR", help="zoo:NAME, or the folder of an `ostrich generate train`")
]
Truncation = Annotated[
    float | None, typer.Option(help="redraw every number of a normal code beyond this (0.5: typical samples)")
]
Data = Annotated[
    str | None, typer.Option(metavar="DATA", help="the training data [default: as the generator's card says]")
]
Features = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="the classifier whose features are compared; inception or inception:FILE for FID",
    ),
]


def begun(
    name: str,
    generator: Generator,
    asked: Mapping[str, Any],
    seed: int,
    out: Path | None,
    force: bool,
    data: Mapping[str, Any] | None = None,
) -> AbstractContextManager[Run]:
    """The run directory of a command on a generator; an unexpected exception is told where it lies."""
    from ostrich.cli.session import kept

    whole = {"generator": generator.name, "card": generator.card, "seed": seed, **asked}
    name = f"generate-{name}"
    return kept(name, generator.name, whole, generator.device, data=data, seed=seed, out=out, force=force)


def its_pictures(generator: Generator, data: str | None) -> tuple[Pictures, Pictures]:
    """The images that the generator was trained on, and held-out ones."""
    from ostrich.data.pictures import pictures

    card = generator.card
    name, limit, seed = data or card["data"], card["limit"], card["seed"]
    return pictures(name, "train", generator.shape, limit=limit, seed=seed), its_held_out(generator, data)


def its_held_out(generator: Generator, data: str | None) -> Pictures:
    """Images that the generator was not trained on."""
    from ostrich.data.pictures import pictures

    card = generator.card
    return pictures(data or card["data"], "test", generator.shape, seed=card["seed"])


def its_network(generator: Generator, features: str | None, device: str) -> Classifier:
    """The classifier whose features are compared. Raises InputError where none is named."""
    from ostrich.errors import InputError
    from ostrich.generative import inception
    from ostrich.models import load
    from ostrich.models.loading import pick_device

    name = features or generator.card["judge"]
    if name is None:
        raise InputError("Name the classifier whose features are compared: --features MODEL.")
    kind, _, weights = name.partition(":")
    if kind == inception.NAME:
        return inception.inception(weights or None, str(pick_device(device)))
    return load(name, device=device)
