"""Does an ascent under a prior excite hidden units as much as the best of real images?

    python -m benchmarks.hidden_units [--model NAME] [--units 50] [--images 2000] [HOW ...]

HOW is a preset, or prior:GENERATOR.

Units are drawn by seed from the channels of the named layers, each the mean over its map. One image is
made for each (`--seeds` starts, of which the best counts), rounded to 8 bits, and its value compared with
the highest among real images, those of the toybox's training split from number 0. The table, with a 95 %
interval (Wilson) and how it goes by layer, is written to benchmarks/hidden_units.md.
"""

from __future__ import annotations

import argparse
import time
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

import ostrich
from benchmarks.bench import machine
from ostrich.data.training_data import open_split
from ostrich.generative import load_generator
from ostrich.images import rounded
from ostrich.inspection.units import activations, parse, values
from ostrich.models import Classifier
from ostrich.models.untouched import untouched
from ostrich.statistics import wilson
from ostrich.visualization import PRESETS, Ascent, Prior, as_objective, ascend, with_prior, worth
from ostrich.visualization.parametrisations import Canvas

RESULTS = Path(__file__).with_suffix(".md")
LAYERS = "layer1.2,layer2.2,layer3.2"  # the last block of every stage
BATCH = 250  # images
HEAD = """# Hidden units: images made for them, against real ones

{units} channels of {model}, drawn by seed {seed} from {layers}: how many are excited by an image made for
them (starts: {seeds}) at least as much as by the best of {images} real images.

"""


def drawn(model: Classifier, layers: list[str], count: int, seed: int, example: Tensor) -> list[str]:
    """The names of `count` channels of these layers, by seed."""
    with untouched(model.network), torch.no_grad():
        every = [
            f"{layer}:{k}" for layer in layers for k in range(activations(model, example, layer).shape[1])
        ]
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))
    return sorted(every[i] for i in order[:count].tolist())


def highest(model: Classifier, names: list[str], images: Tensor) -> Tensor:
    """The highest value (U,) that each unit has at any of images (N, C, H, W)."""
    units = [parse(name) for name in names]
    with untouched(model.network), torch.no_grad():
        return torch.cat([values(model, part, units) for part in images.split(BATCH)], 1).amax(1)


def row(
    model: Classifier, how: str, settings: Ascent, names: list[str], best: Tensor, seed: int, seeds: int
) -> list[str]:
    """The table's line of one way to climb: how many units it excites at least as much as `best` (U,)."""
    started = time.process_time()
    found = ascend(model, names, settings, seed=seed, seeds=seeds)
    seconds = time.process_time() - started
    reached = worth(model, [as_objective(name) for name in names], rounded(found.images), seeds)
    won = (reached.view(len(names), seeds).amax(1) >= best).tolist()
    low, high = wilson(sum(won), len(won))
    layers: dict[str, list[bool]] = {}
    for name, one in zip(names, won, strict=True):
        layers.setdefault(name.partition(":")[0], []).append(one)
    by_layer = ", ".join(f"{layer} {sum(own)} of {len(own)}" for layer, own in layers.items())
    total = f"{sum(won)} of {len(won)} ({100 * low:.0f}-{100 * high:.0f} %)"
    return [how, total, by_layer, str(settings.steps), f"{seconds:.0f}"]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hidden_units", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--model", default="zoo:toybox-resnet20")
    parser.add_argument("how", nargs="*", metavar="HOW", default=["prior:zoo:toybox-prior", "lucid"])
    parser.add_argument("--layers", default=LAYERS)
    for name, value in (("units", 50), ("images", 2000), ("seeds", 1), ("seed", 100)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    model = ostrich.load(asked.model, device="cpu")
    canvas = Canvas.of(model)
    real = open_split("toybox", "train", canvas.shape, limit=asked.images).images()
    names = drawn(model, asked.layers.split(","), asked.units, asked.seed, real[:1])
    best = highest(model, names, real)
    lines = [["by", "at least the best real image", "by layer", "steps", "CPU s"]]
    lines.append(["---", "---:", "---", "---:", "---:"])
    for how in asked.how:
        kind, _, name = how.partition(":")
        chosen = with_prior(Prior.of(load_generator(name), canvas)) if kind == "prior" else PRESETS[kind]
        lines.append(row(model, how, chosen, names, best, asked.seed, asked.seeds))
        print(" | ".join(lines[-1]), flush=True)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    options = {name: value for name, value in vars(asked).items() if name != "how"}
    words = " ".join([*(f"--{name} {value}" for name, value in options.items()), *asked.how])
    said = HEAD.format(**{**vars(asked), "units": len(names), "images": len(real)})
    tail = f"\n\nMeasured {date.today()} by `python -m benchmarks.hidden_units {words}`. {machine()}\n"
    RESULTS.write_text(said + table + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
