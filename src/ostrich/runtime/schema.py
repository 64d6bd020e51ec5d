"""What a run directory's JSON files hold, as types; and how a file is compared with them.

The types need no library to be imported; pydantic reads them only where a file is validated or their JSON
schemas are written (`make schemas`, docs/schemas).

SCHEMA counts up whenever a field of run.json, or of the JSON files beside it, changes its meaning or goes.
Version 0 is every run before the count began: its run.json has no `schema`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NotRequired, Required  # pydantic asks for these before Python 3.12

from typing_extensions import TypedDict

from ostrich.errors import InputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1


class RunFile(TypedDict):
    """run.json: what was asked, by which versions it was computed, on which data, and what came out."""

    schema: int  # the version of this form
    command: str  # as typed; from Python the verb
    asked: dict[str, Any]  # all that decides the results
    versions: dict[str, str]  # by package
    threads: int  # of torch
    seed: int
    device: str
    data: dict[str, Any] | None  # name, n (of how many), sha256, files left out; None where there is none
    network: NotRequired[dict[str, str]]  # what was found out about it by its answers, in sentences
    results: dict[str, Any] | None  # the figures; None before there are any
    finished: bool


class EarlierRunFile(TypedDict, total=False):
    """run.json of version 0, and a baseline that somebody wrote by hand."""

    command: str
    asked: dict[str, Any]
    versions: dict[str, str]
    threads: int
    seed: int
    device: str
    data: dict[str, Any] | None
    network: dict[str, str]
    results: Required[dict[str, Any] | None]
    finished: bool


class PartFile(TypedDict):
    """How far one part of a command is; times are seconds since 1970."""

    title: str
    unit: str  # what is counted
    done: int
    total: int
    found: int  # of those that are done: what an earlier process had done
    began: float
    updated: float


class ProgressFile(TypedDict):
    """progress.json: how far a command is that is not finished."""

    processes: list[str]  # each "HOST PROCESS", the command's own first
    cluster: bool  # whether a Ray cluster computes
    parts: list[PartFile]  # each a part of the one before
    updated: float


def check_run_file(content: Any, where: str) -> None:
    """Refuse, by an InputError, what is no run.json, and one of a version that is not known here."""
    if not isinstance(content, dict) or "results" not in content:
        raise InputError(f"{where} is no run.json of Ostrich.")
    version = content.get("schema", 0)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise InputError(
            f"{where} is no run.json of Ostrich: schema is a whole number from 0 up; got {version!r}."
        )
    if version > SCHEMA:
        raise InputError(
            f"{where} is of version {version} of run.json, and this Ostrich reads versions 0 to {SCHEMA}; "
            "install a newer Ostrich to read it."
        )
    validated(RunFile if version else EarlierRunFile, content, f"{where} is no run.json of Ostrich")


def validated(form: Any, content: Any, problem: str) -> Any:
    """JSON as the type `form`. Raises InputError: `problem`, where in the file, and what is expected."""
    from pydantic import ValidationError

    try:
        return _adapter(form).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(f"{problem}: {place}: {first['msg']}.") from None


def json_schema(form: Any) -> dict[str, Any]:
    """The JSON schema of a type, of files as they are written."""
    return _adapter(form).json_schema(mode="serialization")


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(form)
