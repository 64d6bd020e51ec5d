"""`ostrich train RECIPE`: a network from a recipe, resumed exactly where it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from ostrich.cli import options as o
from ostrich.cli.completion import completing

NAME = "train"


@o.takes_options
def command(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="see `ostrich list recipes`", autocompletion=completing("recipes")
        ),
    ],
    read_as: o.DataOptions,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="where the recipe's data lies")] = None,
    settings: o.Settings = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: o.Precision = "fast",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Train a network; the run directory gets its weights and its card. torchrun trains it data-parallel."""
    from ostrich.cli.session import show
    from ostrich.runtime import distributed
    from ostrich.runtime.runs import NEW
    from ostrich.runtime.settings import pairs
    from ostrich.verbs.train import as_recipe, train

    chosen = as_recipe(recipe, {"seed": seed, "precision": precision, **pairs(settings or [])})
    with distributed.process_group():
        data = read_as.behind(data or chosen.data) if read_as.words() else data
        found = train(chosen, data, device=device, out=out or NEW, force=force)
        if distributed.is_main():
            show(found, as_json)
