"""Measure rows: every contestant in one process, interleaved, in CPU seconds and wall-clock.

    python -m benchmarks.bench [--rows pgd] [--rounds 7] [--images 128] [--threads N] [--quick]

CPU seconds are those of all threads of this process (time.process_time), so a neighbour on the
machine disturbs them less than wall-clock. A round runs each contestant once, and each round begins
with another one. Before the rounds each runs once unmeasured. The table gives the median of the
rounds and their range, and is written, with the machine and the command, to benchmarks/results.md.
`--quick` is for trying the harness: one round of 16 images, nothing written.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import os
import platform
import shlex
import statistics
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import torch

from benchmarks.rows import ROWS, Row, problem

RESULTS = Path(__file__).with_name("results.md")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # what decides the speed of fp32 and bf16
LIBRARIES = ("torch", "ostrich-vision", "foolbox", "torchattacks", "adv-lib", "numpy")


@dataclass
class Measured:
    """One contestant's rounds, and the judge's word on its last result."""

    cpu: list[float] = field(default_factory=list)  # seconds, all threads
    wall: list[float] = field(default_factory=list)  # seconds
    verdict: dict[str, float] = field(default_factory=dict)


def measure(row: Row, rounds: int) -> dict[str, Measured]:
    """`rounds` interleaved measurements of each contestant."""
    names = list(row.contestants)
    measured = {name: Measured() for name in names}
    for name in names:
        row.contestants[name]()  # warm-up: allocator, kernels, folded copies
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            found = row.contestants[name]()
            measured[name].cpu.append(time.process_time() - cpu)
            measured[name].wall.append(time.perf_counter() - wall)
            measured[name].verdict = row.judge(found)
    return measured


def table(row: Row, measured: dict[str, Measured]) -> str:
    """One row as a markdown section; ratios are to the quickest of the others, in CPU seconds."""
    others = [m for name, m in measured.items() if not name.startswith("ostrich")]
    best = min((statistics.median(m.cpu) for m in others), default=None)
    judged = list(next(iter(measured.values())).verdict)
    head = ["", "CPU s", "range", "wall s", "times quicker", *judged]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, m in measured.items():
        cpu = statistics.median(m.cpu)
        lines.append(
            [
                name,
                f"{cpu:.2f}",
                f"{min(m.cpu):.2f}-{max(m.cpu):.2f}",
                f"{statistics.median(m.wall):.2f}",
                f"{best / cpu:.2f}" if best else "",
                *(f"{m.verdict[what]:.3f}" for what in judged),
            ]
        )
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    missing = f"\n\nNot installed: {', '.join(row.missing)}." if row.missing else ""
    return f"## {row.name}\n\n{row.setting}.\n\n{text}{missing}\n"


def machine() -> str:
    """Processor, cores, flags, load, threads and versions, as a markdown list."""
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
    shown = ", ".join(f"{flag} {'yes' if flag in flags else 'no'}" for flag in FLAGS) if flags else "unknown"
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return "\n".join(
        [
            f"- processor: {facts.get('model name') or platform.processor() or platform.machine()}",
            f"- cores: {cores}{load}; flags: {shown}",
            f"- threads: {torch.get_num_threads()}; Python {platform.python_version()}, {platform.system()}",
            f"- {', '.join(versions)}",
        ]
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}, with commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--threads", type=int, help="torch's threads; its own choice unless given")
    parser.add_argument("--quick", action="store_true", help="one round of 16 images, nothing written")
    asked = parser.parse_args()
    wanted = asked.rows.split(",")
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if asked.rounds < 1 or asked.images < 1:
        parser.error("at least one round of one image")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    rounds, images = (1, 16) if asked.quick else (asked.rounds, asked.images)

    task = problem(images)
    sections = []
    for row in (row for name in wanted for row in ROWS[name](task)):
        sections.append(table(row, measure(row, rounds)))
        print(sections[-1], flush=True)
    command = "python -m benchmarks.bench " + shlex.join(
        ["--rows", asked.rows, "--rounds", str(rounds), "--images", str(images)]
        + (["--threads", str(asked.threads)] if asked.threads else [])
    )
    report = (
        f"# Ostrich beside other libraries\n\nMeasured {date.today()} with `{command}`: medians of "
        f"{rounds} interleaved rounds in one process, CPU seconds of all threads. Times quicker: than the "
        "quickest other library. Success is judged by the plain network in fp32, on the returned images and "
        "on the images rounded to 8 bits (on file); Ostrich's time includes its own check of that, the "
        f"others' does not.\n\n{machine()}\n\n" + "\n".join(sections)
    )
    if asked.quick:
        print(machine())
    else:
        RESULTS.write_text(report, encoding="utf-8")
        print(f"written: benchmarks/{RESULTS.name}")


if __name__ == "__main__":
    main()
