"""`ostrich attack universal|... MODEL DATA`: fitted on a part of DATA, judged on the rest.

With `--artefact FILE` nothing is fitted, and all of DATA is judged that was not fitted on before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer

from ostrich.attacks import FittedAttack, targets
from ostrich.attacks.engine import evidence
from ostrich.attacks.engine.resuming import described
from ostrich.attacks.engine.runner import check_attack
from ostrich.attacks.fitted.artefact import FILE, Artefact, judge, load_artefact
from ostrich.attacks.fitted.fitting import check_goal, victims
from ostrich.attacks.fitted.held_out import fit_part, hold_out_split
from ostrich.attacks.transfer import borrow_gradients, companion
from ostrich.cli.agnostic_judge import Part, photographed, rate, transferred, written
from ostrich.cli.options import ModelOptions
from ostrich.cli.session import Session, opened, report
from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models import Classifier
from ostrich.runtime.events import progress
from ostrich.runtime.randomness import keyed

TARGET = 33  # the purpose of the random number of a random target


def perform(
    method: FittedAttack,
    options: ModelOptions,
    data: Sequence[str],
    *,
    artefact: Path | None,
    also: Sequence[str],
    target: str | None,
    surrogate: str | None,
    limit: int,
    seed: int,
    precision: str,
    out: Path | None,
    skip_bad: bool,
    force: bool,
    as_json: bool,
) -> None:
    """The command; of `method`, where an artefact is applied, only the name counts."""
    name, paints = method.name, method.paints
    if target in ("random", "least-likely") and not paints:
        raise InputError(f"--target {target} is said of an image; for {name} it is one class for all.")
    given = None if artefact is None else load_artefact(artefact, type(method))
    asked: dict[str, Any] = {"attack": described(method), "target": target, "precision": precision}
    asked |= {"also": list(also)} if also else {}
    asked |= {"surrogate": surrogate} if surrogate else {}
    if given is not None:
        asked |= {"attack": repr(given.method), "artefact": given.digest()}

    def validate(classifier: Classifier) -> None:
        targets.check_target(classifier, target)
        for model in also:
            companion(model, classifier, "network")
        if given is not None:
            given.check(classifier)
        else:
            borrow_gradients(method, classifier, surrogate)
            check_attack(method, classifier)
            victims(method, classifier)
            check_goal(method, "untargeted" if target is None else "targeted")

    def examine(samples: Samples) -> None:
        if paints and samples.views is None:
            raise InputError(f"{name} paints an object: give it mesh:FILE or mesh:toybox/NAME for DATA.")
        if given is None:
            hold_out_split(len(samples), method.fit, samples.labels, seed)
            return
        if samples.views is not None and paints and given.facts["mesh"] != samples.views.mesh.digest:
            raise InputError(
                f"The artefact paints {given.facts['data']}, another mesh than {samples.name}: "
                "give it that one."
            )
        if not given.unseen(identities(samples)).any():
            raise InputError("The artefact was fitted on every one of these images; give it others.")

    with opened(
        f"attack-{name}", options, data, asked, limit, seed, skip_bad, out, force, validate, examine
    ) as session:
        whole = evaluate_clean(method if given is None else given.method, session)
        if given is None:
            used, rest = fitted(method, session, whole, target, seed, precision)
        else:
            used = given
            rest = given.unseen(identities(whole.samples)).nonzero()[:, 0].tolist()
        used = replace(used, method=used.method.bind_views(whole.samples.views))
        held_out = whole.take(rest)
        started = time.monotonic()
        judged = judge(used, session.classifier, held_out.images, held_out.labels, seed)
        results = written(session, used, held_out, judged, time.monotonic() - started)
        if used.method.camera is not None:
            goal = used.goal(session.classifier, held_out.labels)
            results["views"] = evidence.under_views(
                used.method.camera, session.classifier, goal, judged.result, seed
            )
        if used.method.print_width is not None:
            results["photographs"] = photographed(session, used, judged.result, seed)
        if also:
            results["transfer"] = {model: transferred(used, session, held_out, model, seed) for model in also}
        results["left_out"] = len(whole.samples) - len(held_out.samples)
        session.run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        report(name, results, session.run.folder)


def evaluate_clean(method: FittedAttack, session: Session) -> Part:
    """All of the data, as the network sees it.

    The label of an object whose name says none is the one asked for, else what most views are seen as.
    """
    classifier, samples = session.classifier, session.samples
    images = samples.images().to(classifier.device)
    if method.label is not None:
        index = classifier.class_index(method.label)
        samples = replace(samples, labels=torch.full((len(samples),), index))
    labels, predictions = targets.labels(classifier, images, samples.labels)
    if samples.labels is None and samples.views is not None:
        labels = torch.full_like(labels, int(predictions.mode().values))
    return Part(samples, images, labels, predictions)


def identities(samples: Samples) -> list[int]:
    """What tells images that were fitted on: of a mesh's views their numbers, whatever their size."""
    return fingerprints(samples.images()) if samples.views is None else list(samples.views.numbers)


def choose_target(part: Part, classifier: Classifier, target: str, seed: int) -> int:
    """The one class for all: by name, or of an object a random one, or the one least likely on average."""
    if target == "least-likely":
        return int(classifier.predict(part.images).softmax(1).mean(0).argmin())
    if target == "random":
        step = torch.randint(1, classifier.num_classes, (1,), generator=keyed(seed, TARGET))
        return int(part.labels[0] + step) % classifier.num_classes
    return classifier.class_index(target)


def fitted(
    method: FittedAttack, session: Session, whole: Part, target: str | None, seed: int, precision: str
) -> tuple[Artefact, list[int]]:
    """The artefact fitted on a part of the data, its file in the run directory, and the rows of the rest."""
    classifier, file = session.classifier, session.run.folder / FILE
    split = hold_out_split(len(whole.samples), method.fit, whole.samples.labels, seed)
    if file.exists():  # of this very run, which was cut off afterwards
        kept = load_artefact(file, type(method))
        return kept, [row for row in split[1] if kept.unseen([identities(whole.samples)[row]]).item()]
    part = whole.take(split[0])
    checkpoint = session.run.folder / "fitting.pt"
    with progress(f"{method.name} on {len(split[0])} images", method.epochs) as advance:
        found, chosen, rest = fit_part(
            method.bind_views(part.samples.views),
            classifier,
            whole.images,
            whole.predictions,
            split,
            keys=identities(whole.samples),
            target=None if target is None else choose_target(part, classifier, target, seed),
            seed=seed,
            precision=precision,
            checkpoint=checkpoint,
            progress=advance,
        )
    part = whole.take(chosen)
    facts = {"model": classifier.name, "data": part.samples.name, "n": len(chosen), **found.facts}
    if part.samples.views is not None:
        facts["mesh"] = part.samples.views.mesh.digest
    found = replace(found, method=method.bind_views(part.samples.views))
    on_fitting = judge(found, classifier, part.images, part.labels, seed)
    facts |= {"success_rate": rate(on_fitting.result), "fooling_rate": on_fitting.fooling_rate}
    found = replace(found, facts=facts)
    found.save(file)
    checkpoint.unlink(missing_ok=True)
    return found, rest
