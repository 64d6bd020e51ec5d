"""An attack from its name and text settings, as the command line gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any, get_type_hints

from ostrich.attacks.threats import NORMS, Unbounded
from ostrich.attacks.transformations import EOT
from ostrich.errors import InputError, UnknownName

EPS = {
    "linf": 8 / 255,
    "l2": 0.5,
    "l1": 12.0,
    "l0": 1,
    "patch": 0.08,
    "lab": 10.0,
}  # budgets where none is given: the usual ones


def configure(method: type[Any], settings: Mapping[str, str]) -> Any:
    """The attack with `settings`, NAME=VALUE; `norm` and `eps` make its threat model.

    Without `eps` it is the attack's own where the norm is its own, else the field's usual one, and none
    for an attack whose default has none.

    Raises UnknownName for a setting the attack does not have, InputError for a value it refuses.
    """
    hints = get_type_hints(method)
    known = settings_of(method)
    budget = any(f.name == "threat" for f in fields(method))
    allowed = [*known, "norm", "eps"] if budget else known
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in allowed:
            raise UnknownName(f"setting of {method.name}", name, allowed)
        if name in known:
            values[name] = read_value(name, text, hints[name])
    if budget and ("norm" in settings or "eps" in settings):
        norm = settings.get("norm", method.norms[0])
        if norm not in method.norms:
            raise UnknownName(f"norm of {method.name}", norm, method.norms)
        if "eps" in settings:
            values["threat"] = NORMS[norm](read_value("eps", settings["eps"], float))
        elif method.threat.eps == float("inf"):  # a smallest change needs no budget
            values["threat"] = Unbounded(norm)
        elif norm == method.threat.norm:
            values["threat"] = method.threat
        else:
            values["threat"] = NORMS[norm](EPS[norm])
    return method(**values)


def settings_of(method: type[Any]) -> list[str]:
    """The names of its settings; norm and eps stand for the budget, and a mesh's views are none."""
    return [f.name for f in fields(method) if f.name not in ("threat", "shown")]


def configure_eot(settings: Mapping[str, str]) -> tuple[EOT | None, dict[str, str]]:
    """What `eot=SAMPLES` and `eot.NAME=VALUE` say, None where nothing, and the other settings."""
    own = {name: text for name, text in settings.items() if name.partition(".")[0] == "eot"}
    others = {name: text for name, text in settings.items() if name not in own}
    if not own:
        return None, others
    hints = get_type_hints(EOT)
    values: dict[str, Any] = {}
    for name, text in own.items():
        field = name.partition(".")[2] or "samples"
        if field not in hints:
            raise UnknownName("setting of eot", field, list(hints))
        values[field] = read_value(name, text, hints[field])
    return EOT(**values), others


def read_value(name: str, text: str, kind: Any) -> Any:
    """Text as int, float (fractions such as 8/255 too), bool or str. Raises InputError."""
    kinds = getattr(kind, "__args__", (kind,))
    if text.lower() in ("none", "") and type(None) in kinds:
        return None
    try:
        if bool in kinds:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        if int in kinds:
            return int(text)
        if float in kinds:
            number = float(Fraction(text)) if "/" in text else float(text)
            if math.isfinite(number):
                return number
            raise ValueError(text)
    except (ValueError, KeyError, ZeroDivisionError):
        expected = "true or false" if bool in kinds else "a whole number" if int in kinds else "a number"
        raise InputError(f"{name}={text}: {expected} is expected.") from None
    return text
