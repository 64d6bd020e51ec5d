"""Do other networks recognise the images that one network prefers? Every preset, ten seeds a class.

    python -m benchmarks.recognised [--model NAME] [--seeds 10] [--seed 100] [PRESET[,NAME=VALUE...] ...]

For each of the model's classes the image that its score prefers is made, rounded to 8 bits, and shown
to the zoo's other networks with the same classes. Recognised: the class comes first of all. The table,
with 95 % intervals (Wilson), is written to benchmarks/recognised.md; rows that were not asked for stay
as they are. The preset `lucid` was chosen with seeds 0 to 2; those measured are others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import ostrich
from benchmarks.bench import machine
from ostrich.attacks.fooling.recognition import kin, recognised
from ostrich.cli.options import pair
from ostrich.images import rounded
from ostrich.models import Classifier
from ostrich.statistics import wilson
from ostrich.visualization import PRESETS, ascend, configure

RESULTS = Path(__file__).with_name("recognised.md")
HEAD = """# Preferred images, shown to other networks

Images that the classes of {model} prefer, {n} a preset ({classes} classes, {seeds} seeds each):
how many in a hundred a network takes for that class first of all, with 95 % interval. Chance is
{chance:.0f}. The first network is the one that they were made with.

"""


def row(model: Classifier, judges: Sequence[Classifier], asked: str, seed: int, seeds: int) -> list[str]:
    """The table's line of a preset, or of one with settings."""
    preset, *given = asked.split(",")
    settings = configure(dict(pair(text) for text in given), preset)
    classes = [k for k in range(model.num_classes) for _ in range(seeds)]
    started = time.process_time()
    units = [f"class:{k}" for k in range(model.num_classes)]
    found = ascend(model, units, settings, seed=seed, seeds=seeds)
    seconds = time.process_time() - started
    cells = [" ".join([preset, *given])]
    for judge in (model, *judges):
        hits = int(recognised(rounded(found.images), classes, model, judge).sum())
        low, high = wilson(hits, len(classes))
        cells.append(f"{100 * hits / len(classes):.0f} ({100 * low:.0f}-{100 * high:.0f})")
    return [*cells, str(settings.steps), f"{seconds:.0f}"]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recognised", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--model", default="zoo:toybox-resnet20")
    parser.add_argument("presets", nargs="*", metavar="PRESET", help="all of them unless named")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=100, help="the first of them")
    asked = parser.parse_args()
    model = ostrich.load(asked.model, device="cpu")
    judges = kin(model)
    names = [judge.name for judge in (model, *judges)]
    top = [["preset", *names, "steps", "CPU s"], ["---", *["---:"] * (len(names) + 2)]]
    earlier = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    rows = [line[2:-2].split(" | ") for line in earlier.splitlines() if line.startswith("| ")]
    lines = {cells[0]: cells for cells in rows if cells[0] not in ("preset", "---")}
    words = f"--model {asked.model} --seeds {asked.seeds} --seed {asked.seed}"
    head = HEAD.format(
        model=asked.model,
        n=model.num_classes * asked.seeds,
        classes=model.num_classes,
        seeds=asked.seeds,
        chance=100 / model.num_classes,
    )
    for preset in asked.presets or PRESETS:
        cells = row(model, judges, preset, asked.seed, asked.seeds)
        print(" | ".join(cells), flush=True)
        lines[cells[0]] = cells
        table = "\n".join("| " + " | ".join(line) + " |" for line in [*top, *lines.values()])
        tail = f"\n\nMeasured {date.today()} by `python -m benchmarks.recognised {words}`. {machine()}\n"
        RESULTS.write_text(head + table + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
