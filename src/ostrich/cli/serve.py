"""`ostrich serve [MODEL] [DATA]`: the playground, a page on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from ostrich.cli import options as o

NAME = "serve"
PASSWORD = "OSTRICH_PASSWORD"
DEMO_MODEL, DEMO_DATA, BESIDE = "zoo:toybox-resnet20", "toybox", "zoo:toybox-robust"

Model = Annotated[str | None, typer.Argument(help="a network [default: the demo's]")]
Data = Annotated[list[str] | None, typer.Argument(metavar="DATA", help="images to pick from")]
Beside = Annotated[str | None, typer.Option(metavar="MODEL", help="another network, on the same image")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")]
Host = Annotated[str, typer.Option(help="where it can be reached from; this machine alone unless said")]
IKnow = Annotated[
    bool, typer.Option("--i-know", help=f"others may reach it, who know the password in {PASSWORD}")
]


@o.takes_options
def command(
    chosen: o.ModelOptions,
    read_as: o.DataOptions,
    model: Model = None,
    data: Data = None,
    beside: Beside = None,
    port: Port = 8000,
    host: Host = "127.0.0.1",
    i_know: IKnow = False,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    out: o.Out = None,
) -> int:
    """Open the playground: break, open and steer a network by hand, on a page of this machine."""
    from ostrich.cli.session import read
    from ostrich.errors import InputError, MissingExtra
    from ostrich.models.loading import load
    from ostrich.runtime.runs import RUNS

    try:
        from ostrich.serve.playground import Playground
        from ostrich.serve.start import is_local, serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise MissingExtra("The playground needs a server: pip install 'ostrich-vision[serve]'.") from None
    password = os.environ.get(PASSWORD)
    if not is_local(host) and not (i_know and password):
        raise InputError(f"{host}: others could reach it. Say --i-know, and set a password in {PASSWORD}.")
    if model is None:
        chosen, data, beside = replace(chosen, model=DEMO_MODEL), [DEMO_DATA], beside or BESIDE
    if not data:
        raise InputError("Give the images to pick from as DATA, for example `toybox` or `photographs`.")
    folder = Path(out) if out else unused(RUNS / "serve")
    classifier, samples = read(chosen, data, limit, seed, read_as, folder)
    networks = [classifier] if beside is None else [classifier, load(beside, device=classifier.device)]
    if networks[-1].channels != classifier.channels:
        raise InputError(
            f"{networks[-1].name} takes images of {networks[-1].channels} channels, and {classifier.name} of "
            f"{classifier.channels}: they cannot see the same image."
        )
    with suppress(KeyboardInterrupt):  # which is how it ends
        serve(
            Playground(networks, samples, folder),
            host=host,
            port=port,
            password=None if is_local(host) else password,
            ready=lambda address: typer.echo(f"The playground: {address}"),
        )
    return 0


def unused(folder: Path) -> Path:
    """A folder that is not there yet: this name, or NAME-2, NAME-3 and so on."""
    names = (folder if n == 1 else folder.with_name(f"{folder.name}-{n}") for n in count(1))
    return next(name for name in names if not name.exists())
