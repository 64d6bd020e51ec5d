"""What the docstrings of the public names lack: a sentence, a parameter, a shape, an error.

A class is told by its own docstring and by those of its bases; a method by its own, by those of the methods
that it stands for (a base's, or a protocol's that its class keeps), and by its class, which says what its
words mean. What means the same in every call stands once, in the docstring of `ostrich`, as lines `name
meaning`. `tests/documentation/test_docstrings.py` asks that nothing is lacking.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

import api

import ostrich
from ostrich.attacks.fooling.map_elites import Genomes
from ostrich.attacks.goals import Goal
from ostrich.attacks.threats.base import Threat
from ostrich.visualization.optimisers import Optimiser
from ostrich.visualization.parametrisations import Parametrisation

PROTOCOLS = (
    Threat,
    Goal,
    Genomes,
    Parametrisation,
    Optimiser,
)  # what a class may be without deriving from it
SHAPE = re.compile(r"\((?:[A-Z]'?|[np]|\d+)(?: \* \w+)?,[ )]")  # (N, C, H, W), (N,), (n * samples, C, H, W)
EVERYWHERE = frozenset(re.findall(r"^(\w+) {2,}\S", ostrich.__doc__ or "", re.MULTILINE))
MADE_BY = ("__init__", "__post_init__", "validate")  # where a class refuses what it is given


def lacking() -> Iterator[str]:
    """A line for each thing that a public name's docstring does not say."""
    seen: set[int] = set()
    for path in (*api.MODULES, *api.NAMESPACES):
        for name, value in public(path):
            if id(value) not in seen:
                seen.add(id(value))
                yield from of_one(f"{path}.{name}", value, seen)


def public(path: str) -> Iterator[tuple[str, Any]]:
    """What a module, or a module that a name of `ostrich` is, lists."""
    head, _, name = path.rpartition(".")
    module: ModuleType = getattr(import_module(head), name) if path in api.NAMESPACES else import_module(path)
    for name in sorted(module.__all__):
        yield name, getattr(module, name)


def of_one(path: str, value: Any, seen: set[int]) -> Iterator[str]:
    """A function; or a class, and each of its public methods that has not been looked at."""
    if inspect.isclass(value):
        yield from of_class(path, value)
        for name, method in methods(value):
            if id(method) not in seen:
                seen.add(id(method))
                yield from of_function(f"{path}.{name}", method, stood_for(value, name), told(value))
    elif isinstance(value, FunctionType):
        yield from of_function(path, value)


def methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods and properties that Ostrich defines, a property by its getter."""
    for base in kind.__mro__:
        if base.__module__.startswith("ostrich."):
            for name, value in vars(base).items():
                inner = getattr(value, "__func__", value)  # of a class method
                inner = getattr(inner, "fget", None) or getattr(inner, "func", inner)
                if isinstance(inner, FunctionType) and not name.startswith("_"):
                    yield name, inner


def stood_for(kind: type, name: str) -> str:
    """What bases and protocols say of a method."""
    parts = {*dir(kind), *(part for base in kind.__mro__ for part in vars(base).get("__annotations__", ()))}
    kept = [one for one in PROTOCOLS if {part for part in vars(one) if part[0] != "_"} <= parts]
    return "\n".join(
        getattr(one, name, None).__doc__ or "" for one in (*kind.__mro__, *kept) if hasattr(one, name)
    )


def told(kind: type) -> str:
    """The docstrings of a class and of its bases in Ostrich."""
    ours = [base for base in kind.__mro__ if base is kind or base.__module__.startswith("ostrich.")]
    return "\n".join(base.__doc__ or "" for base in ours)


def of_class(path: str, kind: type) -> Iterator[str]:
    words = told(kind)
    if len((kind.__doc__ or "").split()) < 3 or (kind.__doc__ or "").startswith(f"{kind.__name__}("):
        yield f"{path}: a sentence"
    if not issubclass(kind, BaseException) and kind not in PROTOCOLS:
        yield from parameters(path, inspect.signature(kind), words)
    if kind not in PROTOCOLS:
        raised = {name for part in MADE_BY if part in vars(kind) for name in errors(vars(kind)[part])}
        yield from refused(path, raised, words)


def of_function(path: str, function: Callable[..., Any], like: str = "", around: str = "") -> Iterator[str]:
    words = f"{inspect.getdoc(function) or ''}\n{like}"
    named = f"`{function.__name__}`" in around  # a property that its class tells of
    if len(words.split()) < 3 and not named:
        yield f"{path}: a sentence"
    yield from parameters(path, inspect.signature(function), words + "\n" + around)
    yield from refused(path, errors(function), words + "\n" + around)


def parameters(path: str, signature: inspect.Signature, words: str) -> Iterator[str]:
    """Every parameter has its name in the words; where a tensor comes or goes, a shape stands there."""
    tensors = []
    for one in signature.parameters.values():
        if one.name not in {"self", "cls"} | EVERYWHERE and not re.search(rf"\b{one.name}\b", words):
            yield f"{path}: parameter {one.name}"
        tensors.append(str(one.annotation))
    tensors.append(str(signature.return_annotation))
    if any(re.search(r"\bTensor\b", one) for one in tensors) and not SHAPE.search(words):
        yield f"{path}: shape of its tensors"


def errors(function: Any) -> set[str]:
    """The names of what a function itself raises for its user: nothing that it raises again."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(function, "__func__", function))))
    except (OSError, TypeError):
        return set()
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    names = {one.func.id for one in raised if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
    return names - {"AssertionError", "NotImplementedError", "AttributeError"}


def refused(path: str, raised: set[str], words: str) -> Iterator[str]:
    for name in sorted(raised):
        if not re.search(rf"\b{name}\b", words):
            yield f"{path}: error {name}"
