"""Something of the user's own, from a file or a module of theirs: a network's function, an attack's class.

While their code is imported and run, the file's folder can be imported from and `sys.argv` has the file's
name alone: what reads its own options at import finds none. The folder stays at the end of `sys.path`, for
what a network imports when it is first asked.

Files of two folders may have neighbours of one name, as `model.py`. Each folder gets its own while it is
imported from; at other times the name is that of the folder that came first.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ostrich.errors import InputError, OstrichError, UnknownName

MODULE = "_ostrich_user_"  # how the module of a user's file begins
_ASIDE: dict[Path, dict[str, ModuleType]] = {}  # of each folder imported from, what stands aside meanwhile


@contextmanager
def importing(folder: Path, name: str) -> Iterator[None]:
    """Within it, modules in `folder` come first, and `sys.argv` is [name]."""
    place, arguments = str(folder.resolve()), sys.argv
    sys.path.insert(0, place)
    sys.argv = [name]
    try:
        with _own_neighbours(folder.resolve()):
            yield
    finally:
        sys.argv = arguments
        if place in sys.path:
            sys.path.remove(place)
        if place not in sys.path:
            sys.path.append(place)


@contextmanager
def _own_neighbours(folder: Path) -> Iterator[None]:
    """Within it, what `folder` has of its own stands for modules of other folders imported from."""
    own, _ASIDE[folder] = _ASIDE.get(folder, {}), {}
    elsewhere = _ASIDE.keys() - {folder}
    shared = {name.partition(".")[0] for name in own}
    loaded = [name for name in sys.modules if "." not in name]
    shared |= {name for name in loaded if _has(folder, name) and _home(name) in elsewhere}
    others = _taken(shared)
    sys.modules.update(own)
    try:
        yield
    finally:
        _ASIDE[folder] = _taken(shared)
        sys.modules.update(others)


def _home(name: str) -> Path | None:
    """The folder that a loaded module or package lies in; None where it is from no file.

    A package without `__init__.py` has none of its own, and what it says of its places changes with
    `sys.path`: it lies where the first module within it does.
    """
    for within in _within({name}):
        file = getattr(sys.modules[within], "__file__", None)
        if file is not None:
            path = Path(file).resolve()
            return path.parents[within.count(".") + (path.stem == "__init__")]
    return None


def _has(folder: Path, name: str) -> bool:
    """Whether a module or package of that name can be imported from a folder."""
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()


def _within(names: set[str]) -> list[str]:
    """These modules and all within them, of those that are loaded."""
    return [name for name in sys.modules if name.partition(".")[0] in names]


def _taken(names: set[str]) -> dict[str, ModuleType]:
    """These modules and all within them, taken out of those that are loaded."""
    return {name: sys.modules.pop(name) for name in _within(names)}


def module_name(path: Path) -> str:
    """What the module of a user's file is called; files of one name in two folders are two modules."""
    return f"{MODULE}{path.stem}_{hashlib.sha256(bytes(path.resolve())).hexdigest()[:12]}"


def from_file(path: Path, name: str) -> Any:
    """What is called `name` in the Python file `path`, which may import its neighbours.

    Raises InputError where there is no such file or it fails, UnknownName for another name.
    """
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    spec = importlib.util.spec_from_file_location(module_name(path), path)
    if spec is None or spec.loader is None:
        raise InputError(f"{str(path)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their annotations up there
    with importing(path.parent, str(path)):
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise InputError(f"{str(path)!r} cannot be imported: {reason(error)}.") from error
    return _member(vars(module), name, path.name)


def from_module(module: str, name: str) -> Any:
    """What is called `name` in a module that can be imported, also from the current folder.

    Raises InputError where it fails, UnknownName for another name. ModuleNotFoundError where there is none.
    """
    with importing(Path(), module):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                raise
            raise InputError(f"{module!r} cannot be imported: {reason(error)}.") from error
        except (Exception, SystemExit) as error:
            raise InputError(f"{module!r} cannot be imported: {reason(error)}.") from error
    return _member(vars(found), name, module)


def called(function: Callable[[], Any], what: str, folder: Path, hint: str = "") -> Any:
    """What a function of the user's returns without arguments; its folder can be imported from meanwhile.

    `what` is its name in a message, `hint` what may help. Raises InputError where it fails.
    """
    with importing(folder, what.rpartition(":")[0]):
        try:
            return function()
        except OstrichError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(f"{what} fails when called without arguments: {reason(error)}.{hint}") from error


def reason(error: BaseException) -> str:
    """Why code of the user's failed, in words that keep what it named."""
    if isinstance(error, SystemExit):
        return f"it ends the program (SystemExit: {error.code})"
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"it looks for {str(error.filename)!r}, which is not there, seen from {str(Path.cwd())!r}"
    return repr(error)


def _member(known: dict[str, Any], name: str, where: str) -> Any:
    if name not in known:
        own = [n for n, v in known.items() if callable(v) and not n.startswith("_")]
        raise UnknownName(f"function in {where}", name, own)
    return known[name]
