"""The architectures of Ostrich by name, and the `arch:` spec: `resnet20,classes=10,width=0.5`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from ostrich.errors import InputError, UnknownName
from ostrich.models.residual import SmallNet

RENAMED = {"classes": "num_classes"}  # the short names of the command line


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build a network, and the image size (H, W) it was published for."""

    name: str
    build: Callable[..., nn.Module]
    size: tuple[int, int]
    source: str

    def options(self) -> list[str]:
        """The options of the spec: the builder's parameters, and the image size."""
        fixed = set(self.build.keywords) if isinstance(self.build, partial) else set()
        short = {long: name for name, long in RENAMED.items()}
        names = [short.get(p, p) for p in inspect.signature(self.build).parameters if p not in fixed]
        return [*names, "size"]


_HE = "He et al. 2016, Deep residual learning for image recognition, section 4.2"
ARCHITECTURES = {
    entry.name: entry
    for entry in (
        *(
            Architecture(name=f"resnet{d}", build=partial(SmallNet, depth=d), size=(32, 32), source=_HE)
            for d in (8, 14, 20, 32, 44, 56, 110)
        ),
        *(
            Architecture(
                name=f"plain{d}", build=partial(SmallNet, depth=d, residual=False), size=(32, 32), source=_HE
            )
            for d in (8, 14, 20, 32, 44, 56, 110)
        ),
    )
}


def build(spec: str) -> tuple[nn.Module, Architecture, tuple[int, int]]:
    """The network of an `arch:` spec without its prefix, its entry, and its image size (H, W)."""
    name, *settings = spec.split(",")
    if name not in ARCHITECTURES:
        raise UnknownName("architecture", name, ARCHITECTURES)
    entry = ARCHITECTURES[name]
    options: dict[str, int | float | bool] = {}
    size = entry.size
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in entry.options():
            raise UnknownName(f"option of arch:{name}", key, entry.options())
        if key == "size":
            size = parse_size(text)
        else:
            options[RENAMED.get(key, key)] = _value(f"arch:{name},{setting}", text)
    return entry.build(**options), entry, size


def parse_size(text: str | int | tuple[int, int]) -> tuple[int, int]:
    """N or HxW as (H, W). Raises InputError."""
    if isinstance(text, tuple):
        return text
    parts = str(text).lower().split("x")
    if len(parts) in (1, 2) and all(part.isdigit() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise InputError(f"A size is N or HxW in pixels, for example 224 or 240x320; got {text!r}.")


def _value(where: str, text: str) -> int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InputError(f"{where}: {text!r} is neither a number nor true or false.")
