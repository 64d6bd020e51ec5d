"""What the templates of the pages call."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ostrich.crashtest.summary import TONES
from ostrich.figures.curve import Curve, percent
from ostrich.runtime.files import write_bytes

HERE = Path(__file__).parent
LONG_TABLE = 8  # rows; a longer table opens on a click
CLASS_ROWS = 12


def write_page(target: Path, template: str, content: Mapping[str, Any]) -> Path:
    """Write one page, whole or not at all, and return its path."""
    script = (HERE / "assets" / "report.js").read_text("utf-8")
    page = (
        _templates()
        .get_template(template)
        .render(
            **content,
            style=(HERE / "assets" / "report.css").read_text("utf-8"),
            script=script,
            unique=itertools.count(1).__next__,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    write_bytes(target, page.lstrip().encode("utf-8", "replace"))  # a stranger's file name may be no text
    return target


@cache
def _templates() -> Environment:
    """The templates, compiled once per process."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "cell": _cell, "address": _address, "points": points}
    environment.globals |= {
        "curve_of": lambda block: Curve(block.model_dump()),
        "basename": lambda file: PurePosixPath(file).name,
        "tones": TONES,
        "long_table": LONG_TABLE,
        "class_rows": CLASS_ROWS,
    }
    return environment


def _cell(value: object) -> str:
    """A table's cell as text."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def points(difference: float) -> str:
    """A difference of shares, in percentage points."""
    text = f"{100 * abs(difference):.1f}".removesuffix(".0")
    sign = "±" if text == "0" else "−" if difference < 0 else "+"
    return f"{sign}{text} points"


def _address(file: str) -> str:
    """A relative link: `./` and the percent-encoded path, which no scheme can hide in."""
    return "./" + quote(os.fsencode(file))
