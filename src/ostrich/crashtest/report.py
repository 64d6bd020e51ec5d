"""The crash test's report: one HTML file that needs nothing but itself.

`write_report` reads what a run left in its folder (`run.json`, `probes/NAME.json` and the pictures they
name), compares it with its types (`answer.py`, `blocks.py`), and computes nothing anew. Pictures travel
inside the page: originals and adversarial examples byte for byte, because they are the evidence; large other
pictures re-encoded to keep the page light. Every text may come from a stranger (class names, file names), so
the template escapes all of it, and the page's own policy allows only the one script whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from ostrich.crashtest.answer import ProbeAnswer, Results
from ostrich.crashtest.blocks import Number, Pair, Pairs
from ostrich.figures.curve import Curve, percent
from ostrich.runtime.files import read_json, write_bytes
from ostrich.runtime.runs import read_run
from ostrich.runtime.schema import validated

HERE = Path(__file__).parent
SMALL = 128  # pixels; pictures up to this side are enlarged by whole numbers, pixels crisp
HEAVY = 48 * 1024  # bytes; larger pictures that are no evidence are re-encoded
LONGEST = 960  # pixels of a re-encoded picture's longer side: twice the widest place in the page
KEY_FIGURES = 3  # on the first screen


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A picture as the page shows it: its data: address, its size in pixels, and where its file lies."""

    source: str
    width: int
    height: int

    @property
    def small(self) -> bool:
        return max(self.width, self.height) <= SMALL


def write_report(folder: Path) -> Path:
    """Write `folder/index.html` from the run's own files, whole or not at all, and return its path.

    Raises InputError where run.json is missing, unreadable, of a newer Ostrich or of another command, and
    AssertionError for a picture outside the folder: a fault of a probe, not of its user.
    """
    folder = Path(folder)
    run = read_run(folder)
    other = f"{str(folder)!r} holds no finished `ostrich check`"
    results: Results = validated(Results, run["results"], other)
    names = list(results["probes"])
    extra = sorted(p.stem for p in (folder / "probes").glob("*.json") if p.stem not in names)
    probes = [_probe(folder, name) for name in names + extra]
    script = (HERE / "assets" / "report.js").read_text("utf-8")
    page = _template().render(
        run=run,
        results=results,
        probes=probes,
        key_figures=_key_figures(probes),
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


def _probe(folder: Path, name: str) -> ProbeAnswer:
    """A probe's answer, or a failed one in its place: one broken probe does not cost the others."""
    file = folder / "probes" / f"{name}.json"
    try:
        answer: ProbeAnswer = validated(
            ProbeAnswer, read_json(file, checked=False), f"{name}.json is damaged"
        )
    except FileNotFoundError:
        reason = f"There is no {str(file)!r}."
    except (OSError, ValueError) as error:  # InputError is a ValueError
        reason = str(error)
    else:
        return answer
    unreadable = f"The probe left no readable answer. {reason}"
    return ProbeAnswer(name=name, title=name, status="failed", reason=unreadable)


def _key_figures(probes: list[ProbeAnswer]) -> list[Number]:
    """The figures of the first screen: each probe's first number in order of worth, then the others.

    Numbers without a value come last.
    """
    ranked = []
    for order, probe in enumerate(probes):
        numbers = [block for block in probe.blocks if isinstance(block, Number)]
        ranked += [((block.value is None, place, order), block) for place, block in enumerate(numbers)]
    ranked.sort(key=lambda entry: entry[0])
    return [block for _, block in ranked[:KEY_FIGURES]]


def _best_pair(probes: list[ProbeAnswer]) -> Pair | None:
    """The first pair of `targeted-pair`, else of the first probe that shows one."""
    for probe in sorted(probes, key=lambda p: p.name != "targeted-pair"):
        for block in probe.blocks:
            if isinstance(block, Pairs) and block.items:
                return block.items[0]
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
        "curve_of": lambda block: Curve(block.model_dump()),
        "basename": lambda file: PurePosixPath(file).name,
    }
    return environment.get_template("report.html.j2")


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


def _embedder(folder: Path) -> Callable[..., Embedded | None]:
    """A function from a file name to its picture, None where the file is missing or no picture."""

    @cache
    def embedded(file: str, evidence: bool = False) -> Embedded | None:
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
        return Embedded(source=source, width=width, height=height)

    return embedded


def _lighter(picture: Image.Image, raw: bytes, kind: str) -> tuple[bytes, str]:
    """The picture as WebP of at most LONGEST pixels, or as it was where that is no gain."""
    small = picture.convert("RGB")
    small.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=82)
    return (buffer.getvalue(), "image/webp") if buffer.tell() < len(raw) else (raw, kind)
