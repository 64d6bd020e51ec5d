"""MODEL as text, and its options: `NAME,classes=3,in_chans=1`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ostrich.errors import InputError, first_line
from ostrich.models.checkpoints import Checkpoint

RENAMED = {"classes": "num_classes"}  # the short names of the command line
WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is said beside MODEL that decides how its network is made.

    `own_weights`: they come from a file, `checkpoint`. `output` is --output.
    """

    own_weights: bool = False
    checkpoint: Checkpoint | None = None
    output: str | None = None


@dataclass(frozen=True, kw_only=True)
class Builder:
    """How to make the same network with a head for another number of classes than `classes`."""

    classes: int
    build: Callable[[int], nn.Module]


def with_options(text: str) -> tuple[str, dict[str, Any]]:
    """A name and the options after it. A name may hold commas, and so may a path."""
    name, *settings = re.split(r",(?=[A-Za-z_]\w*=)", text)
    pairs = (setting.split("=", 1) for setting in settings)
    return name, {RENAMED.get(key, key): _value(value) for key, value in pairs}


def count_of_classes(model: str, options: dict[str, Any], default: int) -> int:
    """`num_classes` of the options, checked. Raises InputError."""
    count = options.get("num_classes", default)
    if type(count) is not int or count < 1:
        raise InputError(f"{model}: classes is a whole number, at least 1; got {count!r}.")
    return count


def constructed(model: str, make: Callable[[], nn.Module]) -> nn.Module:
    """A library's network. Raises InputError for options that it does not take."""
    try:
        return make()
    except (TypeError, ValueError, AssertionError) as error:
        reason = first_line(error)
        raise InputError(f"{model} cannot be made with these options: {reason}") from error


def _value(text: str) -> Any:
    """A number, true, false, none; else the text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
