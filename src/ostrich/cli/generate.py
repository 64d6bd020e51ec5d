"""`ostrich generate ...`: train a generator, and ask a trained one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostrich.cli import options as o
from ostrich.cli.completion import completing

if TYPE_CHECKING:
    from ostrich.verbs.outcome import Outcome

NAME = "generate"
app = typer.Typer(
    help="Generators: train one, sample, interpolate, look for copies of training images, measure.",
    no_args_is_help=True,
)
GeneratorArgument = Annotated[
    str,
    typer.Argument(
        metavar="GENERATOR",
        help="zoo:NAME, or the folder of an `ostrich generate train`",
        autocompletion=completing("generators"),
    ),
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


@app.command("train")
@o.takes_options
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="see `ostrich list recipes`", autocompletion=completing("games")
        ),
    ],
    read_as: o.DataOptions,
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
    from ostrich.runtime import distributed
    from ostrich.runtime.runs import NEW
    from ostrich.runtime.settings import pairs
    from ostrich.verbs import generate
    from ostrich.verbs.generate.training import as_recipe

    chosen = as_recipe(recipe, {"seed": seed, "precision": precision, **pairs(settings or [])})
    with distributed.process_group():
        data = read_as.behind(data or chosen.data) if read_as.words() else data
        found = generate.train(chosen, data, device=device, out=out or NEW, force=force)
        if distributed.is_main():
            _show(found, as_json, found.figures["collapse"], hidden=("collapse",))


@app.command("sample")
def sample(
    generator: GeneratorArgument,
    count: Annotated[int, typer.Option(help="samples")] = 64,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="only this class (repeatable) [default: all in turn]")
    ] = None,
    truncation: Truncation = None,
    codes: Annotated[Path | None, typer.Option(help="codes (N, Z) of your own, a .npy file")] = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    on: o.On = "local",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Draw samples: a PNG each, their grid, and their codes as codes.npy; clips as GIF, MP4 and streams."""
    from ostrich.cli.session import computing
    from ostrich.runtime.runs import NEW
    from ostrich.verbs import generate

    with computing(on):
        found = generate.sample(
            generator,
            count,
            classes=classes,
            truncation=truncation,
            codes=codes,
            seed=seed,
            device=device,
            out=out or NEW,
            force=force,
        )
    _show(found, as_json, hidden=("files",))


@app.command("interpolate")
def interpolate(
    generator: GeneratorArgument,
    rows: Annotated[int, typer.Option(help="ways, each of its own codes")] = 6,
    steps: Annotated[int, typer.Option(help="images of each way, its ends included")] = 9,
    start: Annotated[str | None, typer.Option("--from", metavar="CLASS", help="go from this class")] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="CLASS", help="to this one, by a fixed code")
    ] = None,
    truncation: Truncation = None,
    gif: Annotated[
        bool, typer.Option("--gif", help="the ways there and back as interpolation.gif; clips play, always")
    ] = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Walk between codes, straight if uniform, on the great circle if normal; or between classes."""
    from ostrich.runtime.runs import NEW
    from ostrich.verbs import generate

    found = generate.interpolate(
        generator,
        rows,
        steps,
        start=start,
        end=end,
        truncation=truncation,
        gif=gif,
        seed=seed,
        device=device,
        out=out or NEW,
        force=force,
    )
    _show(found, as_json)


@app.command("neighbours")
def neighbours(
    generator: GeneratorArgument,
    data: Data = None,
    count: Annotated[int, typer.Option(help="samples")] = 256,
    features: Features = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    on: o.On = "local",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show samples' nearest training images, in pixels and in features, and whether it memorised."""
    from ostrich.cli.session import computing, console, echo_json
    from ostrich.runtime.runs import NEW
    from ostrich.verbs import generate

    with computing(on):
        found = generate.neighbours(
            generator,
            data,
            count=count,
            features=features,
            seed=seed,
            device=device,
            out=out or NEW,
            force=force,
        )
    if as_json:
        echo_json(found.figures)
        return
    for sentence in (*found.sentences, f"run: {found.folder}"):
        console.print(sentence, soft_wrap=True)


@app.command("evaluate")
def evaluate(
    generator: GeneratorArgument,
    data: Data = None,
    count: Annotated[
        int | None, typer.Option(help="samples [default: 2000 images or 256 clips]", show_default=False)
    ] = None,
    features: Features = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="another classifier, to say of which class conditional samples are"
        ),
    ] = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    on: o.On = "local",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Measure samples against held-out images in the features of a named classifier.

    Only in those of inception is the distance FID.
    """
    from ostrich.cli.session import computing
    from ostrich.runtime.runs import NEW
    from ostrich.verbs import generate

    with computing(on):
        found = generate.evaluate(
            generator,
            data,
            count=count,
            features=features,
            judge=judge,
            seed=seed,
            device=device,
            out=out or NEW,
            force=force,
        )
    _show(found, as_json, found.figures["warnings"], hidden=("warnings",))


def _show(
    found: Outcome, as_json: bool, sentences: Sequence[str] = (), hidden: Sequence[str] = ("files",)
) -> None:
    """The figures as a table but for those hidden in it, and sentences; or all as JSON."""
    from ostrich.cli.session import console, echo_json, report

    if as_json:
        echo_json(found.figures)
        return
    shown = {name: value for name, value in found.figures.items() if name not in hidden}
    report(found.name, shown, found.folder)
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)
