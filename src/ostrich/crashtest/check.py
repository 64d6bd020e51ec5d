"""The crash test: probes in order of worth, within a budget of time, and the report of their answers.

Each probe's answer is written when it is given, so an interrupted check goes on after it; within a
probe the attacked batches are kept. What does not fit into the time is listed with its command.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ostrich.attacks import evidence
from ostrich.attacks.aims import predict
from ostrich.attacks.problem import Access
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.gates import Floor, judge_baseline, judge_floor
from ostrich.crashtest.probes import (
    clean,
    fooling,
    guided,
    noise,
    pair,
    photograph,
    preferred,
    robustness,
    saliency,
)
from ostrich.errors import OstrichError
from ostrich.images import write_png
from ostrich.networks import untouched
from ostrich.runs import Run, write_json

PROBES: dict[str, ModuleType] = {  # in order of worth
    "clean": clean,
    "targeted-pair": pair,
    "noise": noise,
    "robustness": robustness,
    "saliency": saliency,
    "fooling": fooling,
    "guided": guided,
    "preferred": preferred,
}
DEMO_PROBES = {**PROBES, "photograph": photograph}
FEWEST = 16  # images; a figure of fewer says nothing
TIMINGS, ENOUGH = 5, 1.0  # of forward and gradient, the fastest counts; seconds after which fewer do
Say = Callable[[str], None]


def plan(context: Context, names: Sequence[str], minutes: float, stored: Path) -> dict[str, Any]:
    """On how many images each probe runs, from the network's measured speed; kept in a file.

    A probe that costs too much takes half of the images, and half again, but not below 16. `seconds`
    are its most; whether it runs is decided when its turn comes, by the time that is left then.
    """
    if stored.exists():
        return json.loads(stored.read_text())
    forward, gradient = _speed(context)
    left, count = minutes * 60, len(context.samples)
    probes: dict[str, Any] = {}
    for name in names:
        module = DEMO_PROBES[name]
        fixed = getattr(module, "FIXED_GRADIENTS", 0.0) * gradient
        each = module.FORWARDS * forward + module.GRADIENTS * gradient
        images = count
        while fixed + images * each > left and images // 2 >= FEWEST and each:
            images //= 2
        seconds = fixed + images * each
        probes[name] = {"images": images, "seconds": seconds}
        left -= seconds if seconds <= left else 0
    made = {"forwards_per_second": 1 / forward, "gradients_per_second": 1 / gradient, "probes": probes}
    write_json(stored, made)
    return made


def check(
    context: Context,
    run: Run,
    *,
    names: Sequence[str],
    minutes: float,
    floors: Sequence[Floor] = (),
    baseline: tuple[str, Mapping[str, Any]] | None = None,
    next_commands: Sequence[Mapping[str, str]] = (),
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Run the probes that fit, judge the gates, and return the results; run.json has them too."""
    started = time.monotonic()
    planned = plan(context, names, minutes, run.folder / "plan.json")
    context.images_of = {name: facts["images"] for name, facts in planned["probes"].items()}
    cost = min(60 * minutes, sum(facts["seconds"] for facts in planned["probes"].values()))
    say(
        f"{planned['forwards_per_second']:.3g} forwards and {planned['gradients_per_second']:.3g} gradients "
        f"a second: about {max(1, round(cost / 60))} min at most for {len(context.samples)} images."
    )
    answers: dict[str, Any] = {}
    not_run: list[dict[str, str]] = []
    for name in names:
        left = minutes * 60 - (time.monotonic() - started)
        stored = run.folder / "probes" / f"{name}.json"
        if not stored.exists() and planned["probes"][name]["seconds"] > left:
            reason = f"It did not fit into the {minutes:g} minutes."
            not_run.append({"probe": name, "reason": reason, "command": context.command(name)})
            continue
        answers[name] = json.loads(stored.read_text()) if stored.exists() else _ask(name, context)
        write_json(stored, answers[name])
        say(f"{name}: {answers[name]['sentence']}")
    _write_images(context, run.folder)
    figures = {name: answer["figures"] for name, answer in answers.items()}
    labelled = context.samples.labels is not None
    gates = [judge_floor(floor, figures, labelled) for floor in floors]
    if baseline is not None:
        gates.append(judge_baseline(*baseline, figures, run.facts["data"]))
    results = {
        "model": describe(context),
        "n": len(context.samples),
        "clean_accuracy": figures.get("clean", {}).get("accuracy"),
        "verdict": _verdict(answers),
        "probes": figures,
        "gates": gates,
        "not_run": not_run,
        "next_commands": list(next_commands),
        "seconds": time.monotonic() - started,
    }
    run.finish(results)
    return results


def describe(context: Context) -> dict[str, Any]:
    """The network in facts."""
    classifier = context.classifier
    network = classifier.network
    count = sum(p.numel() for p in network.parameters()) if isinstance(network, torch.nn.Module) else None
    return {
        "name": classifier.name,
        "source": classifier.source,
        "parameters": count,
        "num_classes": classifier.num_classes,
        "input": [classifier.channels, *(classifier.size or ())],
    }


def _ask(name: str, context: Context) -> dict[str, Any]:
    """A probe's answer as the report takes it; one that cannot run says why and stops no other."""
    module, started = DEMO_PROBES[name], time.monotonic()
    head = {"name": name, "title": module.TITLE, "command": context.command(name)}
    try:
        answer = module.probe(context)
    except OstrichError as error:
        status = "skipped" if isinstance(error, CannotRun) else "failed"
        empty = {"sentence": str(error), "how_to_read": "", "figures": {}, "blocks": []}
        return {
            **head,
            "status": status,
            "reason": str(error),
            **empty,
            "seconds": time.monotonic() - started,
        }
    seconds = time.monotonic() - started
    return {**head, "status": "done", "reason": None, **asdict(answer), "seconds": seconds}


def _speed(context: Context) -> tuple[float, float]:
    """Seconds per image of one forward and of one gradient, on a small batch."""
    images = context.images[: max(1, min(16, len(context.samples)))]
    rows = torch.arange(len(images), device=images.device)
    access = Access(context.classifier, context.precision, torch.zeros_like(rows), torch.zeros_like(rows))
    with untouched(context.classifier.network):
        forward = _fastest(lambda: predict(context.classifier, images)) / len(images)
        if context.classifier.access != "gradient":
            return forward, forward
        access.prepare(images[:1])
        gradient = _fastest(lambda: access.gradient(images, rows, lambda logits: logits.sum(1)))
        return forward, gradient / len(images)


def _fastest(compute: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls: a neighbour on the machine can make a call many times slower."""
    compute()  # the first also chooses kernels
    times: list[float] = []
    while len(times) < TIMINGS and sum(times) < ENOUGH:
        started = time.perf_counter()
        compute()
        times.append(time.perf_counter() - started)
    return min(times)


def _write_images(context: Context, folder: Path) -> None:
    """images.csv of the images that were checked, and the images."""
    columns = ("index", "file", "label", "clean_prediction", "clean_file")
    predictions, labels = context.logits.argmax(1).tolist(), context.labels.tolist()
    rows = []
    for i, image in enumerate(context.images):
        clean_file = f"images/{context.samples.index[i]:05d}-clean.png"
        write_png(folder / clean_file, image)
        values = (context.samples.index[i], context.samples.files[i], labels[i], predictions[i], clean_file)
        rows.append(dict(zip(columns, values, strict=True)))
    evidence.write_table(folder / "images.csv", columns, rows)


def _verdict(answers: Mapping[str, Any]) -> str:
    """The one sentence to remember."""
    for name in ("robustness", "targeted-pair", "clean"):
        if name in answers and answers[name]["status"] == "done":
            return answers[name]["sentence"]
    done = (answer["sentence"] for answer in answers.values() if answer["status"] == "done")
    return next(done, "No probe could run.")
