"""Nonsense and damage given to commands: `python tests/helpers/fuzz.py --seed 0 --count 300`.

Malformed lines, settings, weights, images and artefacts, and run directories with a damaged file. Whatever is
given, a command leaves with 0, with 2 and one sentence, or, where it has gates, with 1: never with a
traceback. A damaged run that ends has the results of the undisturbed one. A case depends on the seed and its
number alone. What takes longer than LIMIT seconds is cut off, which is no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
import typer
from killing import outcome
from PIL import Image
from safetensors.torch import save_file

from ostrich.attacks import ATTACKS
from ostrich.attribution import EXPLAINERS
from ostrich.cli.main import app, run
from ostrich.models import load
from ostrich.runtime import resumable
from ostrich.runtime.files import read_json, write_json
from ostrich.runtime.settings import readable

LIMIT = 3.0  # seconds of the processor for one command
MEMORY = 24 * 2**30  # bytes of addresses for the whole
NET = ["zoo:digits-cnn", "digits", "--limit", "4"]
GATED = {"check", "doctor", "demo", "study"}  # may leave with 1
NONSENSE = ("nan", "inf", "-inf", "-1", "0", "1e309", "", " ", "words", "99999999999999999999", "-0.5", "1/0")
NONSENSE += (
    "1,2,3",
    "None",
    "true",
    "ü☃",
    "\udcff",
    "x" * 5000,
    "=",
    "eps=",
    "../..",
    "zoo:",
    "0x10",
    "1e-320",
)
NUMBERS = (
    "-1",
    "0",
    "1",
    "2",
    "0.5",
    "1e-320",
    "1e300",
    "1e19",
    "99999999999999999999",
    "2147483648",
    "100000",
)
LINES: tuple[list[str], ...] = (
    ["attack", "fgsm", *NET, "--seed", "1", "--target", "random", "--precision", "exact"],
    ["attack", "pgd", *NET, "--set", "steps=2", "--set", "eps=8/255", "--set", "norm=l2"],
    ["attack", "fooling-ascent", "zoo:digits-cnn", "--limit", "1", "--set", "steps=2"],
    ["explain", "gradient", *NET, "--unit", "class:3"],
    ["visualize", "zoo:digits-cnn", "--unit", "class:3", "--set", "steps=2"],
    ["check", *NET, "--only", "clean", "--minutes", "1", "--fail-under", "linf:1/255=0.2"],
    ["doctor", *NET, "--size", "8", "--mean", "0.5", "--std", "0.5"],
    ["compare", "run", "run"],
    ["status", "run"],
    ["train", "digits-cnn", "--set", "epochs=1"],
    ["generate", "sample", "zoo:digits-perceptron", "--count", "2"],
    ["study", "depth", "--scale", "smoke"],
    ["list", "attacks"],
)
FORMS = (
    "digits",
    "images:one.png",
    "folder:.",
    "toybox",
    "one.png",
    "cifar10:none",
    "faces:",
    "mesh:one.png",
)


WHOLE = tempfile.TemporaryDirectory(prefix="ostrich-fuzz-")  # of undisturbed runs; goes with the process


@dataclass(frozen=True)
class Left:
    """How a command left: its exit code, and what it said."""

    code: int
    out: str
    err: str


Judged = tuple[list[str], str | None]  # a command, and what it does against the rule
Case = Callable[[random.Random, Path], Judged]


def given(words: list[str], limit: float = LIMIT) -> Left:
    """Give a command, in this process, for at most so many seconds."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGPROF, _cut)
    signal.setitimer(signal.ITIMER_PROF, limit, 1.0)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = run(words)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return Left(code, out.getvalue(), err.getvalue())


def _cut(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def wrong(words: list[str], left: Left) -> str | None:
    """What is against the rule in how a command left, None where nothing is."""
    if "Traceback" in left.err or left.code not in (0, 1, 2, 130):
        return f"left with {left.code}: {left.err[-600:]}"
    if left.code == 1 and words[0] not in GATED:
        return f"left with 1: {left.err[-600:]}"
    if left.code == 2 and "ostrich: " not in left.err:
        return f"no sentence: {left.err[-600:]}"
    return None


# What is given -------------------------------------------------------------------------------


def line(draw: random.Random, place: Path) -> Judged:
    """A command line with one to three words changed, put in or left out."""
    words = list(draw.choice(LINES))
    Image.new("L", (8, 8)).save(place / "one.png")
    for _ in range(draw.choice((1, 1, 1, 2))):
        at = draw.randrange(1, len(words) + 1)
        way = draw.choice(("option", "option", "option", "change", "put in", "leave out", "data"))
        if way == "put in":
            words.insert(at, draw.choice(NONSENSE))
        elif way == "option":
            words += [
                draw.choice(_options(*words[:2])),
                draw.choice(draw.choice((NONSENSE, NUMBERS, NUMBERS))),
            ]
        elif way == "data":
            words.insert(at, draw.choice(FORMS))
        elif at < len(words):
            words[at : at + 1] = [draw.choice(NONSENSE)] if way == "change" else []
    return judged(words)


def setting(draw: random.Random, place: Path) -> Judged:
    """A setting of an attack or of an explainer."""
    kind, registry = draw.choice((("attack", ATTACKS), ("explain", EXPLAINERS)))
    name = draw.choice(list(registry))
    budget = ["eps", "norm", "eot", "eot.blur", "confidence"] if kind == "attack" else []
    field = draw.choice([*readable(registry[name]), *budget, "nothing"])
    value = draw.choice(draw.choice((NONSENSE, NUMBERS, NUMBERS)))
    data = NET if not name.startswith("fooling") else ["zoo:digits-cnn", "--limit", "1"]
    return judged([kind, name, *data, "--set", f"{field}={value}"])


def weights(draw: random.Random, place: Path) -> Judged:
    """A file of weights, cut off, with wrong bits, of wrong shapes, or of random bytes."""
    network = load("zoo:digits-cnn", device="cpu").network
    assert isinstance(network, torch.nn.Module)
    state, file = dict(network.state_dict()), place / draw.choice(("w.safetensors", "w.pt"))
    if draw.random() < 0.2:
        name = draw.choice(list(state))
        state[name] = draw.choice((state[name][:1].clone(), torch.zeros(0), state[name].int()))
    save_file(state, file) if file.suffix == ".safetensors" else torch.save(state, file)
    spoiled(draw, file, early=draw.random() < 0.2)
    return judged(["attack", "fgsm", *NET, "--weights", str(file)])


def image(draw: random.Random, place: Path) -> Judged:
    """Images of which one is cut off, has wrong bits, another suffix or a header of enormous size."""
    kind = draw.choice(("png", "jpg", "gif", "bmp", "tif", "webp"))
    for i in range(2):
        Image.new("RGB", (32, 32), (i, 60, 90)).save(place / f"{i}.{kind}")
    file = place / f"0.{kind}"
    if kind == "png" and draw.random() < 0.3:
        content = bytearray(file.read_bytes())
        content[16:24] = (draw.choice((0, 40_000, 2**31 - 1))).to_bytes(
            4, "big"
        ) * 2  # of IHDR, width and height
        file.write_bytes(bytes(content))
    else:
        spoiled(draw, file, early=draw.random() < 0.5)
    if draw.random() < 0.2:
        file = file.rename(place / f"0.{draw.choice(('png', 'jpg', 'txt', 'npy'))}")
    data = draw.choice((str(file), f"images:{place}", f"folder:{place.parent}"))
    return judged(["attack", "fgsm", "zoo:digits-cnn", data, *draw.choice(([], ["--skip-bad"]))])


def artefact(draw: random.Random, place: Path) -> Judged:
    """An artefact that is applied, with a wrong bit or cut off."""
    words = ["attack", "universal", "zoo:digits-cnn", "digits", "--limit", "12", "--json"]
    whole = made(tuple(words), ("--set", "fit=6", "--set", "epochs=1"))
    apply = [*words, "--seed", "5", "--artefact"]
    file = Path(shutil.copy(whole / "artefact.safetensors", place / "a.safetensors"))
    spoiled(draw, file, early=draw.random() < 0.1)
    left = given([*apply, str(file), "--out", str(place / "out")])
    found = wrong(apply, left)
    if found is None and left.code == 0:
        clean = given([*apply, str(whole / "artefact.safetensors"), "--out", str(place / "clean")])
        found = (
            None if _timeless(left.out) == _timeless(clean.out) else "a damaged artefact gave other results"
        )
    return apply, found


RESUMED = {
    "attack": (("attack", "apgd", *NET, "--set", "steps=5", "--set", "eps=0.06"), ()),
    "check": (("check", *NET, "--only", "clean,targeted-pair"), ()),
    "explain": (("explain", "gradient", *NET), ()),
    "fit": (("attack", "universal", "zoo:digits-cnn", "digits", "--limit", "12"), ("--set", "fit=6")),
}


def resumed(draw: random.Random, place: Path) -> Judged:
    """A run directory that was cut off, with one file damaged; then the same command again."""
    words = RESUMED[draw.choice(list(RESUMED))]
    whole, folder = made(*words), place / "run"
    shutil.copytree(whole, folder)
    about = read_json(folder / "run.json")
    write_json(folder / "run.json", about | {"results": None, "finished": False})
    if draw.random() < 0.3:  # cut off within a batch
        for half in folder.rglob("*.half.pt"):
            (half.parent / half.name.replace(".half", "")).unlink(missing_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    read = [path for path in files if path.suffix in (".json", ".pt", ".safetensors", ".jsonl", ".csv")]
    file = draw.choice(draw.choice((files, read)))
    spoiled(draw, file, early=draw.random() < 0.3)
    again = [*words[0], *words[1], "--out", str(folder)]
    left = given(again)
    found = wrong(again, left)
    if found is None and left.code == 0:
        expected, now = outcome(whole), outcome(folder)
        other = [name for name in {**expected, **now} if expected.get(name) != now.get(name)]
        found = f"done, with other {', '.join(other)}" if other else None
    return [*again, str(file.relative_to(folder))], found


def earlier(draw: random.Random, place: Path) -> Judged:
    """A finished run with a damaged run.json, to be compared with."""
    whole = made(*RESUMED["check"])
    folder = place / "run"
    folder.mkdir()
    file = Path(shutil.copy(whole / "run.json", folder))
    spoiled(draw, file, early=False)
    words = ["compare", str(whole), str(folder), "--json"]
    if draw.random() < 0.2:
        words = [*RESUMED["check"][0], "--only", "clean", "--baseline", str(folder), "--json"]
        words += ["--out", str(place / "out")]
    left = given(words)
    found = wrong(words, left)
    if found is None and left.code == 1:
        found = "a damaged run failed the gate"
    if found is None and left.code == 0 and words[0] == "compare":
        found = None if all(row["difference"] == 0 for row in json.loads(left.out)) else "another difference"
    return words, found


FAMILIES: tuple[Case, ...] = (line, setting, weights, image, artefact, resumed, earlier)


# Means ---------------------------------------------------------------------------------------


@cache
def _options(name: str, second: str = "") -> tuple[str, ...]:
    """The options of a command, and one that no command has."""
    command: Any = typer.main.get_command(app)
    for word in (name, second):
        command = getattr(command, "commands", {}).get(word, command)
    return ("--nonsense", *(word for one in command.params for word in one.opts if word.startswith("-")))


def judged(words: list[str]) -> Judged:
    """A command for which only the rule of leaving holds."""
    return words, wrong(words, given(words))


def spoiled(draw: random.Random, file: Path, *, early: bool) -> None:
    """Damage a file: one bit, in its first 200 bytes where `early`, or a digit; cut it off, or refill it."""
    content = bytearray(file.read_bytes())
    way = draw.choice(("bit", "bit", "bit", "digit", "digit", "cut", "empty", "random"))
    digits = [at for at, value in enumerate(content) if chr(value).isdigit()] if way == "digit" else []
    if digits:
        content[draw.choice(digits)] = ord(draw.choice("0123456789"))
    elif way in ("bit", "digit"):
        content[draw.randrange(min(len(content), 200) if early else len(content))] ^= 1 << draw.randrange(8)
    elif way == "cut":
        del content[draw.randrange(len(content)) :]
    else:
        content = bytearray(draw.randbytes(300)) if way == "random" else bytearray()
    file.write_bytes(bytes(content))


@cache
def made(words: tuple[str, ...], more: tuple[str, ...] = ()) -> Path:
    """The folder of an undisturbed run, which keeps its checkpoints."""
    folder = Path(tempfile.mkdtemp(dir=WHOLE.name)) / "whole"
    with (
        mock.patch.multiple(resumable, EVERY=0.0, SHARE=1e9),
        mock.patch.object(resumable.Checkpoint, "drop"),
    ):
        left = given([*words, *more, "--out", str(folder)], 60.0)
    assert left.code == 0, left.err
    return folder


def _timeless(text: str) -> dict[str, object]:
    return {name: value for name, value in json.loads(text).items() if name != "seconds"}


def fuzz(seed: int, numbers: range, say: Callable[[str], object] = lambda text: None) -> list[str]:
    """Run the cases of these numbers; what was against the rule."""
    found: list[str] = []
    here, seconds = Path.cwd(), Counter[str]()
    for number in numbers:
        family, draw = FAMILIES[number % len(FAMILIES)], random.Random(f"{seed} {number}")
        began = time.process_time()
        with tempfile.TemporaryDirectory(prefix="ostrich-fuzz-") as folder:
            place = Path(folder) / "place"
            place.mkdir()
            os.chdir(place)
            try:
                words, fault = family(draw, place)
            finally:
                os.chdir(here)
        if fault is not None:
            found.append(f"{number} {family.__name__}: {words!a}: {fault}")
            say(found[-1])
        seconds[family.__name__] += time.process_time() - began  # type: ignore[assignment]
    say(
        json.dumps({"cases": len(numbers), "against the rule": len(found), "seconds": seconds}, default=round)
    )
    return found


def main(arguments: list[str]) -> int:
    """Run the cases; 1 where one is against the rule."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--count", type=int, default=300)
    asked = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    numbers = range(asked.first, asked.first + asked.count)
    return 1 if fuzz(asked.seed, numbers, lambda text: sys.stdout.write(f"{text}\n")) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
