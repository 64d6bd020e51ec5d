"""The studies' pages stand below their index, which `docs/studies.py` writes for readers of files too."""

from __future__ import annotations

from typing import Any

TREE = "\n\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def read(app: Any, name: str, source: list[str]) -> None:
    """Sphinx's hook: the index is given its tree."""
    if name == "studies/README":
        source[0] += TREE


def setup(app: Any) -> dict[str, bool]:
    """Hook it in."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
