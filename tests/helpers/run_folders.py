"""What two run directories of the same question have in common: all but times, commands and versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from goldens import of_picture

from ostrich.runtime.files import read_tensors

TIMES = ("seconds", "checksum", "command", "versions")  # of JSON; a checksum is of the times too
LINES = ("- CPU hours", "- command")  # of a report
PICTURES = (".png", ".gif")


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a run directory by its name, without what tells when and by whom it was made."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _content(path) for path in files}


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return timeless(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".pt":
        return repr(timeless(read_tensors(path)))
    if path.suffix == ".md":
        return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(LINES)]
    return of_picture(path) if path.suffix in PICTURES else path.read_bytes()


def timeless(content: Any) -> Any:
    """The same without the entries that tell times, commands and versions."""
    if isinstance(content, dict):
        return {name: timeless(value) for name, value in content.items() if name not in TIMES}
    return [timeless(one) for one in content] if isinstance(content, list | tuple) else content
