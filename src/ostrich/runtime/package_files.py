"""Files that other packages carry, found without importing the package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def package_file(package: str, file: str | Path) -> Path | None:
    """Where a package's file would lie; None where the package is not installed."""
    found = find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent / file
