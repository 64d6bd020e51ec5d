"""`ostrich generate neighbours` and `evaluate`: has it memorised, and how far is it from real images?"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostrich.cli import generate_options as g
from ostrich.cli import options as o

if TYPE_CHECKING:
    from torch import Tensor

    from ostrich.data.pictures import Pictures
    from ostrich.generative.neighbours import Neighbours

SIDE = 512  # pixels of a film
SHOWN = 12  # samples on the sheet of neighbours, those nearest to a training image first
IMAGES, CLIPS = 2000, 256  # samples that are measured
NEAREST = 3  # training images beside each, in pixels and again in features


def neighbours(
    generator: g.GeneratorArgument,
    data: g.Data = None,
    count: Annotated[int, typer.Option(help="samples")] = 256,
    features: g.Features = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show samples' nearest training images, in pixels and in features, and whether it memorised."""
    from ostrich.cli.session import console
    from ostrich.errors import InputError
    from ostrich.figures.clips import film, is_clip, stills, write_clip
    from ostrich.generative import load_generator
    from ostrich.generative import neighbours as near
    from ostrich.generative.features import features as features_of
    from ostrich.images import grid, rounded, write_png
    from ostrich.models.loading import pick_device
    from ostrich.runtime.files import write_text

    if count < 1:
        raise InputError(f"--count is at least 1; got {count}.")
    made_by = load_generator(generator, pick_device(device))
    network = g.its_network(made_by, features, device)
    training, held_out = g.its_pictures(made_by, data)
    if len(training) < 2 or len(held_out) < 2:
        raise InputError(
            f"{training.name} has {len(training)} training and {len(held_out)} held-out images: too few "
            "for a verdict."
        )
    what = {"n": count, "data": data, "features": network.name}
    facts = {"name": training.name, "n": len(training), "sha256": training.sha256}
    with g.begun("neighbours", made_by, what, seed, out, force, facts) as run:
        samples = rounded(made_by.sample(range(count), seed=seed)[0])
        sides = {"samples": samples, "training": training.images(), "held_out": held_out.images()}
        spaces = {
            "pixels": {side: images.flatten(1) for side, images in sides.items()},
            f"features of {network.name}": {s: features_of(network, x)[0] for s, x in sides.items()},
        }
        results: dict[str, Any] = {"n": count, "training": len(training), "held_out": len(held_out)}
        found: dict[str, Neighbours] = {}
        for space, rows in spaces.items():
            found[space] = near.neighbours(rows["samples"], rows["training"])
            verdict = near.memorisation(found[space], near.neighbours(rows["held_out"], rows["training"]))
            results[space] = asdict(verdict) | {"sentence": near.sentence(space, verdict)}
        results["memorised"] = any(results[space]["memorised"] for space in spaces)
        shown = _beside(samples, training, spaces, found)
        columns = shown.shape[1]
        write_png(run.folder / "neighbours.png", grid(stills(shown.flatten(0, 1)), columns))
        if is_clip(made_by.shape):
            write_clip(run.folder / "neighbours.gif", film(shown.flatten(0, 1), columns), SIDE)
        write_text(run.folder / "neighbours.csv", _table(training, found))
        results |= {"sheet": "neighbours.png", "table": "neighbours.csv"}
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
        return
    for space in spaces:
        console.print(results[space]["sentence"], soft_wrap=True)
    console.print(f"run: {run.folder}", soft_wrap=True)


def _beside(
    samples: Tensor, training: Pictures, spaces: dict[str, dict[str, Tensor]], found: dict[str, Neighbours]
) -> Tensor:
    """(rows, 1 + 2 NEAREST, C, H, W): a sample, its nearest training images in pixels, those in features."""
    import torch

    from ostrich.generative.neighbours import nearest

    closest = torch.stack([one.ratio for one in found.values()]).amin(0).argsort(stable=True)[:SHOWN]
    every, columns = training.images(), [samples[closest][:, None]]
    for rows in spaces.values():
        index = nearest(rows["samples"][closest], rows["training"], min(NEAREST, len(every)))[1]
        columns.append(every[index])
    return torch.cat(columns, 1)


def _table(training: Pictures, found: dict[str, Neighbours]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["sample", "space", "distance", "ratio", "index", "file"])
    for space, one in found.items():
        for i, (distance, ratio, index) in enumerate(
            zip(one.distance.tolist(), one.ratio.tolist(), one.index.tolist())
        ):
            table.writerow([i, space, f"{distance:.6g}", f"{ratio:.6g}", index, training.files[index]])
    return text.getvalue()


def evaluate(
    generator: g.GeneratorArgument,
    data: g.Data = None,
    count: Annotated[
        int | None, typer.Option(help="samples [default: 2000 images or 256 clips]", show_default=False)
    ] = None,
    features: g.Features = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="another classifier, to say of which class conditional samples are"
        ),
    ] = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Measure samples against held-out images in the features of a named classifier.

    Only in those of inception is the distance FID.
    """
    from ostrich.cli.session import console, report
    from ostrich.errors import InputError
    from ostrich.figures.clips import is_clip
    from ostrich.generative import load_generator
    from ostrich.generative.evaluation import evaluate as measured
    from ostrich.models import load
    from ostrich.models.loading import pick_device

    made_by = load_generator(generator, pick_device(device))
    network = g.its_network(made_by, features, device)
    other = load(judge, device=device) if judge else None
    if other is not None and made_by.class_names is None:
        raise InputError(f"{made_by.name} is not conditional: there is no class asked for, so no --judge.")
    held_out = g.its_held_out(made_by, data)
    count = count if count is not None else CLIPS if is_clip(made_by.shape) else IMAGES
    what = {"n": count, "data": data, "features": network.name, "judge": judge}
    facts = {"name": held_out.name, "n": len(held_out), "sha256": held_out.sha256}
    with g.begun("evaluate", made_by, what, seed, out, force, facts) as run:
        results = measured(made_by, held_out, network, judge=other, samples=count, seed=seed)
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
        return
    shown = {name: value for name, value in results.items() if name != "warnings"}
    report(f"{made_by.name}, in features of {network.name}", shown, run.folder)
    for sentence in results["warnings"]:
        console.print(sentence, soft_wrap=True)
