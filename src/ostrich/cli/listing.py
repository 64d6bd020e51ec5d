"""`ostrich list ...`: what there is, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from ostrich.cli import options as o

app = typer.Typer(
    help="What there is: models, units, data, attacks, explainers, recipes, studies.", no_args_is_help=True
)


@app.command("models")
def models(as_json: o.Json = False) -> None:
    """Networks of ours: trained (zoo:), to be trained (arch:), generators (zoo:); detectors; every form."""
    from ostrich.generative.generator import known_generators
    from ostrich.models.bundled import known_models
    from ostrich.models.detectors import known_detectors
    from ostrich.models.named import known_forms

    _show([*known_models(), *known_generators(), *known_detectors(), *known_forms()], as_json)


@app.command("units")
@o.takes_options
def units(chosen: o.ModelOptions, as_json: o.Json = False) -> None:
    """The layers of a network: name, type, output shape, parameters; features and the map they lie on."""
    from dataclasses import asdict

    from ostrich.inspection.units import layers

    _show([asdict(row) for row in layers(chosen.load((224, 224)))], as_json)


@app.command("data")
def data(as_json: o.Json = False) -> None:
    """Data that has a name."""
    from ostrich.data.forms import known_data

    _show(known_data(), as_json)


@app.command("attacks")
def attacks(as_json: o.Json = False) -> None:
    """Attacks, what they need of a network, and their threat models."""
    from ostrich.attacks import known_attacks

    _show(known_attacks(), as_json)


@app.command("explainers")
def explainers(as_json: o.Json = False) -> None:
    """Attribution methods, what they need of a network, and what they show."""
    from ostrich.attribution.question import known_explainers

    _show(known_explainers(), as_json)


@app.command("recipes")
def recipes(as_json: o.Json = False) -> None:
    """Recipes for training, and for `ostrich generate train`."""
    from ostrich.generative import recipe as generators
    from ostrich.training import recipe as networks

    _show([*networks.known_recipes(), *generators.known_recipes()], as_json)


@app.command("studies")
def studies(as_json: o.Json = False) -> None:
    """Published experiments that can be rerun, and what came of them."""
    from ostrich.studies import known_studies

    rows = known_studies()
    _show(rows if as_json else [{**row, "results": _results(row["results"])} for row in rows], as_json)


def _results(pages: Sequence[Mapping[str, Any]]) -> str:
    """Each page's verdict, data and n, and below it the published figures and ours."""
    lines = []
    for page in pages:
        earlier = ", by an earlier rule" if page["earlier_rule"] else ""
        lines.append(f"{page['verdict']}{earlier} ({page['data']}, n = {page['n']})")
        lines += [f"  {what}: {theirs}; here {ours}" for what, theirs, ours in page["compared"]]
    return "\n".join(lines)


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Rows as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from ostrich.cli.terminal import print_rows

    cells = ([_text(value) for value in row.values()] for row in rows)
    print_rows(list(rows[0]) if rows else [], cells, right=("parameters", "length"))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        sizes = bool(value) and all(isinstance(v, int) for v in value)
        return ("x" if sizes else ", ").join(map(str, value))
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
