"""Golden results: what each command of `golden_commands.py` gave, kept in `tests/golden/NAME.json`.

`python tests/helpers/goldens.py [NAME ...]` (`make goldens`) makes them anew; the tests call `check`.

A file holds the `results` of run.json, the rows of images.csv, and SHA-256 digests of the decoded pixels of
every picture and of every tensor written. Times are left out; folders are relative, so none is named.

**The rule.** `golden/made-on.json` says where they were made: the vector instructions that torch uses, the
versions, and a digest of some sums in fp32. Where all of this is the same, everything is equal, bit for bit.
Elsewhere sums are rounded in another order, and only the results are compared, within the tolerance that
`golden_differences.alike` states; rows and digests are not.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import typer
from golden_commands import COMMANDS, EXPECTED_TO_CHANGE, Command
from golden_differences import differences
from PIL import Image, ImageSequence
from safetensors.torch import load_file

from ostrich.cli.main import run

FOLDER = Path(__file__).parents[1] / "golden"
MADE_ON = "made-on.json"
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib")  # whose version may change a last bit
OUT = "out"
ROWS = 8  # of a table that stand in the file; of the others a digest
PICTURES = (".png", ".webp", ".gif", ".jpg")


# Where they hold -------------------------------------------------------------------------------


def here() -> dict[str, Any]:
    """What a last bit depends on: instructions, versions, and how this processor sums."""
    return {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: version(name) for name in PACKAGES},
        "arithmetic": arithmetic(),
    }


def made_on() -> dict[str, Any]:
    """What `here` was where the files were made."""
    content: dict[str, Any] = json.loads((FOLDER / MADE_ON).read_text(encoding="utf-8"))
    return content


def arithmetic() -> str:
    """A digest of sums in fp32: caches and libraries differ also between processors of one family."""
    with one_thread():
        x = torch.linspace(-1, 1, 2 * 16 * 24 * 24).sin().view(2, 16, 24, 24).requires_grad_()
        w = torch.linspace(-2, 2, 32 * 16 * 3 * 3).cos().view(32, 16, 3, 3)
        y = F.conv2d(x, w, padding=1)  # (2, 32, 24, 24)
        z = y.flatten(1) @ torch.linspace(-3, 3, 10 * 32 * 24 * 24).sin().view(-1, 10)  # (2, 10)
        z.log_softmax(1)[:, 0].sum().backward()
        assert x.grad is not None
        return digest(*(t.detach().numpy().tobytes() for t in (y, z, z.exp(), x.grad)))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: with two, sums are split elsewhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# What a command gives --------------------------------------------------------------------------


def made(command: Command) -> dict[str, Any]:
    """Run a command in a folder of its own; what it gives, as it stands in its file."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name), one_thread():
        for words in command.before:
            perform(shlex.split(words))
        words = shlex.split(command.words)
        if not command.out:
            return {"command": command.words, "results": timeless(json.loads(perform(words)))}
        perform([*words, "--out", OUT])
        return {"command": command.words, **read(Path(OUT))}


def perform(words: list[str]) -> str:
    """Run `ostrich WORDS`; what it prints."""
    told, given = io.StringIO(), sys.argv
    sys.argv = ["ostrich", *words]  # run.json quotes it
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = run(words)
    finally:
        sys.argv = given
    if code:
        raise RuntimeError(f"ostrich {shlex.join(words)} left with {code}: {told.getvalue()}")
    return told.getvalue()


def read(folder: Path) -> dict[str, Any]:
    """The results, tables, pictures and tensors of a run directory."""
    found: dict[str, Any] = {"results": timeless(json.loads((folder / "run.json").read_text())["results"])}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "shards" not in path.parts)
    tables: dict[str, Any] = {}
    pictures: dict[str, str] = {}
    tensors: dict[str, str] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".csv":
            tables[name] = table(path)
        elif path.suffix in PICTURES:
            pictures[name] = of_picture(path)
        elif path.suffix == ".npy":
            tensors[name] = of_array(np.load(path))
        elif path.suffix == ".safetensors":
            tensors[name] = of_tensors(load_file(path))
    return found | {"tables": tables, "pictures": pictures, "tensors": tensors}


def same_runs(one: Path, other: Path) -> None:
    """Assert that two run directories hold the same: what was typed, times and versions aside."""
    a, b = (json.loads((folder / "run.json").read_text()) for folder in (one, other))
    for name in ("asked", "seed", "device", "data", "threads", "finished"):
        assert a[name] == b[name], name
    assert read(one) == read(other)
    files, others = (
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (one, other)
    )
    assert files == others
    for file in files:
        if file.suffix == ".jsonl":
            assert (one / file).read_text() == (other / file).read_text()


def timeless(content: Any) -> Any:
    """Results without what is a time: entries called seconds, and rows whose figure is seconds."""
    if isinstance(content, Mapping):
        return {key: timeless(value) for key, value in content.items() if key != "seconds"}
    if isinstance(content, list):
        return [
            timeless(row) for row in content if not (isinstance(row, dict) and row.get("figure") == "seconds")
        ]
    return content


def table(path: Path) -> dict[str, Any]:
    """The first rows of a table, and a digest of the others."""
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    kept = [",".join(row) for row in rows[:ROWS]]
    return {
        "columns": ",".join(head),
        "rows": kept,
        "further": len(rows[ROWS:]),
        "digest": digest(repr(rows).encode()),
    }


def of_picture(path: Path) -> str:
    """A digest of the pixels, whatever the file's compression."""
    with Image.open(path) as picture:
        frames = [frame.convert("RGBA") for frame in ImageSequence.Iterator(picture)]
    return digest(*(repr(frame.size).encode() + frame.tobytes() for frame in frames))


def of_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """A digest of names and tensors."""
    return digest(*(f"{name} {of_array(tensors[name].numpy())}".encode() for name in sorted(tensors)))


def of_array(array: np.ndarray) -> str:
    """A digest of type, shape and values."""
    return digest(f"{array.dtype.str} {array.shape}".encode(), np.ascontiguousarray(array).tobytes())


def digest(*parts: bytes) -> str:
    """The first half of SHA-256: 32 digits are enough to tell results apart."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:32]


def check(name: str) -> None:
    """Run a command anew; the test fails where it gives something else than its file says."""
    for package in COMMANDS[name].needs:
        pytest.importorskip(package)
    found = made(COMMANDS[name])
    lines = differences(name, kept(name), found, exactly=here() == made_on())
    if lines and name in EXPECTED_TO_CHANGE:
        lines.append(f"Expected to change: {EXPECTED_TO_CHANGE[name]}.")
    if lines:
        lines.append(f"If this is meant: make goldens ARGS={name}, and say why in the commit.")
        pytest.fail("\n".join([f"ostrich {found['command']}", *lines]), pytrace=False)


# Making them anew ------------------------------------------------------------------------------


def keep(name: str, found: Mapping[str, Any]) -> None:
    """Write a command's file."""
    (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def kept(name: str) -> dict[str, Any]:
    """A command's file as it stands."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def main(names: list[str]) -> None:
    """Make the files of these commands anew, of all if none is named; say what changed."""
    FOLDER.mkdir(exist_ok=True)
    unknown = [name for name in names if name not in COMMANDS]
    if unknown:
        sys.exit(f"Unknown: {', '.join(unknown)}. There are: {', '.join(COMMANDS)}.")
    place = FOLDER / MADE_ON
    if names and place.exists() and made_on() != here():
        sys.exit("The other files were made elsewhere (golden/made-on.json): make all of them anew, or none.")
    place.write_text(json.dumps(here(), indent=1) + "\n", encoding="utf-8")
    for name in names or COMMANDS:
        found, file = made(COMMANDS[name]), FOLDER / f"{name}.json"
        lines = differences(name, kept(name), found, exactly=True) if file.exists() else [f"{name}: new"]
        for line in lines:
            typer.echo(line)
        keep(name, found)
    for file in sorted(FOLDER.glob("*.json")):
        if file.stem not in COMMANDS and file.name != MADE_ON:
            file.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
