"""Measure rows: every contestant in one process, interleaved, in CPU seconds and wall-clock.

    python -m benchmarks.bench [--rows pgd,fgsm] [--rounds 7] [--images 64] [--threads N] [--quick]

CPU seconds are those of all threads of this process (time.process_time), so a neighbour on the
machine disturbs them less than wall-clock. A round runs each contestant once, and each round begins
with another one. The table gives the median of the rounds and their range, and is written, with the
machine and the command, to benchmarks/results.md; rows that were not asked for stay as they are.
`--quick` is for trying the harness: one round of 16 images, nothing written.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import os
import platform
import re
import shlex
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import torch

from benchmarks.problem import Row, problem
from benchmarks.rows import ROWS, tables
from ostrich.runtime import memory

RESULTS = Path(__file__).with_name("results.md")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # what decides the speed of fp32 and bf16
LIBRARIES = (
    "torch",
    "numpy",
    "scipy",
    "foolbox",
    "torchattacks",
    "adv-lib",
    "adversarial-robustness-toolbox",
    "captum",
    "zennit",
    "torch-lucent",
    "imagecorruptions",
)
LONG, FEWER = 30.0, 3  # where a contestant takes more CPU seconds, a row is measured as often as this
HEAD = """# Ostrich beside other libraries

Written by `make bench`. Times are medians of interleaved rounds in one process: CPU seconds of all
threads, with their range, and wall-clock. Times quicker: per unit of work, than the quickest that
is not ours. Success is judged by the plain network in fp32, on the returned images and on the
images rounded to 8 bits (on file); Ostrich's time includes its own check of that, the others' does
not.
"""


@dataclass
class Measured:
    """One contestant's rounds, and the judge's word on its last result."""

    cpu: list[float] = field(default_factory=list)  # seconds, all threads
    wall: list[float] = field(default_factory=list)  # seconds
    verdict: dict[str, float] = field(default_factory=dict)


def measure(row: Row, rounds: int) -> dict[str, Measured]:
    """Interleaved measurements of each contestant: `rounds`, or FEWER where one takes LONG.

    The first round warms up allocator and kernels and is dropped, unless it is such a long one.
    """
    names = list(row.contestants)
    first = _round(row, names)
    if max(m.cpu[0] for m in first.values()) > LONG:
        measured, rounds = first, min(rounds, FEWER) - 1
    else:
        measured = {name: Measured() for name in names}
    for turn in range(1, rounds + 1):
        start = turn % len(names)
        for name, once in _round(row, names[start:] + names[:start]).items():
            measured[name].cpu += once.cpu
            measured[name].wall += once.wall
            measured[name].verdict = once.verdict
    return measured


def _round(row: Row, names: list[str]) -> dict[str, Measured]:
    """Each contestant once, in this order."""
    measured = {}
    for name in names:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        found = row.contestants[name]()
        once = Measured([time.process_time() - cpu], [time.perf_counter() - wall])
        once.verdict = row.judge(found)
        measured[name] = once
    return measured


def table(row: Row, measured: Mapping[str, Measured]) -> str:
    """One table as a markdown section."""
    rates = {
        name: row.few.get(name, row.work) / max(statistics.median(m.cpu), 1e-9)
        for name, m in measured.items()
    }
    best = max((rate for name, rate in rates.items() if not name.startswith("ostrich")), default=None)
    judged = list(next(iter(measured.values())).verdict)
    head = ["", "CPU s", "range", "wall s", f"{row.unit}s / CPU s", "times quicker", *judged]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, m in measured.items():
        lines.append(
            [
                name,
                f"{statistics.median(m.cpu):.3g}",
                f"{min(m.cpu):.3g}-{max(m.cpu):.3g}",
                f"{statistics.median(m.wall):.3g}",
                f"{rates[name]:.3g}",
                f"{rates[name] / best:.2f}" if best else "",
                *(f"{m.verdict[what]:.4g}" for what in judged),
            ]
        )
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    rounds = len(next(iter(measured.values())).cpu)
    missing = f"\n\nNot installed: {', '.join(row.missing)}." if row.missing else ""
    return f"## {row.name}\n\n{row.setting}. Rounds: {rounds}.\n\n{text}{missing}\n"


def machine() -> str:
    """Processor, flags, threads, load and versions, as one paragraph."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        facts = {key.strip(): value.strip() for key, _, value in pairs}
    flags = facts.get("flags", "").split()
    versions = []
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    shown = f" ({', '.join(flag for flag in FLAGS if flag in flags)})" if flags else ""
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    name = facts.get("model name") or platform.processor() or platform.machine()
    return (
        f"{name}{shown}, cores: {cores}, torch threads: {torch.get_num_threads()}{load}; "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def merged(earlier: str, name: str, section: str, *, head: str = HEAD, order: Iterable[str] = ROWS) -> str:
    """The text of results.md, or of a page with another head, with one section new, all in their order."""
    sections = dict(re.findall(r"<!-- row (\S+) -->\n(.*?)(?=<!-- row |\Z)", earlier, re.DOTALL))
    sections[name] = section
    parts = [f"<!-- row {known} -->\n{sections[known].strip()}\n" for known in order if known in sections]
    return "\n".join([head, *parts])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}, with commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", type=int, help="torch's threads; its own choice unless given")
    parser.add_argument("--quick", action="store_true", help="one round of 16 images, nothing written")
    asked = parser.parse_args()
    memory.keep_freed()  # as the command line does; it serves all contestants
    wanted = asked.rows.split(",")
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if asked.rounds < 1 or asked.images < 1:
        parser.error("at least one round of one image")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    rounds, images = (1, 16) if asked.quick else (asked.rounds, asked.images)

    common = problem(images)
    for name in wanted:
        sections = []
        found = tables(name, common)
        if not found:
            print(f"left out: {name}, whose data OSTRICH_SHARED does not name", flush=True)
            continue
        for row in found:
            sections.append(table(row, measure(row, rounds)))
            print(sections[-1], flush=True)
        words = ["--rows", name, "--rounds", str(rounds), "--images", str(images)]
        words += ["--threads", str(asked.threads)] if asked.threads else []
        command = "python -m benchmarks.bench " + shlex.join(words)
        sections.append(f"Measured {date.today()} by `{command}`. {machine()}\n")
        if not asked.quick:
            earlier = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
            RESULTS.write_text(merged(earlier, name, "\n".join(sections)), encoding="utf-8")
            print(f"written: {name} in benchmarks/{RESULTS.name}", flush=True)


if __name__ == "__main__":
    main()
