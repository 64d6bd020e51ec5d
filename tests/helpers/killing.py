"""Commands killed at random moments and given again: `python tests/helpers/killing.py --times 20`.

Each command is first run undisturbed. Then, again and again in a new folder, it is started, killed by
SIGKILL (or sent SIGINT, by `--signal INT`) at a random moment, once or several times, and given again until
it is done. What it leaves must be what the undisturbed run left, to the byte, but for seconds and dates.
Processes are forked from this one, which has only imported, so that a moment falls into the work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ostrich.cli.main import run
from ostrich.runtime import resumable

LATE = ("jinja2", "sklearn.datasets", "torch._dynamo", "ostrich.crashtest.check", "ostrich.generative.run")
LATE += ("ostrich.studies.trials", "ostrich.studies.depth", "ostrich.training.run")  # imported when needed
DIGITS = ["zoo:digits-cnn", "digits"]
COMMANDS = {
    "attack": ["attack", "apgd", *DIGITS, "--limit", "300", "--set", "steps=40", "--set", "eps=0.06"],
    "ensemble": ["attack", "autoattack", *DIGITS, "--limit", "12", "--set", "eps=0.08"],
    "fooling": ["attack", "fooling-cppn", "zoo:digits-cnn", "--limit", "3", "--set", "generations=300"],
    "fit": ["attack", "universal", *DIGITS, "--limit", "400", "--set", "fit=200", "--set", "epochs=40"],
    "train": ["train", "digits-cnn", "--set", "epochs=2", "--precision", "exact"],
    "generate": ["generate", "train", "digits-perceptron", "--set", "steps=150", "--set", "watch_every=50"],
    "study": ["study", "depth", "--scale", "smoke"],
    "check": ["check", "zoo:toybox-resnet20", "toybox", "--images", "8"],
}
MORE = {
    "check": ["--only", "clean,targeted-pair,robustness,worst-case,doctor"],
    "fooling": ["--set", "population=20", "--set", "stop=budget"],
    "generate": ["--set", "architecture=perceptron,size=8,channels=1,width=0.2", "--set", "judge_samples=64"],
}
TIMES = {"seconds", "date", "computation", "checksum"}  # keys that may differ
PASSING = {".pt", ".html", ".md", ".txt", ".lock"}  # suffixes of files that are not results, or tell seconds
KEPT = {"shards", "trials"}  # folders of work that is kept
LIMIT = 300.0  # seconds, for one command


def started(words: list[str], out: Path) -> int:
    """Fork a process that runs a command and leaves with its code; its id."""
    sys.stdout.flush()
    if process := os.fork():
        return process
    try:
        with (out.parent / f"{out.name}.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        resumable.EVERY, resumable.SHARE = 0.1, 0.5  # so that most moments lie behind a checkpoint
        os._exit(run([*words, "--out", str(out)]))
    finally:
        os._exit(99)


def ended(process: int) -> int:
    """Wait for its end: its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def interrupted(words: list[str], out: Path, after: float, how: signal.Signals) -> int:
    """Start a command, and send it a signal so many seconds after it has begun to write; how it ended."""
    process, limit = started(words, out), time.monotonic() + LIMIT
    while not (out / "run.json").exists() and time.monotonic() < limit:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    time.sleep(after)
    done, status = os.waitpid(process, os.WNOHANG)
    if done:
        return os.waitstatus_to_exitcode(status)
    os.kill(process, how)
    return ended(process)


def outcome(folder: Path) -> dict[str, Any]:
    """What a run left, by file, without what may differ."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix in PASSING or name in ("computation.json", "plan.json") or KEPT & set(name.split("/")):
            continue
        if path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".safetensors":
            found[name] = {key: value.numpy().tobytes() for key, value in load_file(path).items()}
        else:
            found[name] = path.read_bytes()
    if "run.json" in found:
        found["run.json"].pop("command")  # it names the folder
    return found


def _timeless(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _timeless(value) for key, value in content.items() if key not in TIMES}
    return [_timeless(part) for part in content] if isinstance(content, list) else content


def tried(name: str, times: int, how: signal.Signals, place: Path, draw: random.Random) -> dict[str, Any]:
    """One command, disturbed in so many folders: counts, and the files that differed."""
    words = COMMANDS[name] + MORE.get(name, [])
    began = time.monotonic()
    whole = place / f"{name}-whole"
    if (code := ended(started(words, whole))) != 0:
        log = (place / f"{whole.name}.log").read_text()
        raise SystemExit(f"{name} leaves with {code} undisturbed:\n{log}")
    long, expected = time.monotonic() - began, outcome(whole)
    facts: dict[str, Any] = {"seconds": round(long, 1), "signals": 0, "differing": []}
    for number in range(times):
        out = place / f"{name}-{number}"
        for _ in range(draw.choice((1, 1, 2, 3))):
            code = interrupted(words, out, draw.uniform(0, long), how)
            if code == 0:
                break
            facts["signals"] += 1
            if json.loads((out / "run.json").read_text())["finished"]:
                break  # the signal came when all was written
            if code != (-signal.SIGKILL if how == signal.SIGKILL else 130):
                facts["differing"].append(f"{out.name}: left with {code}")
        else:
            if (code := ended(started(words, out))) != 0:
                facts["differing"].append(f"{out.name}: given again it leaves with {code}")
        found = outcome(out)
        wrong = [file for file in {**expected, **found} if expected.get(file) != found.get(file)]
        wrong += [str(path) for path in out.rglob(".*.partial")]
        facts["differing"] += [f"{out.name}: {file}" for file in wrong]
    return facts


def main(arguments: list[str]) -> int:
    """Run the table; 1 where anything differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="folders of each command")
    parser.add_argument("--only", default=",".join(COMMANDS), help="commands, with commas")
    parser.add_argument("--signal", default="KILL", choices=("KILL", "INT"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", type=Path, help="where the folders are left; default: nowhere")
    asked = parser.parse_args(arguments)
    for module in LATE:
        import_module(module)
    how, bad = signal.Signals[f"SIG{asked.signal}"], 0
    with tempfile.TemporaryDirectory() as nowhere:
        place = (asked.place or Path(nowhere)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        for name in asked.only.split(","):
            facts = tried(name, asked.times, how, place, random.Random(f"{asked.seed} {name}"))
            sys.stdout.write(json.dumps({"command": name, "folders": asked.times, **facts}) + "\n")
            sys.stdout.flush()
            bad += len(facts["differing"])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
