"""Run directories: what was asked, with which versions and data, and what came out.

`run.json` holds `command`, `versions`, `seed`, `device`, `threads`, `data`, `results`, and
`finished`; everything is written atomically. The same command on an unfinished folder goes on
where it was cut off; on a finished one it is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ostrich import distributed
from ostrich.errors import InputError, RunExists

PACKAGES = ("ostrich-vision", "torch", "torchvision", "numpy", "pillow")


@dataclass
class Run:
    """One run directory. `asked` is what the command was given, less what only concerns output."""

    folder: Path
    command: str
    asked: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        name: str,
        command: str,
        asked: Mapping[str, Any],
        *,
        out: str | Path | None = None,
        force: bool = False,
    ) -> Run:
        """Open the directory for a command, new or to be resumed.

        Without `out` it is a folder under `runs/` named by the command and a digest of what was
        asked. Raises RunExists for a finished run, InputError for a folder of something else.
        """
        asked = json.loads(json.dumps(asked, default=str))
        if not distributed.is_main():  # rank 0 opens it, and is the only one that writes
            return cls(Path(distributed.told("")), command, asked)
        if out is not None:
            folder = Path(out)
            _settle(folder, asked, force)
        else:
            digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:6]
            folder = _unused(Path("runs") / f"{name}-{digest}", force)
        run = cls(folder, command, asked)
        folder.mkdir(parents=True, exist_ok=True)
        distributed.told(str(folder))
        return run

    def describe(self, *, seed: int, device: torch.device, data: Mapping[str, Any] | None) -> None:
        """Write the first run.json: all that is known before anything is computed."""
        self.facts = {"seed": seed, "device": str(device), "data": data}
        self._write(results=None, finished=False)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results; the run is finished."""
        self._write(results=results, finished=True)

    def update(self, results: Mapping[str, Any]) -> None:
        """Write the results so far."""
        self._write(results=results, finished=False)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        if not distributed.is_main():
            return
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rewind(self, step: int) -> None:
        """Drop the lines of metrics.jsonl that are of later steps, or torn: the run goes on from `step`."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        if kept != lines:
            write_text(path, "".join(kept))

    def _write(self, *, results: Mapping[str, Any] | None, finished: bool) -> None:
        if not distributed.is_main():
            return
        content = {
            "command": self.command,
            "asked": self.asked,
            "versions": versions(),
            "threads": torch.get_num_threads(),
            **self.facts,
            "results": results,
            "finished": finished,
        }
        write_json(self.folder / "run.json", content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file: it is whole, or as it was before."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file: it is whole, or as it was before, also when the disk fills up or the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_run(path: str | Path) -> dict[str, Any]:
    """The content of a run.json, given as file or folder. Raises InputError."""
    path = Path(path)
    file = path / "run.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no run at {str(path)!r}: a run.json or its folder is expected.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(file)!r} cannot be read as run.json ({error}).") from None
    if not isinstance(content, dict) or "results" not in content:
        raise InputError(f"{str(file)!r} is no run.json of Ostrich.")
    return content


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found["ostrich" if package == "ostrich-vision" else package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _settle(folder: Path, asked: Mapping[str, Any], force: bool) -> None:
    """Make sure that a run may be written to `folder`."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file; --out is a folder.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / "run.json").exists():
        raise InputError(f"{str(folder)!r} is not empty and holds no run; choose another --out.")
    earlier = read_run(folder)
    if force:
        shutil.rmtree(folder)
    elif earlier.get("finished"):
        raise RunExists(f"{str(folder)!r} holds a finished run. Choose another --out, or pass --force.")
    elif earlier.get("asked") != asked:
        raise InputError(
            f"{str(folder)!r} holds the unfinished run of another command ({earlier.get('command')}). "
            "Choose another --out, or pass --force."
        )


def _unused(folder: Path, force: bool) -> Path:
    """`folder`, or the first of folder-2, folder-3, ... that holds no finished run."""
    candidate, number = folder, 1
    while (candidate / "run.json").exists() and read_run(candidate).get("finished"):
        if force:
            shutil.rmtree(candidate)
            break
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if content == content and abs(content) != float("inf") else None
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
