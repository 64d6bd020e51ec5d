"""Do other networks recognise the images that one network prefers? Every preset and prior, ten seeds a class.

    python -m benchmarks.recognised [--model NAME ...] [--seeds 10] [--seed 100] [HOW[,NAME=VALUE...] ...]

HOW is a preset, or prior:GENERATOR. For each of the model's classes the image that its score prefers is
made, rounded to 8 bits, and shown to the zoo's other networks with the same classes. Recognised: the class
comes first of all. One table for each --model, with 95 % intervals (Wilson), is written to
benchmarks/recognised.md; rows that were not asked for stay as they are. A network whose layer a prior was
trained to invert is marked (encodes): its word on that prior is not counted in the last column, all
networks that neither guided nor encoded for any row of the table. Presets and steps under a prior were
chosen with seeds 0 to 2; those measured are others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import ostrich
from benchmarks.bench import machine
from ostrich.attacks.fooling.recognition import kin, recognised
from ostrich.cli.options import pair
from ostrich.generative import load_generator
from ostrich.images import rounded
from ostrich.models import Classifier
from ostrich.statistics import wilson
from ostrich.verbs.visualize import as_ascent
from ostrich.visualization import PRESETS, ascend

RESULTS = Path(__file__).with_name("recognised.json")
TABLES = RESULTS.with_suffix(".md")
PRIOR = "prior:"
HEAD = """# Preferred images, shown to other networks

Images that classes prefer: how many in a hundred a network takes for that class first of all, with 95 %
interval. The first network of a table is the one that they were made with. Chance is one in the number of
classes. The last column counts the networks that neither guided the ascent nor encoded for a prior here.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one way to climb: hits by network, of n images."""

    model: str
    how: str
    encoder: str | None
    n: int
    hits: dict[str, int]
    steps: int
    seconds: float
    command: str
    date: str
    machine: str


def row(model: Classifier, judges: Sequence[Classifier], asked: str, seed: int, seeds: int) -> Row:
    """The row of a preset or prior, or of one with settings."""
    how, *given = asked.split(",")
    generator = load_generator(how.removeprefix(PRIOR), model.device) if how.startswith(PRIOR) else None
    settings = as_ascent(model, None if generator else how, generator, dict(pair(text) for text in given))
    classes = [k for k in range(model.num_classes) for _ in range(seeds)]
    started = time.process_time()
    found = ascend(model, [f"class:{k}" for k in range(model.num_classes)], settings, seed=seed, seeds=seeds)
    seconds = time.process_time() - started
    images = rounded(found.images)
    return Row(
        model=model.name,
        how=" ".join([how, *given]),
        encoder=None if generator is None else generator.card.get("encoder"),
        n=len(classes),
        hits={j.name: int(recognised(images, classes, model, j).sum()) for j in (model, *judges)},
        steps=settings.steps,
        seconds=round(seconds),
        command=f"python -m benchmarks.recognised --model {model.name} --seeds {seeds} --seed {seed}",
        date=str(date.today()),
        machine=machine(),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows of one model in Markdown."""
    model, names = rows[0].model, list(dict.fromkeys(name for one in rows for name in one.hits))
    encoders = {one.encoder for one in rows}
    heads = [f"{name} (encodes)" if name in encoders else name for name in names]
    lines = [["by", *heads, "neither", "steps", "CPU s"], ["---", *["---:"] * (len(names) + 3)]]
    for one in rows:
        counted = [name for name in names if name != model and name not in encoders]
        cells = [_share(one.hits[name], one.n) for name in names]
        total = _share(sum(one.hits[name] for name in counted), one.n * len(counted))
        lines.append([one.how, *cells, total, str(one.steps), f"{one.seconds:.0f}"])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    last = max(rows, key=lambda one: one.date)
    return (
        f"\n## {model}\n\n{rows[0].n} images a row.\n\n{text}\n\n"
        f"Measured {last.date} by `{last.command}`. {last.machine}\n"
    )


def _share(hits: int, count: int) -> str:
    if not count:
        return "-"
    low, high = wilson(hits, count)
    return f"{100 * hits / count:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recognised", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--model", action="append", help="repeatable [default: zoo:toybox-resnet20]")
    parser.add_argument("how", nargs="*", metavar="HOW", help="a preset or prior:GENERATOR; all presets")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=100, help="the first of them")
    asked = parser.parse_args()
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    rows = {(one["model"], one["how"]): Row(**one) for one in earlier}
    for name in asked.model or ["zoo:toybox-resnet20"]:
        model = ostrich.load(name, device="cpu")
        judges = kin(model)
        for how in asked.how or PRESETS:
            made = row(model, judges, how, asked.seed, asked.seeds)
            print(made.model, made.how, made.hits, f"of {made.n}", flush=True)
            rows[made.model, made.how] = made
            RESULTS.write_text(json.dumps([asdict(one) for one in rows.values()], indent=1) + "\n")
    groups = {model: [one for key, one in rows.items() if key[0] == model] for model, _ in rows}
    TABLES.write_text(HEAD + "".join(table(own) for own in groups.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
