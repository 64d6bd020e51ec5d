"""Something of the user's own, from a file of theirs: a network's function, an attack's class."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from ostrich.errors import InputError, UnknownName


def from_file(path: Path, name: str) -> Any:
    """What is called `name` in the Python file `path`, which may import its neighbours.

    Raises InputError where there is no such file or it fails, UnknownName for another name.
    """
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    spec = importlib.util.spec_from_file_location(f"_ostrich_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{str(path)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their annotations up there
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{str(path)!r} cannot be imported: {error!r}.") from error
    finally:
        sys.path.pop(0)
    known = vars(module)
    if name not in known:
        own = [n for n, v in known.items() if callable(v) and not n.startswith("_")]
        raise UnknownName(f"function in {path.name}", name, own)
    return known[name]


def checksum(path: Path) -> str:
    """Of the file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
