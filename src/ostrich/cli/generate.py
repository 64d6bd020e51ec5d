"""`ostrich generate ...`: train a generator, and ask a trained one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ostrich.cli import generate_judge, generate_use
from ostrich.cli import options as o

NAME = "generate"
app = typer.Typer(
    help="Generators: train one, sample, interpolate, look for copies of training images, measure.",
    no_args_is_help=True,
)


@app.command("train")
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="see `ostrich list recipes`")],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="folder:PATH, images:PATH, toybox, digits, cifar10[:PATH]"),
    ] = None,
    settings: o.Settings = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: o.Precision = "fast",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Train a generator; the run directory gets its weights, its card and a film of its samples.

    torchrun trains it data-parallel.
    """
    from ostrich.cli.session import console, report
    from ostrich.cli.train import changed, trained
    from ostrich.generative.recipe import recipe as find
    from ostrich.generative.run import train_run

    chosen = changed(find(recipe), settings or [], seed, precision)
    name = f"generate-train-{recipe}"
    done = trained(name, chosen, data, train_run, chosen.steps, device=device, out=out, force=force)
    if done is None:
        return
    results, folder = done
    if as_json:
        typer.echo(json.dumps(results))
        return
    for sentence in results["collapse"]:
        console.print(sentence, soft_wrap=True)
    report(recipe, {k: v for k, v in results.items() if k != "collapse"}, folder)


for command in (
    generate_use.sample,
    generate_use.interpolate,
    generate_judge.neighbours,
    generate_judge.evaluate,
):
    app.command(command.__name__)(command)
