"""`ostrich certify MODEL DATA`: lower bounds of robust accuracy, image by image."""

from __future__ import annotations

from typing import Annotated

import typer

from ostrich.cli import options as o

NAME = "certify"
MethodName = Annotated[
    str, typer.Option("--method", help="linear, intervals, or smoothing (of its smoothed form)")
]


@o.takes_options
def command(
    chosen: o.ModelOptions,
    read_as: o.DataOptions,
    data: o.DataArgument,
    method: MethodName = "linear",
    settings: o.Settings = None,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    on: o.On = "local",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Find the images that no change within a budget can mislead a network on."""
    from ostrich.certification import find
    from ostrich.cli.session import computing, console, echo_json, read
    from ostrich.runtime import settings as reading
    from ostrich.runtime.runs import NEW
    from ostrich.verbs.certify import certify

    kind = find(method)
    values = reading.read(kind, reading.pairs(settings or ()), method)
    classifier, samples = read(chosen, data, limit, seed, read_as, out)
    with computing(on):
        found = certify(classifier, samples, method=kind(**values), seed=seed, out=out or NEW, force=force)
    figures = found.figures
    if as_json:
        echo_json(figures)
        return
    console.print(figures["sentence"], style="bold", soft_wrap=True)
    console.print(f"run: {found.folder}", soft_wrap=True)
