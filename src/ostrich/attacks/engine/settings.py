"""An attack from its name and text settings, as the command line gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ostrich.attacks.eot import EOT
from ostrich.runtime.settings import read, read_value


def configure(method: type[Any], settings: Mapping[str, str]) -> Any:
    """The attack with `settings`, NAME=VALUE; `norm` and `eps` are short for its threat model.

    Raises UnknownName for a setting the attack does not have, InputError for a value it refuses.
    """
    has_budget = any(field.name == "threat" for field in fields(method))
    budget = ("norm", "eps") if has_budget else ()
    own = {name: text for name, text in settings.items() if name not in budget}
    values = read(method, own, method.name, also=budget)
    if has_budget and "eps" in settings:
        values["eps"] = read_value("eps", settings["eps"], float)
    if has_budget and "norm" in settings:
        values["norm"] = settings["norm"]
    return method(**values)


def configure_eot(settings: Mapping[str, str]) -> tuple[EOT | None, dict[str, str]]:
    """What `eot=SAMPLES` and `eot.NAME=VALUE` say, None where nothing, and the other settings."""
    own = {name: text for name, text in settings.items() if name.partition(".")[0] == "eot"}
    others = {name: text for name, text in settings.items() if name not in own}
    if not own:
        return None, others
    fields_of_eot = {name.partition(".")[2] or "samples": text for name, text in own.items()}
    return EOT(**read(EOT, fields_of_eot, "eot")), others
