"""`ostrich explain NAME MODEL DATA`: which pixels move a unit, as raw maps and as pictures."""

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

NAME = "explain"
BATCH = 16  # images together
SHEET_ROWS = 32  # images on the sheet
TILE = 128  # pixels; smaller images are enlarged by whole numbers on the sheet


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="see `ostrich list explainers`")],
    model: o.ModelArgument,
    data: o.DataArgument,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="UNIT", help="class:ostrich, layer3:17, ... [default: the predicted class]"),
    ] = None,
    limit: o.Limit = 16,
    seed: o.Seed = 0,
    weights: o.Weights = None,
    rename: o.Rename = None,
    mean: o.Mean = None,
    std: o.Std = None,
    size: o.Size = None,
    classes: o.Classes = None,
    device: o.Device = "auto",
    out: o.Out = None,
    skip_bad: o.SkipBad = False,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show which pixels of an image move a unit: a class, a channel, a neuron."""
    from ostrich import units
    from ostrich.attribution import EXPLAINERS
    from ostrich.cli.session import console, opened
    from ostrich.errors import InputError, UnknownName
    from ostrich.images import write_png

    if name not in EXPLAINERS:
        raise UnknownName("explainer", name, EXPLAINERS)
    asked_units = list(dict.fromkeys(unit or ()))
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

    def validate(classifier: Classifier) -> None:
        if classifier.access != "gradient":
            raise InputError(f"{classifier.name} is only a prediction function: {name} needs its gradient.")
        for text in asked_units:
            units.resolve(classifier, text)

    asked = {"explainer": name, "units": asked_units}
    with opened(
        f"explain-{name}", chosen, data, asked, limit, seed, skip_bad, out, force, validate
    ) as session:
        started = time.monotonic()
        rows, sheet = _explain(name, session, asked_units)
        write_png(session.run.folder / "sheet.png", sheet)
        results = {
            "explainer": name,
            "n": len(session.samples),
            "explanations": rows,
            "sheet": "sheet.png",
            "sheet_images": min(SHEET_ROWS, len(session.samples)),
            "seconds": time.monotonic() - started,
        }
        session.run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
        return
    zero = sum(row["largest"] == 0 for row in rows)
    console.print(f"{name}: {len(rows)} maps of {len(session.samples)} images.")
    if zero:
        console.print(f"{zero} of them are zero everywhere: nothing comes back to the image under this rule.")
    console.print(f"sheet: {session.run.folder / 'sheet.png'}\nrun: {session.run.folder}", soft_wrap=True)


def _explain(name: str, session: Any, asked: Sequence[str]) -> tuple[list[dict[str, Any]], Tensor]:
    """Write every map and picture; the rows of the results, and the sheet."""
    import numpy as np
    import torch

    from ostrich.attacks.aims import predict
    from ostrich.attribution import EXPLAINERS
    from ostrich.attribution.pictures import picture
    from ostrich.attribution.question import paired
    from ostrich.images import write_png

    classifier, samples, folder = session.classifier, session.samples, session.run.folder
    rows, tiles = [], []
    for start in range(0, len(samples), BATCH):
        images = samples.images(start, start + BATCH).to(classifier.device, classifier.dtype)
        predictions = predict(classifier, images).argmax(1).tolist()
        units = [list(asked) or [class_unit(classifier, k)] for k in predictions]
        maps = [
            paired(EXPLAINERS[name](), classifier, images, [own[turn] for own in units])
            for turn in range(len(units[0]))
        ]
        for i, image in enumerate(images):
            index = samples.index[start + i]
            write_png(folder / f"images/{index:05d}-clean.png", image)
            shown = [image]
            for turn, found in enumerate(maps):
                stem = f"maps/{index:05d}-{turn:02d}-{plain(units[i][turn])}"
                drawn = picture(name, found[i])
                write_png(folder / f"{stem}.png", drawn)
                np.save(folder / f"{stem}.npy", found[i].to("cpu", torch.float32).numpy())
                shown.append(drawn)
                rows.append(
                    {
                        "index": index,
                        "file": samples.files[start + i],
                        "prediction": predictions[i],
                        "unit": units[i][turn],
                        "largest": found[i].abs().max().item(),
                        "clean_file": f"images/{index:05d}-clean.png",
                        "map_file": f"{stem}.npy",
                        "picture_file": f"{stem}.png",
                    }
                )
            if start + i < SHEET_ROWS:
                tiles += [_tile(one) for one in shown]
    from ostrich.images import grid

    return rows, grid(torch.stack(tiles), columns=1 + len(maps))


def class_unit(classifier: Classifier, index: int) -> str:
    """The unit of a class's logit, by its name where that is the name of no other class."""
    from ostrich.errors import InputError

    name = classifier.class_name(index)
    try:
        return f"class:{name if classifier.class_index(name) == index else index}"
    except InputError:
        return f"class:{index}"


def plain(unit: str) -> str:
    """A unit as part of a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in ".,@") else "-" for c in unit)[:60]


def _tile(image: Tensor) -> Tensor:
    """An image (1 or 3, H, W) in colour, enlarged to some 128 pixels."""
    scale = max(1, TILE // max(image.shape[1:]))
    colour = image.detach().cpu().expand(3, -1, -1)
    return colour.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
