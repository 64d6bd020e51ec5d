"""The crash test's report: one HTML file that needs nothing but itself.

`write_report` reads what a run left in its folder (`run.json`, `probes/NAME.json` and the pictures
they name) and computes nothing anew. Pictures travel inside the page: originals and adversarial
examples byte for byte, because they are the evidence; large other pictures re-encoded to keep the
page light. Every text may come from a stranger (class names, file names), so the template escapes
all of it, and the page's own policy allows only the one script whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from ostrich.errors import InputError
from ostrich.figures.curve import Curve, percent
from ostrich.runtime.files import write_bytes

HERE = Path(__file__).parent
SMALL = 128  # pixels; pictures up to this side are enlarged by whole numbers, pixels crisp
HEAVY = 48 * 1024  # bytes; larger pictures that are no evidence are re-encoded
LONGEST = 960  # pixels of a re-encoded picture's longer side: twice the widest place in the page
TELLING = 3  # figures on the first screen


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as the page shows it: its data: address, its size in pixels, and where its file lies."""

    source: str
    width: int
    height: int

    @property
    def small(self) -> bool:
        return max(self.width, self.height) <= SMALL


def write_report(folder: Path) -> Path:
    """Write `folder/index.html` from the run's own files, whole or not at all, and return its path.

    Raises InputError where run.json is missing or unreadable, AssertionError for a block of unknown
    kind or a picture outside the folder: both are faults of a probe, not of its user.
    """
    folder = Path(folder)
    run = _read(folder / "run.json")
    names = list(run["results"]["probes"])
    extra = sorted(p.stem for p in (folder / "probes").glob("*.json") if p.stem not in names)
    probes = [_probe(folder, name) for name in names + extra]
    script = (HERE / "assets" / "report.js").read_text("utf-8")
    page = _template().render(
        run=run,
        results=run["results"],
        probes=probes,
        telling=_telling(probes),
        best_pair=_best_pair(probes),
        style=(HERE / "assets" / "report.css").read_text("utf-8"),
        script=script,
        embedded=_embedder(folder),
        unique=itertools.count(1).__next__,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    target = folder / "index.html"
    write_bytes(target, page.encode("utf-8", "replace"))  # a stranger's file name may be no valid text
    return target


# What goes where ---------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"There is no {str(path)!r}; give the folder of a finished `ostrich check`."
        ) from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not JSON ({error}). Run the check again.") from None


def _probe(folder: Path, name: str) -> dict[str, Any]:
    """A probe's answer, or a failed one in its place: one broken probe does not cost the others."""
    empty: dict[str, Any] = {
        "name": name,
        "title": name,
        "status": "failed",
        "reason": None,
        "sentence": None,
    }
    empty |= {"how_to_read": None, "command": None, "seconds": None, "blocks": []}
    try:
        return empty | _read(folder / "probes" / f"{name}.json")
    except InputError as error:
        return empty | {"reason": f"The probe left no readable answer. {error}"}


def _telling(probes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures of the first screen: each probe's first number in order of worth, then the others.

    Numbers without a value come last.
    """
    ranked = []
    for order, probe in enumerate(probes):
        numbers = [block for block in probe["blocks"] if block["kind"] == "number"]
        ranked += [((block["value"] is None, place, order), block) for place, block in enumerate(numbers)]
    ranked.sort(key=lambda entry: entry[0])
    return [block for _, block in ranked[:TELLING]]


def _best_pair(probes: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first pair of `targeted-pair`, else of the first probe that shows one."""
    for probe in sorted(probes, key=lambda p: p["name"] != "targeted-pair"):
        for block in probe["blocks"]:
            if block["kind"] == "pairs" and block["items"]:
                return block["items"][0]
    return None


# What the template calls -------------------------------------------------------------------------


@cache
def _template() -> Template:
    """The page, compiled once per process."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "cell": _cell, "address": _address}
    environment.globals |= {
        "curve_of": Curve,
        "basename": lambda file: PurePosixPath(file).name,
        "unknown_kind": _unknown_kind,
    }
    return environment.get_template("report.html.j2")


def _unknown_kind(kind: str) -> NoReturn:
    raise AssertionError(f"the report does not know how to draw a block of kind {kind!r}")


def _cell(value: object) -> str:
    """A table's cell as text."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _address(file: str) -> str:
    """A relative link: `./` and the percent-encoded path, which no scheme can hide in."""
    return "./" + quote(os.fsencode(file))


def _embedder(folder: Path) -> Callable[..., Picture | None]:
    """A function from a file name to its picture, None where the file is missing or no picture."""

    @cache
    def embedded(file: str, evidence: bool = False) -> Picture | None:
        path = folder / file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise AssertionError(f"picture {file!r} lies outside the run's folder")
        try:
            raw = path.read_bytes()
            with Image.open(io.BytesIO(raw)) as picture:
                width, height = picture.size
                kind = Image.MIME[picture.format or ""]
                if not evidence and len(raw) > HEAVY and max(picture.size) > SMALL:
                    raw, kind = _lighter(picture, raw, kind)
        except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
            return None
        source = f"data:{kind};base64,{base64.b64encode(raw).decode()}"
        return Picture(source=source, width=width, height=height)

    return embedded


def _lighter(picture: Image.Image, raw: bytes, kind: str) -> tuple[bytes, str]:
    """The picture as WebP of at most LONGEST pixels, or as it was where that is no gain."""
    small = picture.convert("RGB")
    small.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=82)
    return (buffer.getvalue(), "image/webp") if buffer.tell() < len(raw) else (raw, kind)
