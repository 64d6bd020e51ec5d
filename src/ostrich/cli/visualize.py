"""`ostrich visualize MODEL --unit UNIT`: images that a unit prefers; `--filters`: the first layer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostrich.cli import options as o

if TYPE_CHECKING:
    from ostrich.models import Classifier
    from ostrich.runs import Run
    from ostrich.visualization import Ascent

NAME = "visualize"
PRESET = "decay-blur"


def command(
    model: o.ModelArgument,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="UNIT", help="class:ostrich, probability:ostrich, layer3:17@4,5 (repeatable)"),
    ] = None,
    filters: Annotated[bool, typer.Option("--filters", help="the first layer's filters")] = False,
    settings: o.Settings = None,
    seed: o.Seed = 0,
    weights: o.Weights = None,
    rename: o.Rename = None,
    mean: o.Mean = None,
    std: o.Std = None,
    size: o.Size = None,
    classes: o.Classes = None,
    device: o.Device = "auto",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show what a network's units look for. `--set preset=plain` climbs without regularisation."""
    from dataclasses import asdict

    from ostrich.cli.session import begun, console
    from ostrich.errors import InputError
    from ostrich.units import resolve

    if not unit and not filters:
        raise InputError("Name what to show: --unit UNIT (`ostrich list units MODEL`), or --filters.")
    if settings and not unit:
        raise InputError("--set is for --unit; the filters have no settings.")
    units = list(dict.fromkeys(unit or ()))
    chosen = o.ModelOptions(
        model=model,
        weights=weights,
        rename=rename,
        mean=mean,
        std=std,
        size=size,
        classes=classes,
        device=device,
    )
    ascent = configure(settings or ())
    classifier = chosen.load()
    for text in units:
        resolve(classifier, text)
    asked = {"units": units, "filters": filters, "settings": asdict(ascent)}
    with begun(NAME, chosen, classifier, asked, data=None, seed=seed, out=out, force=force) as run:
        started = time.monotonic()
        results: dict[str, Any] = {"settings": asdict(ascent)} if units else {}
        if filters:
            results |= {"filters": _filters(classifier, run)}
        if units:
            results |= _preferred(classifier, units, ascent, seed, run)
        results["seconds"] = time.monotonic() - started
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
        return
    for row in results.get("units", ()):
        console.print(f"{row['unit']}: from {row['start']:.4g} to {row['value']:.4g}  {row['file']}")
    console.print(f"run: {run.folder}", soft_wrap=True)


def configure(settings: Sequence[str]) -> Ascent:
    """A preset with `settings`, NAME=VALUE; `preset` is one of them. Raises InputError."""
    from dataclasses import fields, replace
    from typing import get_type_hints

    from ostrich.attacks.settings import read_value
    from ostrich.errors import UnknownName
    from ostrich.visualization import PRESETS, Ascent

    given = dict(o.pair(text) for text in settings)
    preset = given.pop("preset", PRESET)
    if preset not in PRESETS:
        raise UnknownName("preset", preset, PRESETS)
    known, hints = [f.name for f in fields(Ascent)], get_type_hints(Ascent)
    for name in given:
        if name not in known:
            raise UnknownName("setting of visualize", name, [*known, "preset"])
    return replace(
        PRESETS[preset], **{name: read_value(name, text, hints[name]) for name, text in given.items()}
    )


def _filters(classifier: Classifier, run: Run) -> str:
    from ostrich.images import write_png
    from ostrich.visualization import first_layer_filters

    write_png(run.folder / "filters.png", first_layer_filters(classifier))
    return "filters.png"


def _preferred(
    classifier: Classifier, units: Sequence[str], ascent: Ascent, seed: int, run: Run
) -> dict[str, Any]:
    """Climb, and write one picture a unit, their grid, and the trace."""
    import torch

    from ostrich import images as pictures
    from ostrich.cli.explain import plain
    from ostrich.cli.session import progress
    from ostrich.networks import untouched
    from ostrich.runs import write_text
    from ostrich.units import parse, values
    from ostrich.visualization import ascend

    with progress(f"climbing for {len(units)} units", ascent.steps) as advance:
        found = ascend(classifier, units, ascent, seed=seed, progress=advance)
    best, trace = pictures.rounded(found.images), found.trace.tolist()
    rows = []
    for i, unit in enumerate(units):
        file = f"units/{i:02d}-{plain(unit)}.png"
        pictures.write_png(run.folder / file, best[i])
        with untouched(classifier.network), torch.no_grad():  # of the file, not of what it was rounded from
            value = values(classifier, best[i : i + 1], [parse(unit)]).item()
        highest = found.trace[:, i].max().item()
        rows.append(
            {"unit": unit, "value": value, "value_float": highest, "start": trace[0][i], "file": file}
        )
    pictures.write_png(run.folder / "grid.png", pictures.grid(best))
    lines = [
        json.dumps({"step": step, "unit": unit, "value": value})
        for step, now in enumerate(trace)
        for unit, value in zip(units, now, strict=True)
    ]
    write_text(run.folder / "metrics.jsonl", "\n".join(lines) + "\n")
    return {"units": rows, "grid": "grid.png"}
