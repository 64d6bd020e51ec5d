"""How fast are scenes drawn and rendered on one core: `python -m benchmarks.toybox.speed`.

Prints images per second of elapsed and of processor time (the latter is what counts on a machine
that is busy with something else).
"""

import argparse
import time

from rich.console import Console

from ostrich.data.toyscenes.rendering import render
from ostrich.data.toyscenes.sampling import CLASS_NAMES, scene


def measure(n: int, size: int) -> tuple[float, float]:
    """Images per second of wall-clock and of processor time over n training images."""
    for i in range(10 * len(CLASS_NAMES)):  # builds every object and prop once
        render(scene("train", i), size=size)
    wall, processor = time.perf_counter(), time.process_time()
    for i in range(1000, 1000 + n):
        render(scene("train", i), size=size)
    return n / (time.perf_counter() - wall), n / (time.process_time() - processor)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Images per second of the toybox on one core.")
    parser.add_argument("--n", type=int, default=200, help="images to measure (default 200)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default 64)")
    given = parser.parse_args()
    wall, processor = measure(given.n, given.size)
    Console().print(
        f"{given.size}x{given.size}, n = {given.n}: {wall:.1f} images/s elapsed, "
        f"{processor:.1f} images/s of processor time"
    )


if __name__ == "__main__":
    main()
