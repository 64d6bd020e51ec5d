"""The Python reference: autodoc of what `__all__` of the public modules names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

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
            lines += [f".. autoclass:: {module}.{name}", ""]
            seen.add(id(value))
        elif callable(value) and id(value) not in seen:
            lines += [f".. autofunction:: {module}.{name}", ""]
            seen.add(id(value))
    return "\n".join([*lines, "```", ""])


def namespace(path: str, module: ModuleType, seen: set[int]) -> Iterator[str]:
    """The functions of a module that holds verbs."""
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not inspect.isclass(value) and id(value) not in seen:
            seen.add(id(value))
            yield f".. autofunction:: {module.__name__}.{name}"
            yield ""
