"""What decides a result, as facts: words that an error can say, each with a value or a digest.

What is kept on disk keeps its facts beside it, and is taken up again only where they are the same.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from ostrich.errors import OtherComputation

Facts = Mapping[str, str]
PACKAGES = ("ostrich-vision", "torch", "torchvision", "numpy", "pillow")
DECIDING = ("ostrich", "torch")  # other versions of these may compute something else
MARK = "sha256:"  # before a value that says nothing to a person
SHORT = 40  # characters: a longer value is not said


def digest(*values: Any) -> str:
    """A checksum of tensors by type, shape and content, and of anything else by its repr.

    Of a mapping, a list or a tuple it is that of the parts.
    """
    checksum = hashlib.sha256()
    for value in values:
        if isinstance(value, Mapping):
            checksum.update(repr(sorted((name, digest(part)) for name, part in value.items())).encode())
        elif isinstance(value, list | tuple):
            checksum.update(repr([digest(part) for part in value]).encode())
        elif isinstance(value, Tensor):
            checksum.update(f"{value.dtype}{tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().view(-1)
            checksum.update(flat.view(torch.uint8).numpy().tobytes() if len(flat) else b"")
        else:
            checksum.update(repr(value).encode())
        checksum.update(b";")
    return MARK + checksum.hexdigest()[:16]


def settings_facts(settings: Any, without: Sequence[str] = ()) -> dict[str, str]:
    """Facts: the fields of a dataclass of settings, but those that decide nothing."""
    own = [f.name for f in fields(settings) if f.repr and f.name not in without]
    return {name.replace("_", " "): repr(vars(settings)[name]) for name in own}


@cache
def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found["ostrich" if package == "ostrich-vision" else package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    return dict(_versions())


def deciding_versions() -> dict[str, str]:
    """Facts: the versions of what computes."""
    known = versions()
    return {f"version of {name}": known.get(name, "unknown") for name in DECIDING}


def compare(where: str, before: Facts, now: Facts, command: str = "") -> None:
    """Raises OtherComputation, which says what differs, unless the facts are the same.

    `command` is the one that was given before, where it is known.
    """
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        said = [_said(name, before.get(name), now.get(name)) for name in differing]
        raise OtherComputation(where, said, command)


def _said(name: str, before: str | None, now: str | None) -> str:
    values = [value for value in (before, now) if value is not None]
    if len(values) < 2 or any(value.startswith(MARK) or len(value) > SHORT for value in values):
        return name
    return f"{name} ({before}, now {now})"
