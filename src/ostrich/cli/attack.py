"""`ostrich attack NAME MODEL DATA`: one attack, its images on disk, its figures in run.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ostrich.cli import options as o

NAME = "attack"


@o.takes_model
def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="see `ostrich list attacks`, or FILE.py:CLASS, your own")
    ],
    chosen: o.ModelOptions,
    data: Annotated[
        list[str] | None, typer.Argument(metavar="DATA", help="as for `check`; none for fooling-*")
    ] = None,
    settings: o.Settings = None,
    target: Annotated[str | None, typer.Option(metavar="CLASS|random|least-likely")] = None,
    artefact: Annotated[Path | None, typer.Option(help="apply this fitted image-agnostic attack")] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="judge the artefact there too (repeatable)")
    ] = None,
    surrogate: Annotated[
        str | None, typer.Option(metavar="MODEL", help="whose gradients are followed; success is MODEL's own")
    ] = None,
    limit: o.Limit = 256,
    seed: o.Seed = 0,
    precision: o.Precision = "fast",
    out: o.Out = None,
    skip_bad: o.SkipBad = False,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Attack the images a network gets right, and keep each success as a file that proves it."""
    from ostrich.attacks import IMAGE_AGNOSTIC, CamouflageAttack, FittedAttack, InputSpecificAttack, find
    from ostrich.attacks.engine.settings import configure, configure_eot
    from ostrich.cli.session import read, show
    from ostrich.data.spec import FORMS
    from ostrich.errors import InputError
    from ostrich.runtime.runs import NEW
    from ostrich.runtime.settings import pairs
    from ostrich.verbs.attack import attack

    kind = find(name)
    fitted = issubclass(kind, FittedAttack)
    eot, own = configure_eot(pairs(settings or ()))
    if artefact is not None and not fitted:
        raise InputError(
            f"{kind.name} leaves no artefact; --artefact is for {', '.join(IMAGE_AGNOSTIC)}, fitted before."
        )
    if also and not fitted:
        raise InputError(f"--also judges an artefact; {kind.name} leaves none.")
    if fitted and eot is not None:
        raise InputError(
            f"eot averages over views of one image; {kind.name} is fitted on many and takes none."
        )
    from_noise = issubclass(kind, InputSpecificAttack) and not kind.needs_data
    if from_noise:
        from ostrich.cli import fooling

        confidence, own = fooling.configure_confidence(own)
    if surrogate is not None and (artefact is not None or issubclass(kind, CamouflageAttack)):
        raise InputError("--surrogate lends gradients to an attack on a classifier; here none are needed.")
    if artefact is not None and (own or target):
        raise InputError("An artefact has its settings and its target; --set and --target belong to fitting.")
    method = configure(kind, own)
    o.check_precision(precision)
    if from_noise:
        if data or skip_bad or eot:
            raise InputError(f"{kind.name} starts from noise: it takes no DATA, no --skip-bad and no eot.")
        fooling.perform(
            method,
            chosen,
            confidence=confidence,
            target=target,
            surrogate=surrogate,
            limit=limit,
            seed=seed,
            precision=precision,
            out=out,
            force=force,
            as_json=as_json,
        )
        return
    if not data:
        raise InputError(f"{kind.name} needs DATA: {FORMS}.")
    if issubclass(kind, CamouflageAttack):
        from ostrich.cli import dazzle

        if target is not None:
            raise InputError(f"{kind.name} hides faces and takes no target; leave --target out.")
        if also:
            raise InputError(f"{kind.name} is judged on the other detectors anyway; leave --also out.")
        dazzle.perform(
            method,
            chosen,
            data,
            artefact=artefact,
            limit=limit,
            seed=seed,
            out=out,
            skip_bad=skip_bad,
            force=force,
            as_json=as_json,
        )
        return
    if fitted:
        from ostrich.cli import agnostic

        agnostic.perform(
            method,
            chosen,
            data,
            artefact=artefact,
            also=also or [],
            target=target,
            surrogate=surrogate,
            limit=limit,
            seed=seed,
            precision=precision,
            out=out,
            skip_bad=skip_bad,
            force=force,
            as_json=as_json,
        )
        return
    classifier, samples = read(chosen, data, limit, seed, skip_bad, out)
    found = attack(
        method,
        classifier,
        samples,
        target=target,
        surrogate=surrogate,
        eot=eot,
        seed=seed,
        precision=precision,
        out=out or NEW,
        force=force,
    )
    show(found, as_json)
