"""What many images cost: python -m benchmarks.many_images DATA [--counts 500,5000] [--attack fgsm]

An attack on more and more images, each in a process of its own with one thread: peak memory beside that of
the fewest, and where the seconds go. Merging is what one process does because the work was cut into pieces:
it reads their files, and makes one result and its figures of them. With `--processes 2` the same work is done
by one process with two threads and, under torchrun, by two with one thread each (`--rounds` times in turn).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ostrich.runtime.executors import Here

MODEL = "zoo:cifar10-resnet20"
PARTS = (
    "computing",
    "reading images",
    "keeping pieces",
    "writing files",
    "writing rows",
    "reading them back",
)
PARTS = (*PARTS, "merging")
MOST, SHARE = 300.0, 0.02  # MB above the fewest images; of the time, for merging


class Parts:
    """Seconds of each call of each part, without those of parts within it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.calls: dict[str, list[float]] = defaultdict(list)
        self._clock, self._inner = clock, [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose seconds are counted."""

        def called(*args: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            started = self._clock()
            try:
                return function(*args, **named)
            finally:
                took = self._clock() - started
                self.calls[part].append(took - self._inner.pop())
                self._inner[-1] += took

        return called


def watched(clock: Callable[[], float]) -> Parts:
    """The parts of every attack that this process makes from now on."""
    from ostrich.attacks.engine import evidence, runner
    from ostrich.attacks.engine.result import Joining
    from ostrich.data.sources import Part
    from ostrich.runtime import resumable
    from ostrich.verbs.attack import input_specific

    parts = Parts(clock)
    for holder, name, part in (
        (runner._Batch, "__call__", "computing"),
        (Part, "images", "reading images"),
        (resumable, "_write", "keeping pieces"),
        (evidence.Pictures, "write", "writing files"),
        (evidence.Evidence, "add", "writing rows"),
        (evidence._LookAgain, "at", "reading them back"),
        (resumable, "_read", "merging"),
        (Joining, "add", "merging"),
        (input_specific, "attack_figures", "merging"),
    ):
        setattr(holder, name, parts.timed(part, getattr(holder, name)))
    return parts


def child(words: list[str]) -> None:
    """Give a command here, and print what it took as a line of JSON."""
    started = time.perf_counter()
    from ostrich.cli.main import run
    from ostrich.runtime.memory import keep_freed

    keep_freed()  # as the command does
    parts = watched(time.perf_counter)
    if run(words) != 0:
        raise SystemExit(f"ostrich {' '.join(words)} failed")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # kB on Linux
    own = {part: sum(calls) for part, calls in parts.calls.items()}
    print(json.dumps({"megabytes": peak, "seconds": time.perf_counter() - started, **own}))


def measured(words: list[str], threads: int = 1) -> dict[str, float]:
    """What a command takes in a process of its own."""
    code = f"from benchmarks.many_images import child; child({words!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def attack_words(asked: argparse.Namespace, count: int, out: Path) -> list[str]:
    """The attack as typed."""
    settings = [word for setting in asked.set for word in ("--set", setting)]
    keep = ["--keep", asked.keep] if asked.keep else []
    words = ["attack", asked.attack, asked.model, asked.data, "--limit", str(count), *settings, *keep]
    return [*words, "--out", str(out / f"{asked.attack}-{count}"), "--force"]


def by_count(asked: argparse.Namespace, place: Path) -> bool:
    """The table of peak memory and of seconds; whether it is as it should be."""
    print(f"| images | peak MB | above the fewest | seconds | {' | '.join(PARTS)} | the rest | kB on disk |")
    print(f"|{' ---: |' * (6 + len(PARTS))}", flush=True)
    first, fine = None, True
    for count in map(int, asked.counts.split(",")):
        found = measured(attack_words(asked, count, place))
        first = first or found["megabytes"]
        above, seconds = found["megabytes"] - first, found["seconds"]
        own = [found.get(part, 0.0) for part in PARTS]
        fine = fine and above <= MOST and found.get("merging", 0.0) <= SHARE * seconds
        shown = [f"{took:.1f} ({took / seconds:.1%})" for took in (*own, seconds - sum(own))]
        out = place / f"{asked.attack}-{count}"
        disk = sum(path.lstat().st_blocks for path in out.rglob("*")) / 2  # of 512 bytes each
        images = json.loads((out / "run.json").read_text())["data"]["n"]  # there may be fewer
        cells = [
            str(images),
            f"{found['megabytes']:.0f}",
            f"{above:+.0f}",
            f"{seconds:.1f}",
            *shown,
            f"{disk:.0f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    return fine


def by_processes(asked: argparse.Namespace, place: Path) -> bool:
    """Several processes of a thread against one of as many threads; whether they are at least as fast."""
    count, many = int(asked.counts.split(",")[0]), str(asked.processes)
    words = attack_words(asked, count, place)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", many]
    contestants = {
        f"1 process, {many} threads": ([sys.executable], many),
        f"{many} processes, 1 thread each": (torchrun, "1"),
    }
    if asked.check:
        words = ["check", asked.model, asked.data, "--images", str(count), "--only", "clean,corruptions"]
        words += ["--out", str(place / "check"), "--force"]
    took: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(asked.rounds):
        for name, (start, threads) in contestants.items():
            began = time.perf_counter()
            environment = {**os.environ, "OMP_NUM_THREADS": threads}
            subprocess.run(
                [*start, "-m", "ostrich", "--quiet", *words], env=environment, check=True, capture_output=True
            )
            took[name].append(time.perf_counter() - began)
    print("| who | seconds, median | range |\n| --- | ---: | --- |")
    for name, seconds in took.items():
        print(f"| {name} | {statistics.median(seconds):.1f} | {min(seconds):.1f} to {max(seconds):.1f} |")
    one, several = (statistics.median(seconds) for seconds in took.values())
    return several <= one


class _Answers(Here):
    """Blocks of pictures that are looked at once; whoever asks again is told the answer at once."""

    def __init__(self) -> None:
        self.known: list[tuple[Any, Any]] = []
        self.seconds = 0.0

    def map(self, compute: Any, items: Any, **_: Any) -> Any:
        if self.known:
            list(items)  # are made, to be told
            yield from self.known
            return
        for item in items:
            started = time.process_time()
            answer = compute(item)
            self.seconds += time.process_time() - started
            self.known.append((item, answer))
            yield item, answer


def record(asked: argparse.Namespace, place: Path) -> bool:
    """Write to a file what `benchmarks.simulated_cluster` reads: processor seconds, which neighbours stretch
    less than the clock's.
    """
    import torch
    from torch.distributed import TCPStore

    from ostrich.attacks.engine import runner
    from ostrich.attacks.engine.evidence import _Claims
    from ostrich.attacks.goals import Untargeted
    from ostrich.cli.main import run
    from ostrich.data import loading, looking
    from ostrich.data.options import DataOptions
    from ostrich.data.spec import opened
    from ostrich.runtime import resumable, together
    from ostrich.runtime.executors import computing_on
    from ostrich.runtime.executors.sending import packed, unpacked
    from ostrich.runtime.files import read_tensors
    from ostrich.verbs.attack import input_specific

    input_specific.HELD = 0  # as of many images: who computes a piece writes its files
    torch.set_num_threads(1)
    count, contents = int(asked.counts.split(",")[0]), []

    def took(work: Callable[[], Any], times: int = 1) -> float:
        started = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - started) / times

    begin = took(lambda: run(["--quiet", *attack_words(asked, 1, place)]))
    write = resumable._write

    def kept(file: Path, *content: Any) -> None:
        write(file, *content)
        contents[:] = [file.read_bytes()]

    parts = watched(time.thread_time)
    resumable._write = kept
    if run(["--quiet", *attack_words(asked, count, place)]) != 0:
        return False
    resumable._write = write
    size = min(count, runner.MOST_IMAGES)
    both = zip(parts.calls["computing"], parts.calls["writing files"], strict=True)
    pieces = [sum(seconds) for seconds in both][: count // size]
    whole = max(1, len(pieces))
    samples, answers = [], _Answers()
    first, loading.DECODED_FIRST = loading.DECODED_FIRST, 1  # which are so many, however many are listed

    def load() -> None:
        data = opened([asked.data], DataOptions())
        samples[:] = [loading.load(data, size=(32, 32), limit=asked.listed)]

    with computing_on(answers):
        load()  # others look at each block
        listing = took(load)  # and rank 0 does the rest
    reading = took(lambda: samples[0].take(range(size)).images(), 3)
    labels = torch.arange(size)
    order = (range(size), samples[0].part(range(size)), Untargeted(labels), labels)
    claims = _Claims(*(array("q", range(64)) for _ in range(3)))
    together._Joined.store = store = TCPStore("127.0.0.1", 0, 1, is_master=True)

    def there_and_back(name: str, content: Any) -> None:
        together.put(name, packed(content))
        unpacked(together.fetch(name))
        together.forget(name)

    telling = sum(
        took(lambda some=some: there_and_back("block", some)) for both in answers.known for some in both
    )
    file = place / "piece.pt"
    file.write_bytes(contents[0])
    found = {
        "command": " ".join(["ostrich attack", asked.attack, *asked.set, asked.keep or ""]).strip(),
        "size": size,
        "pieces": [round(seconds, 4) for seconds in pieces],
        "begin": begin + min(first, asked.listed) * reading / size,
        "listing": (listing + telling) / len(samples[0]),
        "looking": answers.seconds / len(samples[0]),
        "block": looking.BLOCK,
        "reading": reading,
        "sending": took(lambda: there_and_back("piece", order), 20),
        "receiving": took(lambda: read_tensors(file), 5),
        "asking": took(lambda: together.there("nothing"), 500),
        "writing": sum(parts.calls["writing rows"]) / whole,
        "opening": size / 64 * took(lambda: there_and_back("claims", claims), 20),
        "asking_again": sum(parts.calls["reading them back"]) / whole,
        "merging": sum(parts.calls["merging"]) / whole,
        "kilobytes": len(contents[0]) / size / 1000,
    }
    del store
    together._Joined.store = None
    asked.record.write_text(json.dumps(found, indent=1) + "\n")
    return True


def main(arguments: list[str] | None = None) -> int:
    """Print a table; 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--attack", default="fgsm")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--keep", help="which pictures are written")
    parser.add_argument("--counts", default="500,5000", help="images, the fewest first")
    parser.add_argument("--processes", type=int, help="compare so many with one of as many threads")
    parser.add_argument("--check", action="store_true", help="with --processes: corruptions, not an attack")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", type=Path, metavar="FILE", help="times for benchmarks.simulated_cluster")
    parser.add_argument("--listed", type=int, default=16000, help="with --record: images that are listed")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        table = record if asked.record else by_processes if asked.processes else by_count
        return 0 if table(asked, Path(place)) else 1


if __name__ == "__main__":
    sys.exit(main())
