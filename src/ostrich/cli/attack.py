"""`ostrich attack NAME MODEL DATA`: one attack, its images on disk, its figures in run.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ostrich.cli import options as o
from ostrich.cli.completion import completing

NAME = "attack"
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="see `ostrich list attacks`, or FILE.py:CLASS, your own",
        autocompletion=completing("attacks"),
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA", help="as for `check`; none for fooling-*", autocompletion=completing("data")
    ),
]
Target = Annotated[str | None, typer.Option(metavar="CLASS|random|least-likely")]
Artefact = Annotated[Path | None, typer.Option(help="apply this fitted image-agnostic attack")]
Also = Annotated[
    list[str] | None, typer.Option(metavar="MODEL", help="judge the artefact there too (repeatable)")
]
Surrogate = Annotated[
    str | None, typer.Option(metavar="MODEL", help="whose gradients are followed; success is MODEL's own")
]


@o.takes_options
def command(
    name: Name,
    chosen: o.ModelOptions,
    read_as: o.DataOptions,
    data: Data = None,
    settings: o.Settings = None,
    target: Target = None,
    artefact: Artefact = None,
    also: Also = None,
    surrogate: Surrogate = None,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    precision: o.Precision = "fast",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Attack the images a network gets right, and keep each success as a file that proves it."""
    from ostrich.attacks import CamouflageAttack, find
    from ostrich.attacks.engine.settings import configure_eot, read_settings
    from ostrich.cli.session import read, show
    from ostrich.data.spec import opened
    from ostrich.errors import InputError
    from ostrich.runtime.runs import NEW
    from ostrich.runtime.settings import pairs
    from ostrich.verbs.attack import attack
    from ostrich.verbs.attack_inputs import starts_from_noise, with_settings

    kind = find(name)
    eot, own = configure_eot(pairs(settings or ()))
    noise = starts_from_noise(kind)
    values = read_settings(kind, own, {"confidence": float} if noise else None)
    method: Any = kind
    if artefact is None:  # which has its settings; and an attack may have one that is called as an option is
        rest = {name: values.pop(name) for name in ("confidence",) if noise and name in values}
        method, values = with_settings(kind, values), rest
    model: Any = chosen
    images: Any = data or None
    if images is None and read_as.words():
        raise InputError(f"{' '.join(read_as.words())} is about DATA, and none is given.")
    if issubclass(kind, CamouflageAttack):
        model = chosen.detector()
        images = None if images is None else opened(images, read_as)
    elif noise or images is None:
        model = chosen.load()
    else:
        model, images = read(chosen, images, limit, seed, read_as, out)
    found = attack(
        method,
        model,
        images,
        target=target,
        artefact=artefact,
        also=also or (),
        surrogate=surrogate,
        eot=eot,
        limit=limit,
        seed=seed,
        precision=precision,
        out=out or NEW,
        force=force,
        **values,
    )
    show(found, as_json)
