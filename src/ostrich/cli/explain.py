"""`ostrich explain NAME MODEL DATA`: which pixels move a unit, as raw maps and as pictures; or `sheet`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ostrich.cli import options as o
from ostrich.cli.completion import completing

NAME = "explain"
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="see `ostrich list explainers`, or sheet",
        autocompletion=completing("explainers"),
    ),
]
Unit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="UNIT",
        help="class:ostrich, layer3:17, 'class:a - class:b' [default: predicted class]",
    ),
]
Sanity = Annotated[bool, typer.Option("--sanity", help="check the method on this network and these images")]
Limit = Annotated[
    int | None,
    typer.Option(help="images: a seeded, class-balanced choice [default: 16; for sheet 256]"),
]


@o.takes_options
def command(
    name: Name,
    chosen: o.ModelOptions,
    read_as: o.DataOptions,
    data: o.DataArgument,
    unit: Unit = None,
    settings: o.Settings = None,
    sanity: Sanity = False,
    limit: Limit = None,
    seed: o.Seed = 0,
    on: o.On = "local",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show which pixels of an image move a unit: a class, a channel, a neuron. `sheet`: all about a unit."""
    from ostrich.cli.session import computing, console, echo_json, read
    from ostrich.runtime.runs import NEW
    from ostrich.runtime.settings import pairs
    from ostrich.verbs.explain import Explanation, as_explainer, explain
    from ostrich.verbs.explain.sheets import NAME as SHEET
    from ostrich.verbs.explain.sheets import sheet_settings

    own: dict[str, Any] = {}
    method: Any = name
    if name == SHEET:
        own["preset"], own["top"] = sheet_settings(pairs(settings or ()))
    else:
        method = as_explainer(name, pairs(settings or ()))
    most = 256 if name == SHEET else 16
    classifier, samples = read(chosen, data, most if limit is None else limit, seed, read_as, out)
    with computing(on):
        found = explain(
            method,
            classifier,
            samples,
            unit=unit,
            sanity=sanity,
            seed=seed,
            out=out or NEW,
            force=force,
            **own,
        )
    if as_json:
        echo_json(found.figures)
        return
    lines = found.sentences
    if isinstance(found, Explanation):
        count = len(found.figures["explanations"])
        lines = [
            f"{name}: {count} maps of {found.figures['n']} images.",
            *lines,
            f"sheet: {found.folder}/sheet.png",
        ]
    for line in [*lines, f"run: {found.folder}"]:
        console.print(line, soft_wrap=True)
