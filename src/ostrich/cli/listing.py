"""`ostrich list ...`: what there is, by name."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from ostrich.cli import options as o

app = typer.Typer(
    help="What there is: models, units, data, attacks, explainers, recipes, studies.", no_args_is_help=True
)


@app.command("models")
def models(as_json: o.Json = False) -> None:
    """Networks of ours: trained (zoo:), to be trained (arch:), generators (zoo:); face detectors."""
    from ostrich.generative.generator import known_generators
    from ostrich.models import loading
    from ostrich.models.detectors import known_detectors

    _show([*loading.known_models(), *known_generators(), *known_detectors()], as_json)


@app.command("units")
@o.takes_model
def units(chosen: o.ModelOptions, as_json: o.Json = False) -> None:
    """The layers of a network: name, type, output shape, parameters; features and the map they lie on."""
    from ostrich.inspection import units as layers

    classifier = chosen.load((224, 224))
    rows = [
        {
            "name": row.name,
            "type": row.type,
            "shape": list(row.shape),
            "parameters": row.parameters,
            "features": row.features,
            "map": list(row.map) if row.map else None,
        }
        for row in layers.layers(classifier)
    ]
    _show(rows, as_json)


@app.command("data")
def data(as_json: o.Json = False) -> None:
    """Data that has a name."""
    from ostrich.data.spec import NAMED

    _show([{"name": name, "what": what} for name, what in NAMED.items()], as_json)


@app.command("attacks")
def attacks(as_json: o.Json = False) -> None:
    """Attacks, what they need of a network, and their threat models."""
    from ostrich.attacks import ATTACKS

    rows = [
        {"name": m.name, "needs": m.needs, "kind": m.kind, "threat_models": list(m.norms)}
        for m in ATTACKS.values()
    ]
    _show(rows, as_json)


@app.command("explainers")
def explainers(as_json: o.Json = False) -> None:
    """Attribution methods, what they need of a network, and what they show."""
    from ostrich.attribution import EXPLAINERS

    rows = [
        {
            "name": name,
            "needs": explain.needs,
            "shows": (sys.modules[explain.__module__].__doc__ or "").splitlines()[0],
        }
        for name, explain in EXPLAINERS.items()
    ]
    _show(rows, as_json)


@app.command("recipes")
def recipes(as_json: o.Json = False) -> None:
    """Recipes for training, and for `ostrich generate train`."""
    from ostrich.generative.recipe import RECIPES as GAMES
    from ostrich.training.recipe import RECIPES

    rows = [
        {"name": r.name, "architecture": r.architecture, "data": r.data, "length": f"{r.epochs:g} epochs"}
        for r in RECIPES.values()
    ]
    rows += [
        {"name": g.name, "architecture": g.architecture, "data": g.data, "length": f"{g.steps} steps"}
        for g in GAMES.values()
    ]
    _show(rows, as_json)


@app.command("studies")
def studies(as_json: o.Json = False) -> None:
    """Published experiments that can be rerun."""
    from ostrich.studies import STUDIES, find

    found = [find(name) for name in STUDIES]
    _show([{"name": s.name, "question": s.question, "scales": list(s.specs)} for s in found], as_json)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(column, justify="right" if column in ("parameters", "length") else "left")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    Console(width=None if rows else 80).print(table)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return (
            "x".join(map(str, value))
            if all(isinstance(v, int) for v in value)
            else ", ".join(map(str, value))
        )
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
