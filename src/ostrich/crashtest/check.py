"""The crash test: probes in order of worth, within a budget of time, and the report of their answers.

Each probe's answer is written when it is given, so an interrupted check goes on after it; within a
probe the attacked batches are kept. What does not fit into the time is listed with its command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.resuming import network_facts
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.gates import Floor, judge_baseline, judge_floor
from ostrich.crashtest.outcomes import combined
from ostrich.crashtest.plan import Plan
from ostrich.crashtest.probes import (
    carriers,
    clean,
    doctor,
    fooling,
    generated,
    guided,
    noise,
    one_pixel,
    pair,
    patch,
    photograph,
    preferred,
    printed,
    robustness,
    saliency,
    texture,
    universal,
    worst_case,
)
from ostrich.errors import OstrichError
from ostrich.images import write_image
from ostrich.runtime.deadline import Deadline
from ostrich.runtime.facts import digest
from ostrich.runtime.resumable import Computation, Piece
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import stopwatch

PROBES: dict[str, ModuleType] = {  # in order of worth
    "clean": clean,
    "targeted-pair": pair,
    "noise": noise,
    "robustness": robustness,
    "worst-case": worst_case,
    "doctor": doctor,
    "saliency": saliency,
    "one-pixel": one_pixel,
    "fooling": fooling,
    "guided": guided,
    "carriers": carriers,
    "preferred": preferred,
    "generated": generated,
    "texture": texture,
    "universal": universal,
    "patch": patch,
    "printed": printed,
}
EVERY_PROBE = {**PROBES, "photograph": photograph}
LONG = ("texture", "universal", "patch", "printed")  # left out of the demo, which is to be short
DEMO_PROBES = {name: probe for name, probe in EVERY_PROBE.items() if name not in LONG}
QUERYING = 0.2  # of the time that is left, for attacks by queries on one norm
Say = Callable[[str], None]


def crash_test(
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
    deadline = Deadline(60 * minutes)
    with stopwatch() as spent, Computation(run.folder, _facts(context), "json", waits=False) as kept:
        plan = Plan.open(kept, context)
        context.images_of = plan.images
        context.affordable = lambda queries: max(
            1, int(QUERYING * deadline.left * plan.forwards_per_second / queries)
        )
        cost = plan.total([EVERY_PROBE[name] for name in names], len(context.samples), 60 * minutes)
        say(
            f"{plan.forwards_per_second:.3g} forwards and {plan.gradients_per_second:.3g} gradients a "
            f"second: about {max(1, round(cost / 60))} min at most for {len(context.samples)} images."
        )
        answers: dict[str, Any] = {}
        not_run: list[dict[str, str]] = []
        for name in names:
            answer = _answer(name, context, kept, plan, deadline)
            if answer is None:
                reason = f"It did not fit into the {minutes:g} minutes."
                not_run.append({"probe": name, "reason": reason, "command": context.command(name)})
                continue
            answers[name] = answer
            say(f"{name}: {answer['sentence']}")
        robust = combined(answers, context.correct.tolist(), _against(context))
        if "robustness" in answers and answers["robustness"]["status"] == "done":
            answers["robustness"] = robustness.settled(answers["robustness"], robust)
            kept.save(Piece("probes/robustness"), answers["robustness"], answers["robustness"]["seconds"])
    _write_images(context, run.folder)
    figures = {name: answer["figures"] for name, answer in answers.items()}
    labelled = context.samples.labels is not None
    gates = [judge_floor(floor, robust, labelled) for floor in floors]
    if baseline is not None:
        now = {"probes": figures, "robustness": robust}
        gates.append(judge_baseline(*baseline, now, run.facts["data"]))
    results = {
        "model": describe(context),
        "n": len(context.samples),
        "clean_accuracy": figures.get("clean", {}).get("accuracy"),
        "verdict": _verdict(answers, robust),
        "robustness": robust,
        "probes": figures,
        "gates": gates,
        "not_run": not_run,
        "next_commands": list(next_commands),
        "seconds": spent.seconds,
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


def _facts(context: Context) -> dict[str, str]:
    """What decides the answers of the probes."""
    return {
        **network_facts(context.classifier),
        "images": digest(context.images),
        "labels": digest(context.samples.labels),
        "class names": repr(context.classifier.class_names),
        "seed": str(context.seed),
        "precision": context.precision,
        "budgets": repr(context.budgets),
    }


def _answer(
    name: str, context: Context, kept: Computation, plan: Plan, deadline: Deadline
) -> dict[str, Any] | None:
    """A probe's answer, stored or new; None where it does not fit into the time that is left."""
    piece = Piece(f"probes/{name}")
    if (found := kept.load(piece)) is not None:
        if _checksums(context.folder, found["files"]) == found["files"]:
            return found
        (context.folder / "probes" / f"{name}.json").unlink()  # a file of it is damaged: it is asked again
    if name not in plan.images:
        images = plan.fitting(EVERY_PROBE[name], len(context.samples), deadline.left)
        if not images:
            return None
        plan.begin(name, images)
    return kept.run([piece], lambda piece: _ask(name, context)).contents[piece.key]


def _ask(name: str, context: Context) -> dict[str, Any]:
    """A probe's answer as the report takes it; one that cannot run says why and stops no other."""
    module = EVERY_PROBE[name]
    head = {"name": name, "title": module.TITLE, "command": context.command(name)}
    with stopwatch() as spent:
        try:
            context.outcomes, context.saved = [], []
            answer = asdict(module.probe(context)) | {"outcomes": context.outcomes}
        except OstrichError as error:
            status = "skipped" if isinstance(error, CannotRun) else "failed"
            empty = {"sentence": str(error), "how_to_read": "", "figures": {}, "blocks": []}
            answer = empty | {"status": status, "reason": str(error)}
    files = _checksums(context.folder, context.saved)
    return {
        **head,
        "status": "done",
        "reason": None,
        **answer,
        "files": files,
        "seconds": spent.seconds,
    }


def _checksums(folder: Path, names: Iterable[str]) -> dict[str, str | None]:
    """The checksums of files by their paths in the run directory, None of one that is missing."""
    paths = {name: folder / name for name in names}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
        for name, file in paths.items()
    }


def _write_images(context: Context, folder: Path) -> None:
    """images.csv of the images that were checked, and the images."""
    columns = ("index", "file", "label", "clean_prediction", "clean_file")
    predictions, labels = context.predictions.tolist(), context.labels.tolist()
    rows = []
    for i, image in enumerate(context.images):
        clean_file = write_image(folder, f"images/{context.samples.index[i]:05d}-clean", image)
        values = (context.samples.index[i], context.samples.files[i], labels[i], predictions[i], clean_file)
        rows.append(dict(zip(columns, values, strict=True)))
    evidence.write_table(folder / "images.csv", columns, rows)


def _against(context: Context) -> list[str]:
    """What is known of the network that speaks against every figure of robustness."""
    classifier = context.classifier
    random = "its answers are random, and no attack averaged over them" if classifier.draws > 1 else None
    return [reason for reason in (classifier.neighbours, random) if reason]


def _verdict(answers: Mapping[str, Any], robust: Sequence[Mapping[str, Any]]) -> str:
    """The one sentence to remember: the robust accuracy, first of all whether it is known."""
    if robust:
        return robustness.headline(robust, answers.get("clean", {}).get("figures", {}).get("accuracy"))
    for name in ("targeted-pair", "clean"):
        if name in answers and answers[name]["status"] == "done":
            return answers[name]["sentence"]
    done = (answer["sentence"] for answer in answers.values() if answer["status"] == "done")
    return next(done, "No probe could run.")
