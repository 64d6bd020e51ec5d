"""`ostrich visualize MODEL --unit UNIT`: images that a unit prefers; `--filters`: the first layer."""

from __future__ import annotations

from typing import Annotated

import typer

from ostrich.cli import options as o

NAME = "visualize"
Unit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="UNIT",
        help="class:ostrich, layer3:17, layer3:17@4,5, layer3:17@centre; class:* or layer3:* for all "
        "(repeatable)",
    ),
]
Objective = Annotated[
    list[str] | None,
    typer.Option(metavar="SUM", help="such as 'layer3:17 - 0.5*class:ostrich' (repeatable)"),
]
Filters = Annotated[bool, typer.Option("--filters", help="the first layer's filters")]
Preset = Annotated[str | None, typer.Option(help="lucid, plain, yosinski-1 to yosinski-4 [default: lucid]")]
Prior = Annotated[
    str | None,
    typer.Option(metavar="GENERATOR", help="draw with a trained generator, zoo:NAME or a run's folder"),
]
Seeds = Annotated[int, typer.Option(help="starts for each unit, from --seed upwards")]
Judges = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="another network to show the images to (repeatable)"),
]
Gif = Annotated[bool, typer.Option("--gif", help="the ascent as ascent.gif")]


@o.takes_options
def command(
    chosen: o.ModelOptions,
    unit: Unit = None,
    objective: Objective = None,
    filters: Filters = False,
    preset: Preset = None,
    prior: Prior = None,
    seeds: Seeds = 1,
    judges: Judges = None,
    gif: Gif = False,
    settings: o.Settings = None,
    seed: o.Seed = 0,
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show what a network's units look for. `--preset plain` climbs without regularisation: noise."""
    from ostrich.cli.session import console, echo_json
    from ostrich.errors import InputError
    from ostrich.runtime.runs import NEW, RUNS, check_writable
    from ostrich.runtime.settings import pairs
    from ostrich.verbs.visualize import as_ascent, visualize
    from ostrich.visualization import PRESET, Ascent, configure

    check_writable(out or RUNS)
    given = pairs(settings or ())
    named = given.pop("preset", preset)
    if preset and named != preset:
        raise InputError(f"Two presets are named, {preset} and {named}; one is allowed.")
    ascent: Ascent | None = None
    if not prior and (named or given):
        ascent = configure(given, named or PRESET)
    classifier = chosen.load()
    if prior:
        ascent = as_ascent(classifier, named, prior, given)
    found = visualize(
        classifier,
        unit=unit,
        objective=objective,
        filters=filters,
        preset=ascent,
        seeds=seeds,
        judges=judges,
        gif=gif,
        seed=seed,
        out=out or NEW,
        force=force,
    )
    if as_json:
        echo_json(found.figures)
        return
    for line in [*found.sentences, f"run: {found.folder}"]:
        console.print(line, soft_wrap=True)
