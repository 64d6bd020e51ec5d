"""What changed between two golden results, bit for bit or within a tolerance: `goldens.py` has the rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

FEW = 10  # images, where a command does not say how many
ABSENT = "(absent)"
SHARES = ("rate", "accuracy", "share", "precision", "recall")


def differences(name: str, kept: Mapping[str, Any], now: Mapping[str, Any], *, exactly: bool) -> list[str]:
    """A sentence for each field that changed."""
    if exactly:
        return [told(name, *found) for found in changed("", kept, now, lambda path, a, b: a == b)]
    n = kept["results"].get("n") if isinstance(kept["results"], dict) else None
    fields = [{"command": found["command"], "results": found["results"]} for found in (kept, now)]
    return [
        told(name, *found) for found in changed("", *fields, lambda path, a, b: alike(path, a, b, n or FEW))
    ]


def changed(
    path: str, kept: Any, now: Any, same: Callable[[str, Any, Any], bool]
) -> Iterator[tuple[str, Any, Any]]:
    """The fields, as (path, old, new), that are not the same."""
    if isinstance(kept, dict) and isinstance(now, dict):
        for key in [*kept, *(key for key in now if key not in kept)]:
            yield from changed(f"{path}.{key}".lstrip("."), kept.get(key, ABSENT), now.get(key, ABSENT), same)
    elif isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        for i, (old, new) in enumerate(zip(kept, now)):
            yield from changed(f"{path}[{i}]", old, new, same)
    elif type(kept) is not type(now) or not same(path, kept, now):
        yield path, kept, now


def alike(path: str, kept: Any, now: Any, n: int) -> bool:
    """Whether two results may differ by rounding alone.

    Numbers are within 1 % or 0.001; shares of n images within one image more; counts and costs (an
    image may need a step more) within a fifth or 1. Words are the same; sentences with a digit are not
    compared, for they quote figures.
    """
    if isinstance(kept, str):
        return kept == now or path == "command" or _quotes(kept + now)
    if isinstance(kept, bool) or kept is None or isinstance(kept, dict | list):
        return bool(kept == now)
    field = path.rpartition(".")[2]
    if isinstance(kept, int) or "forwards" in field or "backwards" in field:
        return abs(kept - now) <= max(1, 0.2 * abs(kept))
    slack = 1 / n if field.endswith(SHARES) else 0.0
    return bool(abs(kept - now) <= max(0.01 * abs(kept), 1e-3) + slack)


def told(name: str, path: str, old: Any, new: Any) -> str:
    """What changed, in one line."""
    return f"{name}: {path} was {json.dumps(old)}, is {json.dumps(new)}"


def _quotes(text: str) -> bool:
    return " " in text and any(c.isdigit() for c in text)
