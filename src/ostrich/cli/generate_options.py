"""What the commands on a trained generator have in common: its name, its data, its run directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostrich.cli import options as o

if TYPE_CHECKING:
    from ostrich.data.pictures import Pictures
    from ostrich.generative import Generator
    from ostrich.models import Classifier
    from ostrich.runs import Run

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
    str | None, typer.Option(metavar="MODEL", help="the classifier whose features are compared")
]


@contextmanager
def begun(
    name: str,
    generator: Generator,
    asked: Mapping[str, Any],
    seed: int,
    out: Path | None,
    force: bool,
    data: Mapping[str, Any] | None = None,
) -> Iterator[Run]:
    """The run directory of a command on a generator; an unexpected exception is told where it lies."""
    from ostrich.runs import Run

    whole = {"generator": generator.name, "card": generator.card, "seed": seed, **asked}
    plain = "".join(c if c.isalnum() else "-" for c in Path(generator.name).name)[:40].strip("-")
    run = Run.begin(f"generate-{name}-{plain}", o.typed(), whole, out=out, force=force)
    run.describe(seed=seed, device=generator.device, data=data)
    try:
        yield run
    except Exception as error:
        error.run_folder = run.folder  # type: ignore[attr-defined]
        raise


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
    from ostrich.models import load

    name = features or generator.card["judge"]
    if name is None:
        raise InputError("Name the classifier whose features are compared: --features MODEL.")
    return load(name, device=device)
