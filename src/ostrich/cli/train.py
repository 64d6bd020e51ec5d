"""`ostrich train RECIPE`: a network from a recipe, resumed exactly where it stopped."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, get_type_hints

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
    from ostrich import distributed
    from ostrich.cli.session import progress, report
    from ostrich.models.loading import pick_device
    from ostrich.runs import Run
    from ostrich.training.recipe import recipe as find
    from ostrich.training.run import train_run

    chosen = changed(find(recipe), settings or [], seed, precision)
    where = pick_device(device)
    started = time.monotonic()
    with distributed.together():
        asked: dict[str, Any] = {"recipe": asdict(chosen), "data": data, "device": str(where)}
        if distributed.world() > 1:
            asked["processes"] = distributed.world()
        run = Run.begin(f"train-{recipe}", o.typed(), asked, out=out, force=force)
        with progress(f"training {recipe}", 100) as advance:
            results = train_run(chosen, data or chosen.data, run, where, advance)
        results["seconds"] = time.monotonic() - started
        run.finish(results)
        main = distributed.is_main()
    if not main:
        return
    if as_json:
        typer.echo(json.dumps(results))
    else:
        report(recipe, results, run.folder)


def changed(recipe: Any, settings: list[str], seed: int, precision: str) -> Any:
    """The recipe with what --set, --seed and --precision change."""
    from ostrich.attacks.settings import read_value
    from ostrich.errors import UnknownName

    hints = get_type_hints(type(recipe))
    simple = [f.name for f in fields(recipe) if f.name not in ("name", "mean", "std", "crops")]
    changes: dict[str, Any] = {"seed": seed, "precision": precision}
    for name, text in map(o.pair, settings):
        if name not in simple:
            raise UnknownName("setting of a recipe", name, simple)
        changes[name] = read_value(name, text, hints[name])
    return replace(recipe, **changes)
