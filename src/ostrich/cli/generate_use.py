"""`ostrich generate sample` and `interpolate`: images, or clips, of a trained generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostrich.cli import generate_options as g
from ostrich.cli import options as o

if TYPE_CHECKING:
    from torch import Tensor

    from ostrich.generative import Generator

SIDE = 512  # pixels; smaller GIFs are enlarged by whole numbers
ROWS = 16  # clips on the sheet
STREAMS = 8  # clips whose streams are shown apart
MILLISECONDS = 80  # each frame of a GIF


def sample(
    generator: g.GeneratorArgument,
    count: Annotated[int, typer.Option(help="samples")] = 64,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="only this class (repeatable) [default: all in turn]")
    ] = None,
    truncation: g.Truncation = None,
    codes: Annotated[Path | None, typer.Option(help="codes (N, Z) of your own, a .npy file")] = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Draw samples: a PNG each, their grid, and their codes as codes.npy; clips as GIF, MP4 and streams."""
    import torch

    from ostrich.cli.session import report
    from ostrich.errors import InputError
    from ostrich.figures.clips import film, is_clip, sheet, write_clip
    from ostrich.generative import load_generator
    from ostrich.images import write_png
    from ostrich.models.loading import pick_device

    if codes is None and count < 1:
        raise InputError(f"--count is at least 1; got {count}.")
    if codes is not None and truncation is not None:
        raise InputError("--truncation is for codes that are drawn; --codes are taken as they are.")
    made_by = load_generator(generator, pick_device(device))
    chosen = [made_by.class_index(name) for name in classes] if classes else None
    if codes is not None:
        drawn = _read_codes(codes)
        made_by.codes.check(drawn)
    else:
        drawn = made_by.codes.numbered(range(count), seed, truncation)
    asked = made_by.in_turn(range(len(drawn)), chosen)
    what = {"n": len(drawn), "classes": classes, "truncation": truncation}
    what |= {"codes": drawn.tolist() if codes is not None else None}
    with g.begun("sample", made_by, what, seed, out, force) as run:
        images = made_by(drawn, asked)
        rows = []
        for i, image in enumerate(images):
            name = f"-{_plain(_class_name(made_by, asked, i))}" if asked is not None else ""
            rows.append(f"samples/{i:04d}{name}")
            if is_clip(made_by.shape):
                write_clip(run.folder / f"{rows[-1]}.gif", image)
                write_clip(run.folder / f"{rows[-1]}.mp4", image)
            else:
                write_png(run.folder / f"{rows[-1]}.png", image)
        write_png(run.folder / "grid.png", sheet(images, ROWS))
        _write_array(run.folder / "codes.npy", drawn)
        results: dict[str, Any] = {"n": len(images), "truncation": truncation, "grid": "grid.png"}
        suffixes = (".gif", ".mp4") if is_clip(made_by.shape) else (".png",)
        results |= {"codes": "codes.npy", "files": [row + suffix for row in rows for suffix in suffixes]}
        if is_clip(made_by.shape):
            for name in ("grid.gif", "grid.mp4"):
                write_clip(run.folder / name, film(images), SIDE)
            results |= {"film": "grid.gif", "video": "grid.mp4"} | _streams(
                made_by, images, drawn, run.folder
            )
        if asked is not None:
            results["classes"] = torch.bincount(asked, minlength=len(made_by.class_names or ())).tolist()
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
        return
    report(made_by.name, {"samples": len(images), "grid": run.folder / "grid.png"}, run.folder)


def _streams(generator: Generator, clips: Tensor, codes: Tensor, folder: Path) -> dict[str, Any]:
    """The streams of the first clips: beside one another as a picture and a film, and as arrays."""
    import torch

    from ostrich.figures.clips import film, stills, write_clip
    from ostrich.images import grid, write_png

    few = clips[:STREAMS]
    foreground, mask, background = generator.streams(codes[:STREAMS])
    shown = [few, foreground, mask, background]  # left to right
    columns = torch.stack([one.expand_as(few) for one in shown], 1).flatten(0, 1)  # (4 N, C, T, H, W)
    write_clip(folder / "streams.gif", film(columns, len(shown)), SIDE)
    write_png(folder / "streams.png", grid(stills(columns), len(shown)))
    for name, values in (("foreground", foreground), ("mask", mask), ("background", background)):
        _write_array(folder / f"streams/{name}.npy", values)
    return {"streams": "streams.png", "streams_film": "streams.gif"}


def interpolate(
    generator: g.GeneratorArgument,
    rows: Annotated[int, typer.Option(help="ways, each of its own codes")] = 6,
    steps: Annotated[int, typer.Option(help="images of each way, its ends included")] = 9,
    start: Annotated[str | None, typer.Option("--from", metavar="CLASS", help="go from this class")] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="CLASS", help="to this one, by a fixed code")
    ] = None,
    truncation: g.Truncation = None,
    gif: Annotated[
        bool, typer.Option("--gif", help="the ways there and back as interpolation.gif; clips play, always")
    ] = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    out: o.Out = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Walk between codes, straight if uniform, on the great circle if normal; or between classes."""
    from ostrich.cli.session import report
    from ostrich.errors import InputError
    from ostrich.figures.clips import film, is_clip, stills, write_clip
    from ostrich.generative import load_generator
    from ostrich.images import grid, magnified, write_gif, write_png
    from ostrich.models.loading import pick_device

    if rows < 1 or steps < 2:
        raise InputError(f"There is at least 1 row and 2 steps; got {rows} and {steps}.")
    if (start is None) != (end is None):
        raise InputError("A way between classes has both ends: --from CLASS --to CLASS.")
    made_by = load_generator(generator, pick_device(device))
    ends = None
    if start is not None and end is not None:
        ends = (made_by.class_index(start), made_by.class_index(end))
    codes = made_by.codes.numbered(range(2 * rows), seed, truncation)
    what = {"rows": rows, "steps": steps, "from": start, "to": end, "truncation": truncation, "gif": gif}
    with g.begun("interpolate", made_by, what, seed, out, force) as run:
        if ends is not None:
            shares = [step / (steps - 1) for step in range(steps)]
            frames = made_by.between_classes(codes[:rows], *ends, shares)  # (S, R, C, H, W)
            way = "between classes"
        else:
            frames = walked(made_by, codes, steps)
            way = "great circle" if made_by.codes.kind == "normal" else "straight"
        ways = frames.transpose(0, 1).flatten(0, 1)  # row by row
        write_png(run.folder / "sheet.png", grid(stills(ways), steps))
        if is_clip(made_by.shape):
            gif = True
            write_clip(run.folder / "interpolation.gif", film(ways, steps), SIDE)
        elif gif:
            larger = [magnified(grid(frame, min(rows, 3)), SIDE) for frame in frames]
            write_gif(run.folder / "interpolation.gif", [*larger, *larger[-2:0:-1]], MILLISECONDS)
        results = {"rows": rows, "steps": steps, "way": way, "sheet": "sheet.png"}
        results |= {"gif": "interpolation.gif"} if gif else {}
        run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
        return
    report(made_by.name, {"way": way, "sheet": run.folder / "sheet.png"}, run.folder)


def walked(generator: Generator, codes: Tensor, steps: int) -> Tensor:
    """Images (steps, rows, C, H, W) on the ways from the first half of codes (2 rows, Z) to the second."""
    import torch

    rows = len(codes) // 2
    classes = generator.in_turn(range(rows), None)
    ways = generator.codes.between(codes[:rows], codes[rows:], steps)
    return torch.stack([generator(here, classes) for here in ways])


def _read_codes(path: Path) -> Tensor:
    import numpy as np
    import torch

    from ostrich.errors import InputError

    try:
        return torch.from_numpy(np.load(path, allow_pickle=False)).float()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"The codes {str(path)!r} cannot be read as .npy ({error}).") from None


def _write_array(path: Path, values: Tensor) -> None:
    import io

    import numpy as np

    from ostrich.runtime.files import write_bytes

    content = io.BytesIO()
    np.save(content, values.numpy())
    write_bytes(path, content.getvalue())


def _class_name(generator: Generator, classes: Tensor | None, i: int) -> str:
    names: Sequence[str] = generator.class_names or ()
    return names[int(classes[i])] if classes is not None else ""


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
