"""What is done to a picture before a network sees it, and how that can be said.

`--size` is a plain resize: the picture just covers the input, and the centre is cut out. `--resize`, `--crop`
and `--interpolation` are the published kind, as torchvision's Resize and CenterCrop: the shorter side (or
both, HxW) becomes so long, then the centre is cut out, in 8 bits by Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ostrich.errors import InputError, UnknownName
from ostrich.images import INTERPOLATIONS, LEVELS
from ostrich.models.architectures import parse_size

Size = int | str | tuple[int, int] | None
Numbers = Sequence[float] | float | None


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is chosen instead of the network's own; None: nothing."""

    size: Size = None
    resize: Size = None
    crop: Size = None
    interpolation: str | None = None
    mean: Numbers = None
    std: Numbers = None

    def over(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The facts of a classifier with this in place of its own. Raises InputError."""
        chosen: dict[str, Any] = {}
        if self.size is not None:
            if self.resize is not None or self.crop is not None:
                raise InputError(
                    "--size is a plain resize, --resize and --crop are the published kind: give either. "
                    "For a network of 224 pixels, say --resize 256 --crop 224."
                )
            chosen |= {"size": parse_size(self.size), "resize": None}
        elif self.resize is not None or self.crop is not None:
            chosen |= self._cropped(facts.get("size"))
        if self.interpolation is not None:
            if self.interpolation not in INTERPOLATIONS:
                raise UnknownName("interpolation", self.interpolation, INTERPOLATIONS)
            chosen["interpolation"] = self.interpolation
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None:
                if facts.get("takes_bytes"):
                    raise InputError(
                        f"--{name}: the network takes bytes, 0 to 255, and normalises them itself; leave "
                        "--mean and --std out."
                    )
                chosen[name] = _per_channel(name, values)
        if 1 < max(chosen.get("mean", (0.0,)), default=0.0) < math.inf:
            fitting = " ".join(
                f"--{name} {','.join(f'{value / LEVELS:.4g}' for value in chosen[name])}"
                for name in ("mean", "std")
                if name in chosen
            )
            raise InputError(
                f"A mean of {max(chosen['mean']):g} is one of values in 0..255; means and deviations are of "
                f"images in [0, 1]: {fitting}."
            )
        return {**facts, **chosen}

    def _cropped(self, published: tuple[int, int] | None) -> dict[str, Any]:
        size = published if self.crop is None else parse_size(self.crop)
        if size is None:
            raise InputError(f"--resize {self.resize} needs --crop N|HxW, the network's input size.")
        if self.resize is None:
            return {"size": size, "resize": min(size) if size[0] == size[1] else None}
        both = isinstance(self.resize, tuple) or "x" in str(self.resize).lower()
        height, width = parse_size(self.resize)
        if (both and (height < size[0] or width < size[1])) or (not both and height < max(size)):
            raise InputError(f"--resize {self.resize} is smaller than the crop, {size[0]}x{size[1]}.")
        return {"size": size, "resize": (height, width) if both else height}


def _per_channel(name: str, values: Any) -> tuple[float, ...]:
    """Numbers of any type, one or for each channel. Raises InputError."""
    try:
        return tuple(float(value) for value in np.ravel(values))
    except (TypeError, ValueError):
        raise InputError(
            f"--{name} is a number for each channel, such as 0.5 or 0.485,0.456,0.406; got {values!r}."
        ) from None


def described(
    size: tuple[int, int] | None,
    resize: int | tuple[int, int] | None,
    interpolation: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> str:
    """What is done to a picture, in words."""
    input_size = "any size" if size is None else f"{size[0]}x{size[1]}"
    if isinstance(resize, tuple):
        scaled = f"resized to {resize[0]}x{resize[1]}, centre {input_size}"
    elif resize is not None:
        scaled = f"shorter side to {resize}, centre {input_size}"
    else:
        scaled = f"resized to cover {input_size}, centre"
    normal = "no normalisation"
    if mean is not None or std is not None:
        normal = f"mean {_listed(mean, 0)}, std {_listed(std, 1)}"
    return f"{scaled}, {interpolation}; {normal}"


def _listed(values: Sequence[float] | None, otherwise: float) -> str:
    found = tuple(values) if values is not None else (otherwise,)
    return ",".join(f"{value:.4g}" for value in (found[:1] if len(set(found)) == 1 else found))
