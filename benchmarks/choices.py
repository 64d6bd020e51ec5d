"""What stands behind settings of our own: each against what a paper, or a library, has in its place.

    python -m benchmarks.choices [CHOICE ...]

The tables are written to benchmarks/choices.md, where the docstrings of what was chosen point.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import ostrich
from benchmarks.bench import machine, merged
from ostrich.attacks import CW, HopSkipJump
from ostrich.attacks.fooling import cppn, cppn_drawing
from ostrich.attacks.minimum_norm import cw
from ostrich.data.loading import load as load_data
from ostrich.data.spec import open_data
from ostrich.diagnosis.batchnorm import statistics_gap
from ostrich.diagnosis.model_under_test import ModelUnderTest
from ostrich.images import rounded
from ostrich.models.alexnet import ResponseNorm, alexnet_small
from ostrich.models.loading import load

RESULTS = Path(__file__).with_suffix(".md")
HEAD = """# Choices of our own, measured

Where a setting is not the paper's, or the library's, this is how they compare: each table says what it
counts.
"""
NETWORK, REAL = "zoo:toybox-resnet20", "zoo:imagenet-efficientnet-lite0"
Rows = dict[str, dict[str, float]]  # contestants by name, with their figures


@dataclass(frozen=True)
class Choice:
    """A table: what is compared, and how it is found."""

    title: str
    setting: str
    found: Callable[[], Rows]


def scenes(count: int, split: str = "test") -> tuple[Tensor, Tensor]:
    """Images (N, 3, 64, 64) of the toybox and their labels (N,), as many of each class."""
    samples = load_data(open_data(f"toybox:{split}"), size=(64, 64), limit=count, channels=3)
    return samples.images(), samples.labels


def attacked(method: ostrich.attacks.InputSpecificAttack, count: int) -> Any:
    """What the attack did to images that the network gets right."""
    images, labels = scenes(count)
    return ostrich.attacks.attack(method, load(NETWORK), images, ostrich.Untargeted(labels), labels=labels)


# Attacks --------------------------------------------------------------------------------------------


def first_questions() -> Rows:
    """How near HopSkipJump comes with 2000 queries, for each number of first questions."""
    found: Rows = {}
    for first in (50, 100):
        result = attacked(HopSkipJump(queries=2000, first_questions=first), 16)
        near = result.distance_float[result.success]
        found[f"{first} first questions"] = {
            "images": len(near),
            "geometric mean L2 before rounding": float(near.log().mean().exp()),
            "median": float(near.median()),
        }
    return found


@dataclass(frozen=True, kw_only=True)
class FromTheOriginal(CW):
    """Carlini and Wagner's rounds: every one begins at the original."""

    def step(self, problem: object, state: cw.Search) -> cw.Search:
        following = super().step(problem, state)
        fresh = (following.round > state.round)[:, None, None, None]
        space, nothing = cw.to_space(problem.originals), torch.zeros_like(state.first)
        return replace(
            following,
            images=torch.where(fresh, cw.to_images(space), following.images),
            space=torch.where(fresh, space, following.space),
            first=torch.where(fresh, nothing, following.first),
            second=torch.where(fresh, nothing, following.second),
            adam=torch.where(fresh.flatten(), 0, following.adam),
        )


def rounds() -> Rows:
    """Distance and cost of C&W's attack, whose rounds go on where the last one ended, or begin anew."""
    theirs = patch.multiple(cw, REFINED=1.0, CLOSE=-1.0, ENOUGH=cw.PROGRESS)  # one rate, every constant
    found: Rows = {}
    for name, kind, rules in (
        ("going on", CW, nullcontext()),
        ("from the original", FromTheOriginal, theirs),
    ):
        with rules:
            result = attacked(kind(constants=9, iterations=100), 24)
        found[name] = {
            "images": int(result.success.sum()),
            "median L2 of files": float(result.distance[result.success].median()),
            "median L2 before rounding": float(result.distance_float[result.success].median()),
            "gradients an image": float(result.backwards[result.attacked].float().mean()),
        }
    return found


def coordinates() -> Rows:
    """In how many of a thousand classes the first random drawings are seen with half of the certainty."""

    def pixels(height: int, width: int) -> Tensor:
        inputs = inner(height, width)
        inputs[:2] *= max(height, width) / (2 * cppn_drawing.REACH)
        return inputs

    inner, classifier = cppn_drawing.coordinates, load(REAL)
    found: Rows = {}
    for name, inputs in (
        (f"from -{cppn_drawing.REACH:g} to {cppn_drawing.REACH:g}", inner),
        ("pixels", pixels),
    ):
        best = torch.zeros(1000)
        networks = cppn.simple(2000, 3, torch.Generator().manual_seed(0))
        with patch.object(cppn_drawing, "coordinates", inputs):
            for part in torch.arange(2000).split(50):
                images = rounded(cppn_drawing.drawn(networks.take(part), 224, 224))
                best = torch.maximum(best, classifier.predict(images).softmax(1).amax(0))
        found[name] = {"drawings": 2000, "classes above 50 %": int((best > 0.5).sum())}
    return found


# Networks -------------------------------------------------------------------------------------------


def running_statistics() -> Rows:
    """How far batch norm's statistics lie from the network's own test images, and where they are wrong."""
    images, labels = scenes(512)
    found: Rows = {}
    for name in ("resnet20", "plain14", "robust"):
        classifier = load(f"zoo:toybox-{name}")
        inputs = classifier.normalised(images)
        cases = {
            "": inputs,
            ", 16 images": inputs[:16],
            ", of one class": inputs[labels == 0],
            ", not normalised": images,
            ", statistics reset": inputs,
        }
        for case, given in cases.items():
            for layer in classifier.network.modules() if "reset" in case else ():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.reset_running_stats()
            gap = statistics_gap(ModelUnderTest(classifier=classifier, images=images), given)
            found[name + case] = {"deviations": gap.means, "ratio of variances": gap.variances}
    return found


def response_norm() -> Rows:
    """Milliseconds of a forward and backward, the median of 50, one thread, side by side."""
    layers = {"ResponseNorm": ResponseNorm(24), "nn.LocalResponseNorm": nn.LocalResponseNorm(5, 5e-4, k=2.0)}
    x = torch.randn(1, 24, 32, 32, requires_grad=True)
    spent: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(60):
        for name, layer in layers.items():
            began = time.perf_counter()
            layer(x).sum().backward()
            spent[name].append(1000 * (time.perf_counter() - began))
    return {name: {"ms": statistics.median(times[10:])} for name, times in spent.items()}


def bf16() -> Rows:
    """Milliseconds of a 3x3 convolution with its gradient, the least of 20, one thread, side by side."""
    found: Rows = {}
    for channels in (16, 32, 64):
        layer = nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
        x = torch.randn(64, channels, 32, 32).to(memory_format=torch.channels_last).requires_grad_(True)
        spent: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(20):
            for half in spent:
                began = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    layer(x).sum().backward()
                spent[half].append(1000 * (time.perf_counter() - began))
        found[f"{channels} channels"] = {"fp32": min(spent[False]), "bf16": min(spent[True])}
    return found


def small_alexnet() -> Rows:
    """The loss on 256 images of the toybox after 240 steps of 32 by Adam, over three seeds."""
    images, labels = scenes(256, "train")
    found: Rows = {}
    for name in ("he", "paper"):
        ends = []
        for seed in range(3):
            torch.manual_seed(seed)
            network = alexnet_small(init=name)
            optimiser = torch.optim.Adam(network.parameters(), 1e-3)
            for _ in range(30):
                for rows in torch.randperm(len(images)).split(32):
                    loss = nn.functional.cross_entropy(network((images[rows] - 0.5) / 0.25), labels[rows])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
            with torch.no_grad():
                network.eval()
                ends.append(float(nn.functional.cross_entropy(network((images - 0.5) / 0.25), labels)))
        found[name] = {"median loss": statistics.median(ends), "highest": max(ends)}
    return found


CHOICES = {
    "hopskipjump": Choice(
        "HopSkipJump's first estimate", f"{NETWORK}, 16 images, one seed.", first_questions
    ),
    "cw": Choice("C&W's rounds", f"{NETWORK}, 24 images, nine constants of 100 steps.", rounds),
    "cppn": Choice("Coordinates of drawn images", f"{REAL}, 224 pixels, one seed.", coordinates),
    "batchnorm": Choice("Running statistics", "512 test images of the toybox.", running_statistics),
    "response-norm": Choice("Response normalisation", "24x32x32, one image.", response_norm),
    "bf16": Choice("Halves on the processor", "32x32, 64 images, channels last.", bf16),
    "alexnet-small": Choice("Start of the small AlexNet", "256 images of the toybox.", small_alexnet),
}


def shown(value: float) -> str:
    """A figure with three digits, or all of one of a hundred and more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def section(choice: Choice, name: str, rows: Rows) -> str:
    """A table as a section of the page."""
    head = list(next(iter(rows.values())))
    lines = [f"| | {' | '.join(head)} |", f"| --- |{' ---: |' * len(head)}"]
    lines += [f"| {one} | {' | '.join(shown(of[key]) for key in head)} |" for one, of in rows.items()]
    said = f"Measured {date.today()} by `python -m benchmarks.choices {name}`. {machine()}"
    about = (choice.found.__doc__ or "").strip()
    return "\n".join([f"## {choice.title}\n", f"{about} {choice.setting}\n", *lines, "", said, ""])


def main() -> None:
    """Measure what is asked for, or everything, and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choices", description=__doc__.splitlines()[0])
    parser.add_argument("choices", nargs="*", choices=[*CHOICES, []], help="all unless given")
    torch.set_num_threads(1)
    for name in parser.parse_args().choices or CHOICES:
        written = section(CHOICES[name], name, CHOICES[name].found())
        print(written, flush=True)
        earlier = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
        RESULTS.write_text(merged(earlier, name, written, head=HEAD, order=CHOICES), encoding="utf-8")


if __name__ == "__main__":
    main()
