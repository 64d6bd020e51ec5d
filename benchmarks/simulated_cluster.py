"""How a shared attack goes on more workers than are here: python -m benchmarks.simulated_cluster TIMES

TIMES is a file of `python -m benchmarks.many_images DATA --record TIMES`: seconds of pieces, and of what rank
0 does beside them. All look at the data first, in blocks. Rank 0's turn is that of
`runtime/executors/ranks.py`: it tells items ahead, takes what the others have answered, writes the table, and
computes a piece itself. Who computes a piece reads its images and writes its files. Efficiency is the time of
one process over that of so many, times their number.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
from collections import deque
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ostrich.runtime.executors.ranks import AHEAD

WORKERS = (1, 8, 64, 512)
LEAST = 0.9  # efficiency
AT = 64  # workers


@dataclass(frozen=True, kw_only=True)
class Times:
    """What was recorded: seconds in one process of one thread."""

    command: str
    size: int  # images of a piece
    pieces: tuple[float, ...]  # computing each, its files written
    begin: float  # a command, until its data is listed
    listing: float  # an image of the data, in rank 0
    looking: float  # at an image of a block, by who looks at that
    block: int  # images that one looks at
    reading: float  # the images of a piece, by who computes it
    sending: float  # where its images lie, to another process, in rank 0
    receiving: float  # its answer, in rank 0
    asking: float  # whether one answer is there
    writing: float  # its rows of images.csv, in rank 0
    opening: float  # telling others which files of a piece to read back, in rank 0
    asking_again: float  # reading them back, wherever that is
    merging: float  # a piece's rows into the result

    @classmethod
    def of(cls, file: Path) -> Times:
        """As `many_images --record` wrote them."""
        content: dict[str, Any] = json.loads(file.read_text())
        known = {one.name: content[one.name] for one in fields(cls)}
        return cls(**{**known, "pieces": tuple(known["pieces"])})


class Helpers:
    """The other processes: what is told, who computes it, and when the answers are there."""

    def __init__(self, count: int) -> None:
        self.count, self.taken = count, 0
        self._free = [0.0] * count
        self._told: deque[tuple[float, float]] = deque()  # when, and the seconds that it takes
        self._answers: list[float] = []

    def tell(self, now: float, seconds: float) -> None:
        """An item more, from `now` on."""
        self._told.append((now, seconds))

    def until(self, now: float) -> None:
        """Whoever is free takes the next item."""
        while self._told and self.count:
            when, seconds = self._told[0]
            start = max(when, self._free[0])
            if start > now:
                return
            self._told.popleft()
            heapq.heapreplace(self._free, start + seconds)
            heapq.heappush(self._answers, start + seconds)
            self.taken += 1

    def steal(self) -> float | None:
        """The next item that nobody has taken, for rank 0."""
        return self._told.popleft()[1] if self._told else None

    def answered(self, now: float) -> int:
        """How many answers have come."""
        count = 0
        while self._answers and self._answers[0] <= now:
            heapq.heappop(self._answers)
            count += 1
        return count

    @property
    def waiting(self) -> int:
        """How many items nobody has taken."""
        return len(self._told)

    @property
    def asked(self) -> int:
        """How many items are told and not answered."""
        return len(self._told) + len(self._answers)

    @property
    def next_answer(self) -> float:
        """When the next one comes."""
        self.until(float("inf"))
        return self._answers[0]


def seconds(times: Times, images: int, workers: int, seed: int = 0) -> float:
    """How long a command takes on so many images, with so many processes."""
    draw = random.Random(seed)
    left = deque(draw.choices(times.pieces, k=-(-images // times.size)))
    count = len(left)
    blocks = -(-images // times.block)
    turns = -(-blocks // workers)  # each takes the next block
    looking = times.looking * min(images, turns * times.block)
    now, helpers = times.begin + times.listing * images + looking, Helpers(workers - 1)
    own = 0  # pieces that rank 0 took
    while left or helpers.asked:
        helpers.until(now)
        while left and helpers.waiting < AHEAD * helpers.count:
            now += times.sending
            helpers.tell(now, times.reading + left.popleft())
            helpers.until(now)
        now += times.asking * helpers.asked
        now += helpers.answered(now) * (times.receiving + times.writing + times.merging)
        mine = helpers.steal()
        if mine is None and left:
            mine = times.reading + left.popleft()
        if mine is not None:
            own += 1
            now += mine + times.writing + times.merging
        elif helpers.asked:
            now = max(now, helpers.next_answer)
    if workers == 1:
        return now + count * times.asking_again
    shared = (times.opening + times.asking_again) / workers
    return now + count * max(times.opening, shared)  # rank 0 tells them, while the others compute


def main(arguments: list[str] | None = None) -> int:
    """Print a table; 1 where efficiency is too low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("times", type=Path, nargs="+", metavar="TIMES")
    parser.add_argument("--images", type=int, default=10**6)
    asked = parser.parse_args(arguments)
    fine = True
    print(f"| {asked.images} images | {' | '.join(f'{n} workers' for n in WORKERS)} |")
    print(f"| --- |{' ---: |' * len(WORKERS)}")
    for file in asked.times:
        times = Times.of(file)
        took = {workers: seconds(times, asked.images, workers) for workers in WORKERS}
        shares = {workers: took[1] / workers / long for workers, long in took.items()}
        cells = [f"{took[n] / 3600:.2f} h ({shares[n]:.0%})" for n in WORKERS]
        print(f"| {times.command} | {' | '.join(cells)} |")
        fine = fine and shares[AT] >= LEAST
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
