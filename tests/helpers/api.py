"""The public names, their signatures and defaults, as text: `tests/documentation/api.txt`.

`python tests/helpers/api.py` (`make api`) writes them anew, and with them the names that the shell completes,
`src/ostrich/cli/names.json`. A change of either is a change for users: see CHANGELOG.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
API = ROOT / "tests/documentation/api.txt"
COMPLETED = ROOT / "src/ostrich/cli/names.json"
MODULES = (
    "ostrich",
    "ostrich.attacks",
    "ostrich.attribution",
    "ostrich.corruptions",
    "ostrich.data",
    "ostrich.generative",
    "ostrich.visualization",
)
NAMESPACES = ("ostrich.generate",)  # of verbs


def api() -> str:
    """A line for each public name, and one for each public method of a class."""
    lines: list[str] = []
    for module in MODULES:
        lines += described(module, import_module(module))
    for name in NAMESPACES:
        lines += described(name, getattr(import_module("ostrich"), name.rpartition(".")[2]))
    return "\n".join(lines) + "\n"


def described(path: str, module: ModuleType) -> Iterator[str]:
    for name in sorted(module.__all__):
        value = getattr(module, name)
        if inspect.isclass(value):
            yield f"{path}.{name}{signature(value)}"
            yield from methods(f"{path}.{name}", value)
        elif callable(value):
            yield f"{path}.{name}{signature(value)}"
        elif inspect.ismodule(value):
            yield f"{path}.{name}  (module)"
        else:
            yield f"{path}.{name}: {type(value).__name__}"


def methods(path: str, kind: type) -> Iterator[str]:
    """Of the class itself and its bases in Ostrich."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("ostrich.")]
    for name in sorted({name for base in ours for name in vars(base) if not name.startswith("_")}):
        value = inspect.getattr_static(kind, name)
        if isinstance(value, property):
            yield f"{path}.{name}  (property)"
        elif isinstance(value, staticmethod | classmethod) or inspect.isfunction(value):
            yield f"{path}.{name}{signature(getattr(kind, name))}"


def signature(value: Any) -> str:
    """Parameters with annotations as they were written, and defaults; alike in every version of Python."""
    try:
        found = inspect.signature(value)
    except ValueError:  # of a class that says nothing of it
        return "(...)"
    parts, kinds = [], [p.kind for p in found.parameters.values()]
    for place, (name, parameter) in enumerate(found.parameters.items()):
        kind = parameter.kind
        first_named = kind is parameter.KEYWORD_ONLY and kind not in kinds[:place]
        if first_named and parameter.VAR_POSITIONAL not in kinds:
            parts.append("*")
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(kind, "")
        text = f"{star}{name}{typed(': ', parameter.annotation)}"
        parts.append(
            text if parameter.default is parameter.empty else f"{text} = {default(parameter.default)}"
        )
    return f"({', '.join(parts)}){typed(' -> ', found.return_annotation)}"


def typed(before: str, annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return before + text.replace("'", "")


def default(value: Any) -> str:
    """Without places in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def completed() -> dict[str, list[str]]:
    """What has a name on the command line."""
    from ostrich.attacks import ATTACKS
    from ostrich.attribution import EXPLAINERS
    from ostrich.data.forms import FORMS
    from ostrich.generative.generator import known_generators
    from ostrich.generative.recipe import RECIPES as GAMES
    from ostrich.models.bundled import known_models
    from ostrich.models.detectors import known_detectors
    from ostrich.studies import STUDIES
    from ostrich.training.recipe import RECIPES

    return {
        "attacks": list(ATTACKS),
        "data": [name for name in FORMS if name.islower()],
        "explainers": [*EXPLAINERS, "sheet"],
        "games": list(GAMES),
        "generators": [row["name"] for row in known_generators()],
        "models": [row["name"] for row in (*known_models(), *known_detectors())],
        "recipes": list(RECIPES),
        "studies": list(STUDIES),
    }


def completed_text() -> str:
    return json.dumps(completed(), indent=2) + "\n"


if __name__ == "__main__":
    API.write_text(api(), encoding="utf-8")
    COMPLETED.write_text(completed_text(), encoding="utf-8")
