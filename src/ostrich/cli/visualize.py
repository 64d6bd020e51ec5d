"""`ostrich visualize MODEL --unit UNIT`: images that a unit prefers; `--filters`: the first layer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostrich.cli import options as o

if TYPE_CHECKING:
    from torch import Tensor

    from ostrich.models import Classifier
    from ostrich.runtime.runs import Run
    from ostrich.visualization import Ascent, Objective, Preferred

NAME = "visualize"
FRAMES, MILLISECONDS = 40, 80  # of a GIF, and of each of its frames
SIDE = 512  # pixels; smaller GIFs are enlarged by whole numbers


@o.takes_model
def command(
    chosen: o.ModelOptions,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="UNIT",
            help="class:ostrich, layer3:17, layer3:17@4,5, layer3:17@centre; class:* or layer3:* for all "
            "(repeatable)",
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(metavar="SUM", help="such as 'layer3:17 - 0.5*class:ostrich' (repeatable)"),
    ] = None,
    filters: Annotated[bool, typer.Option("--filters", help="the first layer's filters")] = False,
    preset: Annotated[
        str | None, typer.Option(help="lucid, plain, yosinski-1 to yosinski-4 [default: lucid]")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(metavar="GENERATOR", help="draw with a trained generator, zoo:NAME or a run's folder"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="starts for each unit, from --seed upwards")] = 1,
    judges: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="another network to show the images to (repeatable)"),
    ] = None,
    gif: Annotated[bool, typer.Option("--gif", help="the ascent as ascent.gif")] = False,
    settings: o.Settings = None,
    seed: o.Seed = 0,
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show what a network's units look for. `--preset plain` climbs without regularisation: noise."""
    from ostrich.cli.session import begun, console
    from ostrich.cli.visualize_asked import read_judges, read_objectives, read_prior, read_settings
    from ostrich.errors import InputError
    from ostrich.visualization import check_objectives, describe

    if not unit and not objective and not filters:
        raise InputError("Name what to show: --unit UNIT (`ostrich list units MODEL`), or --filters.")
    if not unit and not objective and (settings or preset or prior or judges or gif or seeds != 1):
        raise InputError(
            "--set, --preset, --prior, --seeds, --judges and --gif are for --unit, not for the filters."
        )
    if prior and preset:
        raise InputError("A preset climbs without a generator, --prior with one: name one of them.")
    ascent = None if prior else read_settings(settings or (), preset)
    classifier = chosen.load()
    ascent = ascent or read_prior(classifier, prior or "", settings or ())
    wanted = read_objectives(classifier, unit or (), objective or ())
    if wanted:
        check_objectives(classifier, wanted, seeds)
    others = read_judges(classifier, wanted, judges or (), chosen.device)
    asked = {
        "objectives": [str(one) for one in wanted],
        "filters": filters,
        "settings": describe(ascent),
        "seeds": seeds,
        "judges": [other.name for other in others],
        "gif": gif,
    }
    with begun(NAME, chosen, classifier, asked, data=None, seed=seed, out=out, force=force) as run:
        started = time.monotonic()
        results: dict[str, Any] = {"settings": describe(ascent)} if wanted else {}
        if filters:
            results |= {"filters": _filters(classifier, run)}
        if wanted:
            found = _climb(classifier, wanted, ascent, seed, seeds, gif, run)
            results |= _write(classifier, wanted, found, seed, seeds, run)
            results |= {"gif": "ascent.gif"} if gif else {}
            results |= {"judges": _judge(classifier, wanted, found, seeds, others)} if others else {}
        results["seconds"] = time.monotonic() - started
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
        return
    for row in results.get("units", ()):
        moved = f"from {row['start']:.4g} to {row['value']:.4g}"
        console.print(f"{row['unit']}: {moved}  {row['file']}", soft_wrap=True)
    for sentence in _remarks(results):
        console.print(sentence, soft_wrap=True)
    console.print(f"run: {run.folder}", soft_wrap=True)


def _filters(classifier: Classifier, run: Run) -> str:
    from ostrich.images import write_png
    from ostrich.visualization import first_layer_filters

    write_png(run.folder / "filters.png", first_layer_filters(classifier))
    return "filters.png"


def _climb(
    classifier: Classifier,
    wanted: Sequence[Objective],
    ascent: Ascent,
    seed: int,
    seeds: int,
    gif: bool,
    run: Run,
) -> Preferred:
    """Climb; with `gif` the images of FRAMES steps, evenly spread, become ascent.gif."""
    import torch

    from ostrich.images import from_bytes, grid, magnified, to_bytes, write_gif
    from ostrich.runtime.events import progress
    from ostrich.visualization import ascend

    steps = sorted({step * (ascent.steps - 1) // (FRAMES - 1) for step in range(FRAMES)}) if gif else []
    frames: dict[int, dict[int, Any]] = {step: {} for step in steps}

    def watch(step: int, places: list[int], images: Tensor) -> None:
        if step in frames:
            frames[step] |= dict(zip(places, to_bytes(images), strict=True))

    with progress(f"climbing for {len(wanted)} units", ascent.steps) as advance:
        found = ascend(classifier, wanted, ascent, seed=seed, seeds=seeds, progress=advance, watch=watch)
    if gif:
        columns = seeds if seeds > 1 else None
        sheets = [
            grid(torch.stack([from_bytes(shot[place]) for place in sorted(shot)]), columns)
            for shot in frames.values()
        ]
        write_gif(run.folder / "ascent.gif", [magnified(sheet, SIDE) for sheet in sheets], MILLISECONDS)
    return found


def _write(
    classifier: Classifier, wanted: Sequence[Objective], found: Preferred, seed: int, seeds: int, run: Run
) -> dict[str, Any]:
    """One picture a unit and seed, their grid, and the trace."""
    from ostrich import images as pictures
    from ostrich.inspection.unit_names import as_file_name
    from ostrich.runtime.files import write_text
    from ostrich.visualization import worth

    best, trace = pictures.rounded(found.images), found.trace.tolist()
    names = [(str(one), seed + turn) for one in wanted for turn in range(seeds)]
    values = worth(classifier, wanted, best, seeds)  # of the file, not of what it was rounded from
    rows = []
    for i, (unit, own) in enumerate(names):
        file = f"units/{i:02d}-{as_file_name(unit)}{f'-{own}' if seeds > 1 else ''}.png"
        pictures.write_png(run.folder / file, best[i])
        rows.append(
            {
                "unit": unit,
                "seed": own,
                "value": values[i].item(),
                "value_float": found.trace[:, i].max().item(),
                "start": trace[0][i],
                "dead": bool(found.dead[i]),
                "file": file,
            }
        )
    pictures.write_png(run.folder / "grid.png", pictures.grid(best, seeds if seeds > 1 else None))
    lines = [
        json.dumps({"step": step, "unit": unit, **({"seed": own} if seeds > 1 else {}), "value": value})
        for step, now in enumerate(trace)
        for (unit, own), value in zip(names, now, strict=True)
    ]
    write_text(run.folder / "metrics.jsonl", "\n".join(lines) + "\n")
    return {"units": rows, "grid": "grid.png"}


def _judge(
    classifier: Classifier,
    wanted: Sequence[Objective],
    found: Preferred,
    seeds: int,
    others: Sequence[Classifier],
) -> dict[str, Any]:
    """How many of the files each network takes for their class first, with a 95 % interval."""
    from ostrich.attacks.fooling.recognition import recognised
    from ostrich.cli.visualize_asked import its_class
    from ostrich.images import rounded
    from ostrich.statistics import wilson

    classes = [its_class(classifier, one) or 0 for one in wanted for _ in range(seeds)]
    verdicts = {}
    for other in (classifier, *others):
        seen = recognised(rounded(found.images), classes, classifier, other)
        hits, count = int(seen.sum()), len(seen)
        verdicts[other.name] = {"n": count, "recognised": hits / count, "interval": wilson(hits, count)}
    return verdicts


def _remarks(results: dict[str, Any]) -> list[str]:
    """What is to be said of the units: dead ones, and the judges' word."""
    remarks = []
    rows = results.get("units", ())
    prior = results.get("settings", {}).get("prior")
    for unit in dict.fromkeys(row["unit"] for row in rows):
        own = [row for row in rows if row["unit"] == unit]
        if all(row["dead"] for row in own) and prior is not None:
            remarks.append(
                f"{unit} is dead under {prior}: no code moves it at any step from {len(own)} "
                f"start{'s' if len(own) > 1 else ''}, so its image is a random one of the generator. "
                "Other starts may wake it (--seeds 8); if none does, the generator draws nothing that does."
            )
        elif all(row["dead"] for row in own):
            remarks.append(
                f"{unit} is dead: no pixel moves it at any step from {len(own)} "
                f"start{'s' if len(own) > 1 else ''}, so its image is noise. Other starts may wake it "
                "(--seeds 8, stronger noise: --set noise=0.2 or --set deviation=1); if none does, nothing "
                "that a ReLU lets through leads there."
            )
    for name, word in results.get("judges", {}).items():
        low, high = word["interval"]
        remarks.append(
            f"{name} recognises {word['recognised']:.0%} of {word['n']} (95 %: {low:.0%} to {high:.0%})."
        )
    return remarks
