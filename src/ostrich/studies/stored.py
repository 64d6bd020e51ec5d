"""Rows of finished trials in one small file, so that a study grows over days and machines.

`docs/studies.py` writes it beside a study's page, and `ostrich study NAME --rows FILE` reads it: a trial
whose fingerprint is there is done. The fingerprint is of all that decides the rows: settings, trial, versions
of what computes, and the data by its content, wherever it lies. Checkpoints are not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ostrich.errors import InputError
from ostrich.runtime.facts import deciding_versions
from ostrich.runtime.files import read_json, write_text
from ostrich.studies.networks import NetworkSpec
from ostrich.studies.schema import Row, Spec, Study, Trial

CHUNK = 1 << 20  # bytes read at once
FILES = ("weights", "classes")  # options of a network that are files


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A finished trial of such a file; `seconds` is how long it took."""

    fingerprint: str
    trial: Trial
    seconds: float
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        """Its rows by columns, which are named once; None where a row does not have one."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        values = [[row.get(name) for name in columns] for row in self.rows]
        present = [[name in row for name in columns] for row in self.rows]
        absent = [[i, j] for i, row in enumerate(present) for j, there in enumerate(row) if not there]
        return {**asdict(self), "rows": {"columns": columns, "values": values, "absent": absent}}


def write_stored(path: str | Path, about: Mapping[str, Any], trials: Sequence[Stored]) -> None:
    """Write what a run is about and its finished trials, a line each: two files can be merged."""
    lines = ",\n".join(json.dumps(one.as_json(), allow_nan=False) for one in trials)
    head = json.dumps(dict(about), indent=1, allow_nan=False).removesuffix("\n}")
    write_text(Path(path), f'{head},\n "trials": [\n{lines}\n]}}\n')


def read_stored(path: str | Path) -> dict[str, Stored]:
    """The finished trials of a file, by fingerprint. Raises InputError where it is no such file."""
    try:
        found = [_of(one) for one in read_json(Path(path))["trials"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{str(path)!r} holds no rows of a study ({type(error).__name__}: {error}); "
            "`python docs/studies.py RUN` writes such a file."
        ) from None
    return {one.fingerprint: one for one in found}


def _of(words: dict[str, Any]) -> Stored:
    columns, values = words["rows"]["columns"], words["rows"]["values"]
    absent = {(i, j) for i, j in words["rows"]["absent"]}
    rows = [
        {
            name: value
            for j, (name, value) in enumerate(zip(columns, row, strict=True))
            if (i, j) not in absent
        }
        for i, row in enumerate(values)
    ]
    return Stored(
        fingerprint=str(words["fingerprint"]),
        trial=dict(words["trial"]),
        seconds=float(words["seconds"]),
        rows=rows,
    )


def fingerprints(study: Study, spec: Spec, plan: Sequence[Trial]) -> list[str]:
    """One for each trial. Neither the number of seeds nor the folder of the data is part of it.

    A network of the user's counts by its words and the content of its files. Raises InputError for a study
    whose trials leave more than rows.
    """
    if not study.rows_suffice:
        raise InputError(
            f"{study.name} is judged from more than its rows: its trials are taken up from its run directory "
            "alone."
        )
    words = asdict(spec)
    words.pop("seeds")
    if words["device"] == "cpu":
        words.pop("device")
    if isinstance(spec, NetworkSpec):
        words |= network_content(spec)
    else:
        words["data"] = content_of(spec.data)
        if "@" in words.get("network", ""):
            words["network"] = _model_content(words["network"])
    asked = {"study": study.name, "spec": words, **deciding_versions()}
    texts = []
    for trial in plan:
        if study.decides is not None:
            names = study.decides(trial)
            asked["spec"] = {name: value for name, value in words.items() if name in names}
        texts.append(json.dumps({**asked, "trial": trial}, sort_keys=True))
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]


def network_content(spec: NetworkSpec) -> dict[str, Any]:
    """What a spec says of its network and images, with the content of files in place of their paths."""
    network = json.loads(spec.model)
    network |= {name: content_of(f"file:{network[name]}") for name in FILES if network.get(name)}
    network["model"] = _named(network["model"])
    network.pop("device", None)
    found: dict[str, Any] = {"model": network, "data": [content_of(one) for one in json.loads(spec.data)]}
    for name, value in asdict(spec).items():
        if value and isinstance(value, tuple) and value == spec.models:
            found[name] = [_model_content(one) for one in value]
    return found


def _model_content(model: str) -> str:
    """MODEL or MODEL@FILE by content."""
    return "@".join(map(_named, model.split("@")))


def _named(model: str) -> str:
    """A MODEL, or a path, by content where it is a file's: PATH.py:FUNCTION, onnx:FILE, FILE."""
    path, _, function = model.rpartition(":")
    if path and Path(path).is_file():
        return f"{content_of(f'file:{path}')}:{function}"
    return content_of(f"file:{model}") if Path(model).is_file() else content_of(model)


def content_of(data: str) -> str:
    """A DATA spec with what its path holds in place of the path: the bytes of a file, of a folder the names
    and sizes of its files. Without a path it is the spec itself.
    """
    form, colon, place = data.partition(":")
    path = Path(place)
    if not colon or not path.exists():
        return data
    checksum = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                checksum.update(piece)
    else:
        for one in sorted(path.rglob("*")):
            if one.is_file():
                checksum.update(f"{one.relative_to(path).as_posix()} {one.stat().st_size}\n".encode())
    return f"{form}:sha256:{checksum.hexdigest()[:16]}"
