"""Do other networks recognise the images that one network prefers? Every preset, ten seeds a class.

    python -m benchmarks.recognised [--model NAME] [--presets lucid,plain] [--seeds 10] [--seed 100]

For each of the model's classes the image that its score prefers is made, rounded to 8 bits, and shown
to the zoo's other networks with the same classes. Recognised: the class comes first of all. The table,
with 95 % intervals (Wilson), is written to benchmarks/recognised.md. The preset `lucid` was chosen with
seeds 0 to 2; those measured are others.
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
from ostrich.images import rounded
from ostrich.models import Classifier
from ostrich.statistics import wilson
from ostrich.visualization import PRESETS, ascend

RESULTS = Path(__file__).with_name("recognised.md")
HEAD = """# Preferred images, shown to other networks

Images that the classes of {model} prefer, {n} a preset ({classes} classes, {seeds} seeds each):
how many in a hundred a network takes for that class first of all, with 95 % interval. Chance is
{chance:.0f}. The first network is the one that they were made with.

"""


def row(model: Classifier, judges: Sequence[Classifier], preset: str, seed: int, seeds: int) -> list[str]:
    """One preset's line of the table."""
    classes = [k for k in range(model.num_classes) for _ in range(seeds)]
    started = time.process_time()
    units = [f"class:{k}" for k in range(model.num_classes)]
    found = ascend(model, units, PRESETS[preset], seed=seed, seeds=seeds)
    seconds = time.process_time() - started
    cells = [preset]
    for judge in (model, *judges):
        hits = int(recognised(rounded(found.images), classes, model, judge).sum())
        low, high = wilson(hits, len(classes))
        cells.append(f"{100 * hits / len(classes):.0f} ({100 * low:.0f}-{100 * high:.0f})")
    return [*cells, str(PRESETS[preset].steps), f"{seconds:.0f}"]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recognised", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--model", default="zoo:toybox-resnet20")
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=100, help="the first of them")
    asked = parser.parse_args()
    model = ostrich.load(asked.model, device="cpu")
    judges = kin(model)
    names = [judge.name for judge in (model, *judges)]
    lines = [["preset", *names, "steps", "CPU s"], ["---", *["---:"] * (len(names) + 2)]]
    words = f"--model {asked.model} --presets {asked.presets} --seeds {asked.seeds} --seed {asked.seed}"
    head = HEAD.format(
        model=asked.model,
        n=model.num_classes * asked.seeds,
        classes=model.num_classes,
        seeds=asked.seeds,
        chance=100 / model.num_classes,
    )
    for preset in asked.presets.split(","):
        lines.append(row(model, judges, preset, asked.seed, asked.seeds))
        print(" | ".join(lines[-1]), flush=True)
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        tail = f"\n\nMeasured {date.today()} by `python -m benchmarks.recognised {words}`. {machine()}\n"
        RESULTS.write_text(head + table + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
