"""The Python reference: autodoc of what `__all__` of the public modules names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import ostrich
from ostrich.attacks import ATTACKS
from ostrich.attribution import EXPLAINERS

ROOT = Path(ostrich.__file__).parents[2]
MODULES = {
    "ostrich": "The verbs",
    "ostrich.attacks": "Attacks, goals and threat models",
    "ostrich.attribution": "Explainers",
    "ostrich.visualization": "Preferred images",
    "ostrich.generative": "Generators",
    "ostrich.data": "Data",
    "ostrich.corruptions": "Common corruptions",
}


def pages(docs: Path) -> Iterator[tuple[str, str]]:
    """One for each public module."""
    seen: set[int] = set()
    for module, title in MODULES.items():
        yield f"python/{module}.md", page(module, title, seen)


def page(module: str, title: str, seen: set[int]) -> str:
    """What a module names, in the order of its names; a name that was shown before is only told."""
    lines = [
        f"# {title}: `{module}`",
        "",
        "```{eval-rst}",
        f".. automodule:: {module}",
        "   :no-members:",
        "",
    ]
    found = import_module(module)
    for name in sorted(found.__all__, key=lambda one: (not one[0].islower(), one.lower())):
        value = getattr(found, name)
        if inspect.ismodule(value):
            lines += (
                []
                if not hasattr(value, "__all__") or value.__name__ in MODULES
                else namespace(f"{module}.{name}", value, seen)
            )
        elif inspect.isclass(value) and id(value) not in seen:
            lines += shown("class", f"{module}.{name}", value)
            seen.add(id(value))
        elif callable(value) and id(value) not in seen:
            lines += shown("function", f"{module}.{name}", value)
            seen.add(id(value))
    return "\n".join([*lines, "```", ""])


def shown(kind: str, path: str, value: Any) -> list[str]:
    """The directive for a class, with its methods, or a function; and the file that it is in.

    Attacks and explainers have pages of their own, and their methods are those of their bases.
    """
    own_page = value in ATTACKS.values() or value in EXPLAINERS.values()
    members = ["   :members:"] if kind == "class" and not own_page else []
    source = Path(inspect.getfile(inspect.unwrap(value))).relative_to(ROOT).as_posix()
    return [f".. auto{kind}:: {path}", *members, "", f"   In ``{source}``.", ""]


def namespace(path: str, module: ModuleType, seen: set[int]) -> Iterator[str]:
    """The functions of a module that holds verbs."""
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not inspect.isclass(value) and id(value) not in seen:
            seen.add(id(value))
            yield from shown("function", f"{module.__name__}.{name}", value)
