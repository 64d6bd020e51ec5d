"""`ostrich explain NAME MODEL DATA`: which pixels move a unit, as raw maps and as pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostrich.cli import options as o
from ostrich.inspection.unit_names import as_file_name, class_unit

if TYPE_CHECKING:
    from torch import Tensor

    from ostrich.attribution import Explainer
    from ostrich.cli.session import Session
    from ostrich.inspection.units import Unit
    from ostrich.models import Classifier

NAME = "explain"
SHEET = "sheet"
LIMIT = 16  # images, unless said
BATCH = 16  # images together
MAPS = 64  # of the units of these images, held together
SHEET_ROWS = 32  # images on the sheet
TILE = 128  # pixels; smaller images are enlarged by whole numbers on the sheet


@o.takes_model
def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="see `ostrich list explainers`, or sheet")],
    chosen: o.ModelOptions,
    data: o.DataArgument,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="UNIT",
            help="class:ostrich, layer3:17, 'class:a - class:b' [default: predicted class]",
        ),
    ] = None,
    settings: o.Settings = None,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="check the method on this network and these images")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(help="images: a seeded, class-balanced choice [default: 16; for sheet 256]"),
    ] = None,
    seed: o.Seed = 0,
    out: o.Out = None,
    skip_bad: o.SkipBad = False,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Show which pixels of an image move a unit: a class, a channel, a neuron. `sheet`: all about a unit."""
    from ostrich.cli.session import console

    call = _Call(
        name=name,
        chosen=chosen,
        data=data,
        units=list(dict.fromkeys(unit or ())),
        settings=settings or (),
        sanity=sanity,
        limit=limit,
        seed=seed,
        skip_bad=skip_bad,
        out=out,
        force=force,
    )
    results, lines, folder = _sheet(call) if name == SHEET else _maps(call)
    if as_json:
        typer.echo(json.dumps(results))
        return
    for line in [*lines, f"run: {folder}"]:
        console.print(line, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class _Call:
    """The command as it was typed."""

    name: str
    chosen: o.ModelOptions
    data: list[str]
    units: list[str]
    settings: Sequence[str]
    sanity: bool
    limit: int | None
    seed: int
    skip_bad: bool
    out: Path | None
    force: bool

    def opened(
        self, asked: Mapping[str, Any], most: int, validate: Callable[[Classifier], object]
    ) -> AbstractContextManager[Session]:
        """Model, data, at most so many images unless --limit says, and run directory."""
        from ostrich.cli.session import opened

        limit = most if self.limit is None else self.limit
        name, rest = f"{NAME}-{self.name}", (limit, self.seed, self.skip_bad, self.out, self.force)
        return opened(name, self.chosen, self.data, asked, *rest, validate)


def _sheet(call: _Call) -> tuple[dict[str, Any], list[str], Path]:
    """`ostrich explain sheet`: the results, what is said, and the run's folder."""
    from ostrich.cli.explain_sheet import LIMIT as MOST
    from ostrich.cli.explain_sheet import read_asked, read_units, said, sheet
    from ostrich.errors import InputError
    from ostrich.visualization import check_objectives, describe

    if call.sanity:
        raise InputError("--sanity checks a method; a sheet shows several.")
    ascent, top = read_asked(call.settings)
    units: list[Unit] = []

    def validate(classifier: Classifier) -> None:
        units.extend(read_units(classifier, call.units))
        check_objectives(classifier, units)

    asked = {"units": call.units, "settings": describe(ascent), "top": top}
    with call.opened(asked, MOST, validate) as session:
        started = time.monotonic()
        results = sheet(session, units, ascent, top, call.seed)
        results["seconds"] = time.monotonic() - started
        session.run.finish(results)
    return results, said(results), session.run.folder


def _maps(call: _Call) -> tuple[dict[str, Any], list[str], Path]:
    """`ostrich explain` by one method: the results, what is said, and the run's folder."""
    from ostrich.cli.explain_sanity import check
    from ostrich.images import write_png

    method = configure(call.name, call.settings)

    def validate(classifier: Classifier) -> None:
        try_out(method, classifier, call.units or ["class:0"], call.sanity)

    asked = {"explainer": repr(method), "units": call.units, "sanity": call.sanity}
    with call.opened(asked, LIMIT, validate) as session:
        started = time.monotonic()
        rows, sheet = _explain(method, session, call.units, call.seed)
        write_png(session.run.folder / "sheet.png", sheet)
        checks = check(method, session, rows, call.seed) if call.sanity else None
        remarks = method.remarks(rows)
        if method.agnostic and call.units:
            remarks.append(f"{call.name} has no unit: its map is the same for all, whatever --unit says.")
        results = {
            "explainer": call.name,
            "settings": repr(method),
            "n": len(session.samples),
            "explanations": rows,
            "sheet": "sheet.png",
            "sheet_images": min(SHEET_ROWS, len(session.samples)),
            "remarks": remarks,
            "sanity": checks,
            "seconds": time.monotonic() - started,
        }
        session.run.finish(results)
    lines = [f"{call.name}: {len(rows)} maps of {len(session.samples)} images."]
    lines += remarks
    lines += checks["sentences"] if checks else ()
    return results, [*lines, f"sheet: {session.run.folder / 'sheet.png'}"], session.run.folder


def configure(name: str, settings: Sequence[str]) -> Explainer:
    """The method with `settings`, NAME=VALUE. Raises UnknownName, InputError."""
    from ostrich.attribution import EXPLAINERS
    from ostrich.errors import UnknownName
    from ostrich.runtime.settings import pairs, read

    if name not in EXPLAINERS:
        raise UnknownName("explainer", name, [*EXPLAINERS, SHEET])
    method = EXPLAINERS[name]
    return method(**read(method, pairs(settings), name))


def try_out(method: Explainer, classifier: Classifier, units: Sequence[str], sanity: bool) -> None:
    """Refuse, before anything is written, what the method cannot do: on one grey image, briefly."""
    import torch

    from ostrich.attribution import explain
    from ostrich.attribution.sanity.parameter_randomisation import stages

    height, width = classifier.size or (224, 224)
    grey = torch.full((1, classifier.channels, height, width), 0.5)
    explain(method.brief(), classifier, grey.to(classifier.device, classifier.dtype), units)
    if sanity:
        stages(classifier)


def _explain(
    method: Explainer, session: Session, asked: Sequence[str], seed: int
) -> tuple[list[dict[str, Any]], Tensor]:
    """Write every map and picture; the rows of the results, and the sheet."""
    import torch

    from ostrich.attribution import explain, figures
    from ostrich.images import grid, write_png

    classifier, samples, folder = session.classifier, session.samples, session.run.folder
    rows, tiles = [], []
    batch = max(1, min(BATCH, MAPS // max(1, len(asked))))
    for start in range(0, len(samples), batch):
        images = samples.images(start, start + batch).to(classifier.device, classifier.dtype)
        predictions = classifier.predict(images).argmax(1).tolist()
        units = [list(asked) or [class_unit(classifier, k)] for k in predictions]
        maps = explain(method, classifier, images, units, seed=seed)
        beside = figures(method, classifier, images, units, maps, seed=seed)
        for i, image in enumerate(images):
            index, shown = samples.index[start + i], [image]
            clean = f"images/{index:05d}-clean.png"
            write_png(folder / clean, image)
            for turn, unit in enumerate(units[i]):
                stem = f"maps/{index:05d}-{turn:02d}-{as_file_name(unit)}"
                shown.append(_write(method, session, stem, maps[i, turn], image))
                rows.append(
                    {
                        "index": index,
                        "file": samples.files[start + i],
                        "prediction": predictions[i],
                        "unit": unit,
                        "largest": maps[i, turn].abs().max().item(),
                        "figures": beside[i][turn],
                        "clean_file": clean,
                        "map_file": f"{stem}.npy",
                        "picture_file": f"{stem}.png",
                    }
                )
            if start + i < SHEET_ROWS:
                tiles += [_tile(one) for one in shown]
    return rows, grid(torch.stack(tiles), columns=1 + len(units[0]))


def _write(method: Explainer, session: Session, stem: str, found: Tensor, image: Tensor) -> Tensor:
    """Write one map (C, H, W), raw and as the picture that is returned."""
    import numpy as np
    import torch

    from ostrich.attribution.pictures import picture
    from ostrich.images import write_png

    drawn = picture(method, found, image)
    write_png(session.run.folder / f"{stem}.png", drawn)
    np.save(session.run.folder / f"{stem}.npy", found.to("cpu", torch.float32).numpy())
    return drawn


def _tile(image: Tensor) -> Tensor:
    """An image (C, H, W) in colour, enlarged to some 128 pixels."""
    from ostrich.images import magnified, visible

    return magnified(visible(image.detach().cpu()).expand(3, -1, -1), TILE)
