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
MANY = 2000  # images, from which on kernels are not kept
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
    surrogate: o.Surrogate = None,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    precision: o.Precision = "fast",
    on: o.On = "local",
    keep: o.Keep = "all",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Attack the images a network gets right, and keep each success as a file that proves it."""
    from ostrich.attacks import CamouflageAttack, FittedAttack, find
    from ostrich.attacks.engine.settings import configure_eot, read_settings
    from ostrich.cli.session import computing, read, show
    from ostrich.data.spec import opened
    from ostrich.errors import InputError
    from ostrich.runtime.memory import keep_no_kernels
    from ostrich.runtime.runs import NEW
    from ostrich.runtime.settings import pairs
    from ostrich.verbs.attack import attack
    from ostrich.verbs.attack.given import starts_from_noise

    if limit >= MANY:
        keep_no_kernels()
    kind = find(name)
    if on != "local" and (issubclass(kind, FittedAttack) or starts_from_noise(kind)):
        raise InputError(f"{name} is computed by one process; give it without --on {on}.")
    eot, own = configure_eot(pairs(settings or ()))
    noise = starts_from_noise(kind)
    values = read_settings(kind, own, {"confidence": float} if noise else None)
    method, rest = _configured(kind, values, noise) if artefact is None else (kind, values)
    if not data and read_as.words():
        raise InputError(f"{' '.join(read_as.words())} is about DATA, and none is given.")
    model: Any
    images: Any
    if issubclass(kind, CamouflageAttack):
        model, images = chosen.detector(), opened(data, read_as) if data else None
    elif noise or not data:
        model, images = chosen.load(), data or None
    else:
        model, images = read(chosen, data, limit, seed, read_as, out)
    with computing(on):
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
            keep=keep,
            out=out or NEW,
            force=force,
            **rest,
        )
    show(found, as_json)


def _configured(kind: type[Any], values: dict[str, Any], noise: bool) -> tuple[Any, dict[str, Any]]:
    """The attack with its settings, and what is none of them: it may have one that is named as an option."""
    from ostrich.verbs.attack.given import with_settings

    rest = {name: values.pop(name) for name in ("confidence",) if noise and name in values}
    return with_settings(kind, values), rest
