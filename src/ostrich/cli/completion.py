"""What the shell completes: the names in `names.json` (`make api` writes it), so that nothing is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.resources import files


def completing(*kinds: str) -> Callable[[str], list[str]]:
    """For an argument of Typer: the names of these kinds that begin with what is typed."""

    def complete(incomplete: str) -> list[str]:
        known = json.loads(files("ostrich.cli").joinpath("names.json").read_text(encoding="utf-8"))
        names = [name for kind in kinds for name in known[kind]]
        found = [name for name in names if name.startswith(incomplete)]
        if not found and os.environ.get("_OSTRICH_COMPLETE") == "complete_bash":
            # for bash a colon ends a word: of zoo:toybox it asks for toybox
            ends = [name.partition(":")[2] for name in names]
            found = [end for end in ends if end.startswith(incomplete)]
        return found

    return complete
