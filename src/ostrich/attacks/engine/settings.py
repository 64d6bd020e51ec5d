"""An attack from its name and text settings, as the command line gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ostrich.attacks.eot import EOT
from ostrich.attacks.threats import NORMS, Unbounded
from ostrich.errors import UnknownName
from ostrich.runtime.settings import read, read_value

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
    budget = any(f.name == "threat" for f in fields(method))
    threat = ("norm", "eps") if budget else ()
    own = {name: text for name, text in settings.items() if name not in threat}
    values = read(method, own, method.name, also=threat)
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


def configure_eot(settings: Mapping[str, str]) -> tuple[EOT | None, dict[str, str]]:
    """What `eot=SAMPLES` and `eot.NAME=VALUE` say, None where nothing, and the other settings."""
    own = {name: text for name, text in settings.items() if name.partition(".")[0] == "eot"}
    others = {name: text for name, text in settings.items() if name not in own}
    if not own:
        return None, others
    fields_of_eot = {name.partition(".")[2] or "samples": text for name, text in own.items()}
    return EOT(**read(EOT, fields_of_eot, "eot")), others
