"""`ostrich train RECIPE`: a network from a recipe, resumed exactly where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ostrich.cli import options as o

NAME = "train"


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="see `ostrich list recipes`")],
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
    from ostrich.cli.session import report
    from ostrich.training.recipe import recipe as find
    from ostrich.training.run import train_run

    chosen = changed(find(recipe), settings or [], seed, precision)
    done = trained(f"train-{recipe}", chosen, data, train_run, 100, device=device, out=out, force=force)
    if done is None:
        return
    results, folder = done
    if as_json:
        typer.echo(json.dumps(results))
    else:
        report(recipe, results, folder)


def trained(
    name: str,
    recipe: Any,
    data: str | None,
    train_run: Callable[..., dict[str, Any]],
    total: int,
    *,
    device: str,
    out: Path | None,
    force: bool,
) -> tuple[dict[str, Any], Path] | None:
    """Train by a recipe in a run directory, on several processes under torchrun: results and the folder.

    None in every process but the one that writes. `total` is what `train_run` counts its progress to.
    """
    from ostrich.models.loading import pick_device
    from ostrich.runtime import distributed
    from ostrich.runtime.events import command as typed
    from ostrich.runtime.events import progress
    from ostrich.runtime.runs import Run
    from ostrich.runtime.stopwatch import stopwatch

    where = pick_device(device)
    with distributed.process_group():
        asked: dict[str, Any] = {"recipe": asdict(recipe), "data": data, "device": str(where)}
        if distributed.world() > 1:
            asked["processes"] = distributed.world()
        with Run.begin(name, typed() or "", asked, out=out, force=force) as run, stopwatch() as spent:
            with progress(f"training {recipe.name}", total) as advance:
                results = train_run(recipe, data or recipe.data, run, where, advance)
            results["seconds"] = spent.seconds
            run.finish(results)
        return (results, run.folder) if distributed.is_main() else None


def changed(recipe: Any, settings: list[str], seed: int, precision: str) -> Any:
    """The recipe with what --set, --seed and --precision change."""
    from ostrich.runtime.settings import pairs, read

    changes = read(type(recipe), pairs(settings), "a recipe", hidden=("name",))
    return replace(recipe, **{"seed": seed, "precision": precision, **changes})
