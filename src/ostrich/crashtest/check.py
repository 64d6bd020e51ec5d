"""The crash test: probes in order of worth, within a budget of time, and the report of their answers.

What matters most is asked first and always answered, by a share of the time (`FIRST`); pictures follow, and
what does not fit is listed with its command. Without a budget of time every probe takes all images, and the
same check gives the same results.

Each probe's answer is written when it is given, so an interrupted check goes on after it; within a
probe the attacked batches are kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.resuming import network_facts
from ostrich.crashtest.advice import advice
from ostrich.crashtest.answer import (
    AttackOutcome,
    Fallen,
    ModelFacts,
    Next,
    NotRun,
    ProbeAnswer,
    Results,
    RobustAccuracy,
)
from ostrich.crashtest.by_class import by_class, first_to_fall
from ostrich.crashtest.comparison import since
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.gates import Floor, judge, judge_baseline
from ostrich.crashtest.outcomes import combined
from ostrich.crashtest.plan import ANYTIME, FEWEST, Plan, Probe, threads_restored
from ostrich.crashtest.probes import (
    bounds,
    calibration,
    carriers,
    clean,
    corruptions,
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
from ostrich.crashtest.summary import summary
from ostrich.errors import OstrichError, UnknownName
from ostrich.figures.words import several
from ostrich.images import image_name, numbered, write_image
from ostrich.models.steadiness import RandomAnswers
from ostrich.runtime import events
from ostrich.runtime.deadline import Deadline, TimeUp, time_left, until
from ostrich.runtime.facts import digest
from ostrich.runtime.faults import refused, told
from ostrich.runtime.files import checksum
from ostrich.runtime.resumable import Computation, Piece
from ostrich.runtime.runs import Run
from ostrich.runtime.stopwatch import found, stopwatch

PROBES: dict[str, Probe] = {  # in order of worth
    "clean": clean,
    "targeted-pair": pair,
    "noise": noise,
    "robustness": robustness,
    "worst-case": worst_case,
    "doctor": doctor,
    "bounds": bounds,
    "corruptions": corruptions,
    "calibration": calibration,
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
FIRST = {  # parts of the time, of which what is left over goes to those that follow
    "clean": 0.05,
    "robustness": 0.4,
    "worst-case": 0.2,
    "targeted-pair": 0.1,
    "doctor": 0.15,
    "bounds": 0.15,
    "corruptions": 0.15,
    "calibration": 0.05,
}
OTHERS = 0.3  # together
FOR_THE_REPORT, TO_WRITE_IT = 0.05, 2.0  # of the time; seconds
TO_END = 0.02  # of the time, for the process itself: beside others, tearing it down takes seconds
LONG = ("bounds", "texture", "universal", "patch", "printed")  # left out of the demo, which is to be short
DEMO_PROBES = {
    name: EVERY_PROBE[name] for name in ("clean", "targeted-pair", "photograph", *PROBES) if name not in LONG
}
QUERYING = 0.2  # of the time that is left, for attacks by queries on one norm


def chosen_probes(only: str | None, known: Iterable[str]) -> list[str]:
    """The probes named in `only`, with commas between; all where it is None. Raises UnknownName."""
    names = [name.strip() for name in only.split(",")] if only else list(known)
    for name in names:
        if name not in known:
            raise UnknownName("probe", name, known)
    return names


def crash_test(
    context: Context,
    run: Run,
    *,
    names: Sequence[str],
    minutes: float | None,
    floors: Sequence[Floor] = (),
    baseline: tuple[str, Mapping[str, Any]] | None = None,
    keep: str = "all",
    then: Sequence[Next] | None = None,
) -> Results:
    """Run the probes that fit into the `minutes`, None: all; judge the gates, and return the results.

    `keep` says which clean images are files: "all", the "failures", or "none" but what the report shows.
    `then` is what to type next, else advice by what was found. run.json has the results too; it is finished
    when the report is written. A fault of ours in one probe stops no other: it is in `context.faults`, to be
    raised when the report is written.
    """
    whole = Deadline(None if minutes is None else _for_probes(minutes))
    with (
        stopwatch() as spent,
        threads_restored(),
        Computation(run.folder, _facts(context), "json", waits=False) as kept,
    ):
        plan = Plan.open(kept)
        context.images_of = plan.images
        context.images_within_time = lambda queries: max(
            1, int(min(2**31, QUERYING * time_left() * plan.forwards_per_second / queries))
        )
        if minutes is not None:
            plan.measure(context)
            plan.n = plan.n or plan.affordable(len(context.samples), whole.left)
            plan.first = plan.first or plan.first_batch(whole.left)
            plan.save()
            given = len(context.samples)
            context.restrict(plan.n)
            if len(context.samples) < given:
                run.facts["data"] = {**context.samples.describe(), "of": given}
            context.first_batch = plan.first
        _write_images(context, run.folder, range(len(context.samples)) if keep == "all" else ())
        _announce(context, plan, names, minutes)
        answers = _answers(context, kept, plan, names, whole)
        robust = combined(
            answers, context.correct.tolist(), context.classifier.doubts(), doctor="doctor" in names
        )
        if "robustness" in answers and answers["robustness"].done:
            answers["robustness"] = answer = robustness.completed(
                answers["robustness"], robust, answers.get("noise")
            )
            kept.save(Piece("probes/robustness"), answer.model_dump(), answer.seconds or 0.0)
        if "bounds" in answers and answers["bounds"].done:
            outcomes = [one for answer in answers.values() for one in answer.outcomes]
            answers["bounds"] = answer = _with_files(
                context, bounds.completed(context, answers["bounds"], outcomes)
            )
            kept.save(Piece("probes/bounds"), answer.model_dump(), answer.seconds or 0.0)
            events.say(f"bounds: {answer.sentence}")
    figures = {name: answer.figures for name, answer in answers.items()}
    labelled = context.samples.labels is not None
    everything = [one for answer in answers.values() for one in answer.outcomes]
    shown = first_to_fall(
        context, everything, [_clean_file(context, row) for row in range(len(context.samples))]
    )
    if keep != "all":
        _write_images(context, run.folder, _chosen(context, everything, shown, keep))
    classes = by_class(context, robust, everything, answers)
    not_run: list[NotRun] = [
        {
            "probe": name,
            "reason": f"It did not fit into the {minutes:g} minutes.",
            "command": context.command(name),
        }
        for name in names
        if name not in answers
    ]
    measured = {"probes": figures, "robustness": robust, "by_class": classes, "not_run": not_run}
    now = {"results": measured, "data": run.facts["data"]}
    right = int(context.correct.sum()), len(context.samples)
    gates = [judge(floor, robust, answers, not_run, labelled, right) for floor in floors]
    if baseline is not None:
        gates.append(judge_baseline(*baseline, now))
    advised = advice(context, answers, robust, gates, not_run, minutes=minutes)
    results: Results = {
        "model": describe(context),
        "n": len(context.samples),
        "clean_accuracy": context.clean_accuracy,
        "verdict": _verdict(answers, robust, context.clean_accuracy),
        "robustness": robust,
        "summary": summary(answers, robust, context.classifier.num_classes, context.clean_accuracy),
        "by_class": classes,
        "first_to_fall": shown,
        "since": None if baseline is None else since(*baseline, now),
        "probes": figures,
        "gates": gates,
        "not_run": not_run,
        "next_commands": advised if then is None else list(then),
        "seconds": spent.seconds,
    }
    run.update(results)
    return results


def describe(context: Context) -> ModelFacts:
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
        "preprocessing": classifier.preprocessing,
    }


def _facts(context: Context) -> dict[str, str]:
    """What decides the answers of the probes."""
    return {
        **network_facts(context.attacked),
        "images": digest(context.images),
        "labels": digest(context.samples.labels),
        "class names": repr(context.classifier.class_names),
        "seed": str(context.seed),
        "precision": context.precision,
        "budgets": repr(context.budgets),
        **({"certified": repr(context.certified)} if any(context.certified.values()) else {}),
    }


def _for_probes(minutes: float) -> float:
    """Seconds, from now, that the probes have together."""
    return 60 * minutes * (1 - FOR_THE_REPORT - TO_END) - TO_WRITE_IT - events.running()


def _announce(context: Context, plan: Plan, names: Sequence[str], minutes: float | None) -> None:
    """What is coming."""
    count = several(len(context.samples), "image")
    if minutes is None:
        events.say(f"{count} in each of {len(names)} probes, however long it takes.")
        return
    first = [name for name in FIRST if name in names]
    rest = len(names) - len(first)
    follow = f"; then {rest} further probes" if first and rest else f"{rest} probes" if rest else ""
    speed = f"{plan.forwards_per_second:.3g} forwards and {plan.gradients_per_second:.3g} gradients a second"
    events.say(f"{count}, {speed}. Within {minutes:g} min: {', '.join(first)}{follow}.")


def _answers(
    context: Context, kept: Computation, plan: Plan, names: Sequence[str], whole: Deadline
) -> dict[str, ProbeAnswer]:
    """The answers that fit into the time, in the order of `names`.

    Of those that follow the first, the cheapest comes first, on as many images as an equal part of the time
    allows. In what is left of the time in the end, more images are attacked.
    """
    answers: dict[str, ProbeAnswer] = {}
    left = sorted(names, key=lambda name: list(FIRST).index(name) if name in FIRST else len(FIRST))
    with events.counted("probes", len(names), "probes") as advance:
        while left:
            if whole.left < math.inf and left[0] not in FIRST:
                left.sort(key=lambda name: plan.seconds(EVERY_PROBE[name], FEWEST))
            name, *left = left
            answer = _answer(name, context, kept, plan, _share(name, left, whole), following=len(left))
            if answer is not None:
                answers[name] = answer
                if answer.sentence:  # that of bounds is said when both sides are known
                    events.say(f"{name}: {answer.sentence}")
            advance(len(names) - len(left), len(names))
    first = answers.get("robustness")
    if first is not None and first.done and len(first.rows) < len(context.samples):
        with stopwatch() as again:
            more = _answer("robustness", context, kept, plan, whole, anew=True)
        found(-again.found)  # what is found on disk was counted when it was computed
        if more is not None and len(more.rows) > len(first.rows):
            answers["robustness"] = more
            events.say(f"robustness, with the time that was left: {more.sentence}")
    return {name: answers[name] for name in names if name in answers}


def _share(name: str, left: Sequence[str], whole: Deadline) -> Deadline:
    """By when a probe has to answer, if those in `left` follow."""
    if name not in FIRST:
        return whole
    following = sum(FIRST.get(other, 0.0) for other in left)
    others = OTHERS if any(other not in FIRST for other in left) else 0.0
    return whole.part(FIRST[name] / (FIRST[name] + following + others))


def _answer(
    name: str,
    context: Context,
    kept: Computation,
    plan: Plan,
    deadline: Deadline,
    *,
    following: int = 0,
    anew: bool = False,
) -> ProbeAnswer | None:
    """A probe's answer, stored or new; None where it does not fit into the time that is left.

    So many are `following` it and want their part of the time. With `anew` it is asked again, though there is
    an answer: its attacks are found again, and more follow.
    """
    piece = Piece(f"probes/{name}")
    if not anew and (stored := kept.load(piece)) is not None:
        known = ProbeAnswer.model_validate(stored)
        if known.status != "failed" and _checksums(context.folder, known.files) == known.files:
            return known
        # it failed, or a file of it is damaged: it is asked again
        (context.folder / "probes" / f"{name}.json").unlink()
    timed = deadline.left < math.inf
    title = f"{name}, at most {deadline.left:.0f} s" if timed else name
    with until(deadline), events.progress(title, len(context.samples)) as context.progress:
        try:
            if name not in plan.images:
                images = len(context.samples)
                if timed and EVERY_PROBE[name].COST is not ANYTIME:
                    plan.measure(context)
                    images = plan.fitting(EVERY_PROBE[name], images, deadline.left, following)
                if not images:
                    return None
                plan.begin(name, images)
            if anew:
                return _ask(name, context)
            done = kept.run([piece], lambda piece: _ask(name, context).model_dump())
        except TimeUp:
            return None
    return ProbeAnswer.model_validate(done.contents[piece.key])


def _ask(name: str, context: Context) -> ProbeAnswer:
    """A probe's answer as the report takes it; one that cannot run says why and stops no other."""
    probe = EVERY_PROBE[name]
    head: dict[str, Any] = {"name": name, "title": probe.TITLE, "command": context.command(name)}
    with stopwatch() as spent:
        try:
            context.outcomes, context.saved = [], []
            said = probe.probe(context)
            answer = ProbeAnswer(**head, status="done", **vars(said), outcomes=context.outcomes)
        except RandomAnswers:  # then no answer of any probe means anything
            raise
        except Exception as error:
            if isinstance(error, OstrichError):
                reason = str(error)
            elif refused(error) is not None:
                raise
            else:
                reason = f"A fault of ours, {told(error)}"
                context.faults.append(error)
            status: Literal["skipped", "failed"] = "skipped" if isinstance(error, CannotRun) else "failed"
            answer = ProbeAnswer(**head, status=status, sentence=reason, how_to_read="", reason=reason)
    files = _checksums(context.folder, context.saved)
    return answer.model_copy(update={"files": files, "seconds": spent.seconds})


def _with_files(context: Context, answer: ProbeAnswer) -> ProbeAnswer:
    """An answer with the checksums of its files."""
    return answer.model_copy(update={"files": _checksums(context.folder, answer.files)})


def _checksums(folder: Path, names: Iterable[str]) -> dict[str, str | None]:
    """The checksums of files by their paths in the run directory, None of one that is missing."""
    paths = {name: folder / name for name in names}
    return {name: checksum(file) if file.exists() else None for name, file in paths.items()}


def _write_images(context: Context, folder: Path, kept: Collection[int]) -> None:
    """images.csv of the images that were checked, and the files of those that are kept, by their places."""
    columns = ("index", "file", "label", "clean_prediction", "clean_file")
    predictions, labels, rows = context.predictions.tolist(), context.labels.tolist(), []
    for i, image in enumerate(context.images):
        clean_file = _clean_file(context, i) if i in kept else ""
        if i in kept:
            write_image(folder / clean_file, image)
        values = (context.samples.index[i], context.samples.files[i], labels[i], predictions[i], clean_file)
        rows.append(dict(zip(columns, values, strict=True)))
    evidence.write_table(folder / "images.csv", columns, rows)


def _clean_file(context: Context, place: int) -> str:
    """How the file of an image is called, if it is kept."""
    name = numbered("images", context.samples.index[place], len(context.samples))
    return image_name(f"{name}-clean", context.classifier.channels)


def _chosen(
    context: Context, outcomes: Iterable[AttackOutcome], shown: Iterable[Fallen], keep: str
) -> set[int]:
    """The places of the images that are kept: those that the report shows, and failures if asked for."""
    places = {index: place for place, index in enumerate(context.samples.index)}
    found = {places[one["index"]] for one in shown}
    if keep == "failures":
        found |= {place for place, correct in enumerate(context.correct.tolist()) if not correct}
        found |= {int(place) for one in outcomes for place in one["broken"]}
    return found


def _verdict(
    answers: Mapping[str, ProbeAnswer], robust: Sequence[RobustAccuracy], clean: float | None
) -> str:
    """The one sentence to remember: the robust accuracy, first of all whether it is known.

    A fault of ours comes before it.
    """
    found = answers.get("bounds")
    fault = found is not None and found.figures.get("both_verified_and_broken")
    loud = f"{bounds.fault(found.figures)} " if found is not None and fault else ""
    if robust:
        return loud + robustness.headline(robust, clean)
    done = {name: answer.sentence or "" for name, answer in answers.items() if answer.done}
    for name in ("targeted-pair", "clean"):
        if name in done:
            return done[name]
    return next(iter(done.values()), "No probe could run.")
