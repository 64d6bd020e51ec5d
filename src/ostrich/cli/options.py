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
from ostrich.errors import InputError
from ostrich.models.options import ModelOptions as ModelOptions
from ostrich.runtime.settings import pair as pair

DataArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="image files, images:PATH, folder:PATH, toybox, digits, cifar10[:PATH], faces, generator:NAME",
        autocompletion=completing("data"),
    ),
]
Out = Annotated[Path | None, typer.Option(help="run directory [default: new under runs/]")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Precision = Annotated[str, typer.Option(help="fast or exact; gradients only")]
Limit = Annotated[int, typer.Option(help="images: a seeded, class-balanced choice")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="leave unreadable images out, and say so")]
Force = Annotated[bool, typer.Option("--force", help="replace a finished run")]
Json = Annotated[bool, typer.Option("--json", help="results as JSON on standard output")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="a setting, such as eps=8/255 (repeatable)"),
]


def takes_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose parameter of type ModelOptions is MODEL and every option of a network.

    What the command declares itself under an option's name is its own, and stays out of the ModelOptions;
    only MODEL, which may then be left out, is put in.
    """
    hints = get_type_hints(command, include_extras=True)
    (target,) = (name for name, hint in hints.items() if hint is ModelOptions)
    own = inspect.signature(command).parameters
    types = get_type_hints(ModelOptions)
    added = [f for f in fields(ModelOptions) if f.name not in own]
    given = {f.name: Annotated[types[f.name], _typed_as(f)] for f in added}

    @functools.wraps(command)
    def called(**values: Any) -> Any:
        chosen = {f.name: values.pop(f.name) for f in added}
        if "model" in own:
            chosen["model"] = values["model"] or ""
        return command(**{target: ModelOptions(**chosen)}, **values)

    signature: dict[str, Any] = {}
    for name in own:
        if name != target:
            signature[name] = own[name].default
        elif "model" in given:
            signature["model"] = inspect.Parameter.empty
    signature |= {f.name: f.default for f in added if f.name != "model"}
    annotations = {name: hint for name, hint in hints.items() if name != target} | given
    called.__annotations__ = annotations
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotations[name]
            )
            for name, default in signature.items()
        ]
    )
    return called


def _typed_as(option: Field[Any]) -> Any:
    """MODEL is an argument, everything else an option of its name."""
    if option.default is MISSING:
        return typer.Argument(**option.metadata, autocompletion=completing("models"))
    return typer.Option(f"--{option.name.replace('_', '-')}", **option.metadata)


def check_precision(precision: str) -> None:
    """Refuse what is no precision."""
    if precision not in ("fast", "exact"):
        raise InputError(f"--precision is fast or exact; got {precision!r}.")
