"""Docstrings of this project are plain text: here they become reStructuredText that says the same.

A paragraph stays one; lines `name   meaning` become a list of settings; what is indented stays as it is
written; examples stay examples. Nothing in a sentence is markup but `code`.
"""

from __future__ import annotations

import re
from typing import Any

SETTING = re.compile(r"^(\w+(?:, \w+)*) {2,}(\S.*)$")
DASH = re.compile(r"^(?:- |\* )")


def converted(lines: list[str]) -> list[str]:
    """The docstring as reStructuredText."""
    out: list[str] = []
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            out += [*_block(block), ""]
            block = []
    return out


def _block(block: list[str]) -> list[str]:
    if block[0].lstrip().startswith(">>>"):
        return [line.strip() for line in block]
    if SETTING.match(block[0]):
        return settings(block)
    if block[0].startswith(" ") or any("──" in line for line in block):
        return ["::", "", *("    " + line for line in block)]
    if DASH.match(block[0]):
        return [escaped(line) for line in block]
    for place, line in enumerate(block):  # a paragraph, and right below it a list or what is indented
        if place and (SETTING.match(line) or line.startswith("    ")):
            return [*_prose(block[:place]), "", *_block(block[place:])]
    return _prose(block)


def _prose(block: list[str]) -> list[str]:
    """A paragraph; `code` may go over the end of a line."""
    return escaped("\n".join(line.strip() for line in block)).split("\n")


def settings(block: list[str]) -> list[str]:
    """Lines `name   meaning`, the meaning going on where it is indented, as a definition list."""
    out: list[str] = []
    for line in block:
        found = SETTING.match(line)
        if found:
            out += [f"``{found[1]}``", f"    {escaped(found[2])}"]
        elif line.startswith(" "):
            out.append(f"    {escaped(line.strip())}")
        else:
            out += ["", escaped(line)]
    return out


def escaped(line: str) -> str:
    """A line in which only `code` is markup."""
    parts = re.split(r"(`+[^`]+`+)", line)
    return "".join(
        f"``{' '.join(part.strip('`').split())}``"
        if part.startswith("`")
        else re.sub(r"([*|\\_])", r"\\\1", part)
        for part in parts
    )


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's hook."""
    lines[:] = converted(list(lines))


def setup(app: Any) -> dict[str, bool]:
    """Hook it in."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
