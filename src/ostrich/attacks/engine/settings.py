"""An attack from its name and text settings, as the command line gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ostrich.attacks.eot import EOT
from ostrich.runtime.settings import read, read_value

BUDGET = {"norm": str, "eps": float}  # short for the threat model


def configure(method: type[Any], settings: Mapping[str, str]) -> Any:
    """The attack with `settings`, NAME=VALUE; `norm` and `eps` are short for its threat model.

    Raises UnknownName for a setting the attack does not have, InputError for a value it refuses.
    """
    return method(**read_settings(method, settings))


def read_settings(
    method: type[Any], settings: Mapping[str, str], also: Mapping[str, type[Any]] | None = None
) -> dict[str, Any]:
    """The values of settings of an attack, which its class takes, and of those in `also`.

    Raises UnknownName for a setting that there is not, InputError for a value of another type.
    """
    has_budget = any(field.name == "threat" for field in fields(method))
    others = (BUDGET if has_budget else {}) | dict(also or {})
    own = {name: text for name, text in settings.items() if name not in others}
    values = read(method, own, method.name, also=tuple(others))
    return values | {
        name: read_value(name, settings[name], kind) for name, kind in others.items() if name in settings
    }


def configure_eot(settings: Mapping[str, str]) -> tuple[EOT | None, dict[str, str]]:
    """What `eot=SAMPLES` and `eot.NAME=VALUE` say, None where nothing, and the other settings."""
    own = {name: text for name, text in settings.items() if name.partition(".")[0] == "eot"}
    others = {name: text for name, text in settings.items() if name not in own}
    if not own:
        return None, others
    fields_of_eot = {name.partition(".")[2] or "samples": text for name, text in own.items()}
    return EOT(**read(EOT, fields_of_eot, "eot")), others
