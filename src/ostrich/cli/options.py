"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ostrich.cli.completion import completing
from ostrich.data.forms import LISTED
from ostrich.data.options import DataOptions as DataOptions
from ostrich.models.options import ModelOptions as ModelOptions
from ostrich.runtime.settings import pair as pair

DataArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help=f"{LISTED}: `ostrich list data`",
        autocompletion=completing("data"),
    ),
]
Out = Annotated[Path | None, typer.Option(help="run directory [default: new under runs/]")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Precision = Annotated[str, typer.Option(help="fast or exact; gradients only")]
Limit = Annotated[int, typer.Option(help="images: a seeded, class-balanced choice")]
Surrogate = Annotated[
    str | None, typer.Option(metavar="MODEL", help="whose gradients are followed; success is MODEL's own")
]
Force = Annotated[bool, typer.Option("--force", help="replace a finished run")]
Keep = Annotated[
    str,
    typer.Option(
        metavar="all|failures|none",
        help="which images are written as files: all, the network's failures, or none; images.csv has all",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="results as JSON on standard output")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="a setting, such as eps=8/255; of a list depths=8,20 (repeatable)"
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="local|ray",
        help="where: here, or a Ray cluster (RAY_ADDRESS, else one of this machine; extra cluster)",
    ),
]
EXPANDED = (ModelOptions, DataOptions)


def takes_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose parameters of types in EXPANDED are options of the command line, field by field.

    ModelOptions is MODEL and every option of a network, DataOptions every option of DATA. What the command
    declares itself under an option's name is its own, and stays out; only MODEL, which may then be left out,
    is put in.
    """
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    targets = {name: hint for name, hint in hints.items() if hint in EXPANDED and name in own}
    added = {name: [f for f in fields(kind) if f.name not in own] for name, kind in targets.items()}

    @functools.wraps(command)
    def called(**values: Any) -> Any:
        given = {}
        for name, kind in targets.items():
            chosen = {f.name: values.pop(f.name) for f in added[name]}
            if kind is ModelOptions and "model" in own:
                chosen["model"] = values["model"] or ""
            given[name] = kind(**chosen)
        return command(**given, **values)

    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    annotations = {name: hint for name, hint in hints.items() if name not in targets}
    for name in own:
        if name not in targets:
            first[name] = own[name].default
        for option in added.get(name, ()):
            place = first if option.default is MISSING else last
            place[option.name] = inspect.Parameter.empty if option.default is MISSING else option.default
            annotations[option.name] = Annotated[
                get_type_hints(targets[name])[option.name], _typed_as(option)
            ]
    called.__annotations__ = annotations
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotations[name]
            )
            for name, default in (first | last).items()
        ]
    )
    return called


def _typed_as(option: Field[Any]) -> Any:
    """MODEL is an argument, everything else an option of its name."""
    if option.default is MISSING:
        return typer.Argument(**option.metadata, autocompletion=completing("models"))
    return typer.Option(f"--{option.name.replace('_', '-')}", **option.metadata)
