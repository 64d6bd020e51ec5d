"""`ostrich study NAME`: a published experiment, rerun; with MODEL DATA on a network of yours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ostrich.cli import options as o
from ostrich.cli.completion import completing

NAME = "study"


@o.takes_options
def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="see `ostrich list studies`", autocompletion=completing("studies")
        ),
    ],
    network: o.ModelOptions,
    read_as: o.DataOptions,
    model: Annotated[str | None, typer.Argument(metavar="[MODEL", help="of a study about a network")] = None,
    images: Annotated[list[str] | None, typer.Argument(metavar="DATA]", help="its images")] = None,
    scale: Annotated[str, typer.Option(help="smoke, cpu, hours, gpu or paper")] = "cpu",
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="other training data, such as cifar10:PATH")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda [default: the scale's]")] = None,
    seeds: Annotated[int | None, typer.Option(help="how many [default: the scale's]")] = None,
    settings: o.Settings = None,
    executor: Annotated[
        str,
        typer.Option(help="inprocess, local (processes of one thread), ray, or auto: local but for smoke"),
    ] = "auto",
    workers: Annotated[int | None, typer.Option(help="of local, ray [default: one for each core]")] = None,
    rows: Annotated[
        Path | None, typer.Option(metavar="FILE", help="rows of trials that are done, of docs/studies/rows")
    ] = None,
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Rerun a published experiment: report, figure, table, verdict. The same command resumes it."""
    from ostrich.cli.session import console, echo_json
    from ostrich.errors import InputError
    from ostrich.runtime.runs import NEW
    from ostrich.runtime.settings import pairs
    from ostrich.studies import find
    from ostrich.verbs.study import as_spec, rerun

    study = find(name)
    if study.takes_model and data is not None:
        raise InputError(f"{name} takes its images as an argument: MODEL DATA, not --data.")
    if read_as.words() and not images:
        raise InputError(f"{' '.join(read_as.words())} is about the DATA of a study that takes MODEL DATA.")
    spec = as_spec(
        study,
        scale,
        model=None if network.words() == [""] else network,
        data=[*images, *read_as.words()] if images and study.takes_model else data,
        device=device,
        seeds=seeds,
        changes=pairs(settings or []),
    )
    found = rerun(
        study, scale, spec, executor=executor, workers=workers, rows=rows, out=out or NEW, force=force
    )
    if as_json:
        echo_json(found.figures)
    else:
        console.print(study.question, style="bold", soft_wrap=True)
        console.print(f"{found.verdict or 'not judged'}: {found.because}", soft_wrap=True)
        for one in found.trials.failed:
            console.print(f"failed: {json.dumps(one['trial'])}: {one['error']}", soft_wrap=True)
        console.print(f"report: {found.report}", soft_wrap=True)
    if found.trials.failed:
        raise typer.Exit(1)
