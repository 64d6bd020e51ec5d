"""Run directories: what was asked, with which versions and data, and what came out.

What `run.json` holds, and its version, stands in `schema.py`; everything is written atomically. The same
command on an unfinished folder goes on where it was cut off; on a finished one it is refused, and so is
another command, or one in a folder in which another one is at work.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ostrich.errors import InputError, RunExists
from ostrich.runtime import distributed, how_far, lock, together
from ostrich.runtime.facts import DECIDING, MARK, compare, versions
from ostrich.runtime.files import append_row, checksum, keep_rows, read_json, sweep, was_edited, write_json
from ostrich.runtime.schema import SCHEMA, check_run_file

METRICS = "metrics.jsonl"
EDITED = "edited"  # the key that a run gets when it is read, where somebody changed its run.json
RUNS = Path("runs")  # where run directories are made, unless said
NEW = "runs/*"  # in place of a folder: a new one there
WORDS = {"network": "weights", "sha256": "images"}  # of what is asked, as errors say it
DIGESTS = ("network", "sha256", "data_sha256", "detector", "artefact")  # values that say nothing to a person


@dataclass
class Run:
    """One run directory. `asked` is what the command was given, less what only concerns output.

    With `learn`, what is found out about a network while it is asked is written too. `written` is the
    checksum of the run.json that it wrote last.
    """

    folder: Path
    command: str
    asked: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    learn: Callable[[], Mapping[str, str]] | None = None  # what is known of a network by now
    written: str | None = None

    @classmethod
    @contextmanager
    def begin(
        cls,
        name: str,
        command: str,
        asked: Mapping[str, Any],
        *,
        out: str | Path | None = None,
        force: bool = False,
    ) -> Iterator[Run]:
        """Open the directory for a command, new or to be resumed; within the block it is this command's.

        Without `out` it is a folder under `runs/` named by the command and a digest of what was
        asked. An unexpected exception is told where its run lies. Raises RunExists for a finished run,
        OtherComputation for that of another command, FolderInUse while another one is at work, and
        InputError for a folder of something else.
        """
        asked = json.loads(json.dumps(asked, default=str))
        if not distributed.is_main():  # rank 0 opens it, and is the only one that writes
            yield cls(Path(distributed.broadcast_str("")), command, asked)
            return
        if out is None:
            digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:6]
            folder = _unused(RUNS / f"{name}-{digest}", force)
        else:
            folder = Path(out)
        check_writable(folder)
        if out is not None:
            _refuse_foreign(folder)
        with lock.locked(folder):
            _prepare(folder, asked, force)
            distributed.broadcast_str(str(folder))
            together.logs_in(folder)
            try:
                with how_far.kept(folder):
                    yield cls(folder, command, asked)
            except Exception as error:
                error.run_folder = folder  # type: ignore[attr-defined]
                raise

    def describe(
        self,
        *,
        seed: int,
        device: torch.device,
        data: Mapping[str, Any] | None,
        network: Mapping[str, str] | None = None,
    ) -> None:
        """Write the first run.json: all that is known before anything is computed.

        `network` is what was found out about a network by its answers, in sentences.
        """
        self.facts = {"seed": seed, "device": str(device), "data": data}
        if network:
            self.facts["network"] = dict(network)
        self._write(results=None, finished=False)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results; the run is finished."""
        self._write(results=results, finished=True)
        self.learn = None  # nor is the network held any more
        if distributed.is_main():
            how_far.forget(self.folder)

    def update(self, results: Mapping[str, Any]) -> None:
        """Write the results so far."""
        self._write(results=results, finished=False)

    def is_there(self) -> bool:
        """Whether its folder still holds it, and not another run or an edited one; only rank 0 can tell."""
        file = self.folder / "run.json"
        return not distributed.is_main() or (file.is_file() and checksum(file) == self.written)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        if distributed.is_main():
            append_row(self.folder / METRICS, row)

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop the lines of metrics.jsonl that are of later steps, or torn: the run goes on from `step`."""
        return keep_rows(self.folder / METRICS, lambda row: row["step"] <= step)

    def _write(self, *, results: Mapping[str, Any] | None, finished: bool) -> None:
        if not distributed.is_main():
            return
        if self.learn is not None:
            self.facts["network"] = dict(self.learn())
        content = {
            "schema": SCHEMA,
            "command": self.command,
            "asked": self.asked,
            "versions": versions(),
            "threads": torch.get_num_threads(),
            **self.facts,
            "results": results,
            "finished": finished,
        }
        write_json(self.folder / "run.json", content)
        self.written = checksum(self.folder / "run.json")


def read_run(path: str | Path, *, checked: bool = False) -> dict[str, Any]:
    """The content of a run.json, given as file or folder: a `RunFile`, or an earlier one.

    With `checked`, as for a run that is to go on, one that was edited or damaged is refused; else it has the
    key EDITED. Raises InputError, also for one of a newer Ostrich.
    """
    path = Path(path)
    file = path / "run.json" if path.is_dir() else path
    try:
        content = read_json(file, checked=checked)
    except FileNotFoundError:
        raise InputError(f"There is no run at {str(path)!r}: a run.json or its folder is expected.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(file)!r} cannot be read as run.json ({error}).") from None
    check_run_file(content, repr(str(file)))
    if not checked and was_edited(file):
        content[EDITED] = True
    return content


def check_writable(folder: Path) -> None:
    """Refuse, by an InputError, a run directory that could not be made or written to; nothing is written."""
    for path in (folder, *folder.parents):
        if os.path.lexists(path):
            break
    if not path.is_dir():
        raise InputError(f"{str(path)!r} is no folder; choose another --out than {str(folder)!r}.")
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"{str(path)!r} may not be written to; choose another --out.")


def check_file(file: Path) -> None:
    """Refuse, by an InputError, a file that could not be written, such as a folder; nothing is written."""
    if file.is_dir():
        raise InputError(f"{str(file)!r} is a folder; the name of a file is expected.")
    check_writable(file.parent)


def _refuse_foreign(folder: Path) -> None:
    """Refuse, by an InputError, a folder of something else; nothing is written to it."""
    if folder.exists() and any(p.name != lock.NAME for p in folder.iterdir()):
        if not (folder / "run.json").exists():
            raise InputError(f"{str(folder)!r} is not empty and holds no run; choose another --out.")
        read_run(folder, checked=True)


def _prepare(folder: Path, asked: Mapping[str, Any], force: bool) -> None:
    """Make `folder`, which is locked, ready for a run that is new, or goes on."""
    if not (folder / "run.json").exists():
        return
    earlier = read_run(folder, checked=not force)
    if force:
        _empty(folder)
    elif earlier.get("finished"):
        raise RunExists(f"{str(folder)!r} holds a finished run. Choose another --out, or pass --force.")
    else:
        now = _facts(asked, versions())
        before = _facts(earlier.get("asked") or {}, earlier.get("versions") or {})
        compare(str(folder), before, now, str(earlier.get("command")))
        sweep(folder)


def _empty(folder: Path) -> None:
    """Remove all but the lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != lock.NAME:
            path.unlink()


def _facts(asked: Mapping[str, Any], installed: Mapping[str, str]) -> dict[str, str]:
    """What was asked, and the versions that decide, as an error says it; settings within settings too."""
    found: dict[str, str] = {f"version of {name}": installed.get(name, "unknown") for name in DECIDING}
    for name, value in asked.items():
        word = WORDS.get(name, name.replace("_", " "))
        if isinstance(value, Mapping):
            found |= {f"{part} of {word}".replace("_", " "): str(inner) for part, inner in value.items()}
        else:
            found[word] = f"{MARK if name in DIGESTS else ''}{value}"
    return found


def _unused(folder: Path, force: bool) -> Path:
    """`folder`, or the first of folder-2, folder-3, ... that holds no finished run."""
    candidate, number = folder, 1
    while (candidate / "run.json").exists() and read_run(candidate).get("finished"):
        if force:
            break
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate
