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

from ostrich.attacks import IMAGE_AGNOSTIC, aims, evidence
from ostrich.attacks.engine import check
from ostrich.attacks.transfer import companion
from ostrich.attacks.universal.artefact import FILE, Artefact, fit_artefact, judge, load_artefact
from ostrich.attacks.universal.fitting import Agnostic, check_goal, victims
from ostrich.cli.agnostic_judge import Part, photographed, rate, transferred, written
from ostrich.cli.options import ModelOptions
from ostrich.cli.session import Session, opened, progress, report
from ostrich.data.dataset import Samples, subset
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models import Classifier
from ostrich.randomness import keyed

TARGET = 33  # the purpose of the random number of a random target


def perform(
    method: Agnostic,
    options: ModelOptions,
    data: Sequence[str],
    *,
    artefact: Path | None,
    also: Sequence[str],
    target: str | None,
    limit: int,
    seed: int,
    precision: str,
    out: Path | None,
    skip_bad: bool,
    force: bool,
    as_json: bool,
) -> None:
    """The command; of `method`, where an artefact is applied, only the name counts."""
    name, paints = method.name, hasattr(method, "shown")
    if target in ("random", "least-likely") and not paints:
        raise InputError(f"--target {target} is said of an image; for {name} it is one class for all.")
    given = None if artefact is None else load_artefact(artefact, name, IMAGE_AGNOSTIC)
    asked: dict[str, Any] = {"attack": repr(method), "target": target, "precision": precision}
    asked |= {"also": list(also)} if also else {}
    if given is not None:
        asked |= {"attack": repr(given.method), "artefact": given.digest()}

    def validate(classifier: Classifier) -> None:
        aims.check_target(classifier, target)
        for model in also:
            companion(model, classifier, "network")
        if given is not None:
            given.check(classifier)
        else:
            check(method, classifier)
            victims(method, classifier)
            check_goal(method, "untargeted" if target is None else "targeted")

    def examine(samples: Samples) -> None:
        if paints and samples.views is None:
            raise InputError(f"{name} paints an object: give it mesh:FILE or mesh:toybox/NAME for DATA.")
        if given is None:
            divided(method, samples, seed)
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
        whole = looked_at(method if given is None else given.method, session)
        if given is None:
            chosen, rest = divided(method, whole.samples, seed)
            used = fitted(method, session, whole.take(chosen), target, seed, precision)
        else:
            used = given
            rest = given.unseen(identities(whole.samples)).nonzero()[:, 0].tolist()
        used = replace(used, method=beheld(used.method, whole.samples))
        held_out = whole.take(rest)
        started = time.monotonic()
        judged = judge(used, session.classifier, held_out.images, held_out.labels, seed)
        results = written(session, used, held_out, judged, time.monotonic() - started)
        views = getattr(used.method, "views", None)
        if views is not None:
            goal = used.goal(session.classifier, held_out.labels)
            results["views"] = evidence.under_views(views, session.classifier, goal, judged.result, seed)
        if getattr(used.method, "print_width", None) is not None:
            results["photographs"] = photographed(session, used, judged.result, seed)
        if also:
            results["transfer"] = {model: transferred(used, session, held_out, model, seed) for model in also}
        results["left_out"] = len(whole.samples) - len(held_out.samples)
        session.run.finish(results)
    if as_json:
        typer.echo(json.dumps(results))
    else:
        report(name, results, session.run.folder)


def looked_at(method: Agnostic, session: Session) -> Part:
    """All of the data, as the network sees it.

    The label of an object whose name says none is the one asked for, else what most views are seen as.
    """
    classifier, samples = session.classifier, session.samples
    images = samples.images().to(classifier.device)
    label = getattr(method, "label", None)
    if label is not None:
        samples = replace(samples, labels=torch.full((len(samples),), classifier.class_index(label)))
    labels, predictions = aims.labels(classifier, images, samples.labels)
    if samples.labels is None and samples.views is not None:
        labels = torch.full_like(labels, int(predictions.mode().values))
    return Part(samples, images, labels, predictions)


def beheld(method: Agnostic, samples: Samples) -> Agnostic:
    """The method with the views of the mesh that it paints, if it does."""
    return replace(method, shown=samples.views) if hasattr(method, "shown") else method  # type: ignore[type-var]


def identities(samples: Samples) -> list[int]:
    """What tells images that were fitted on: of a mesh's views their numbers, whatever their size."""
    return fingerprints(samples.images()) if samples.views is None else list(samples.views.numbers)


def aimed_at(part: Part, classifier: Classifier, target: str, seed: int) -> int:
    """The one class for all: by name, or of an object a random one, or the one least likely on average."""
    if target == "least-likely":
        return int(aims.predict(classifier, part.images).softmax(1).mean(0).argmin())
    if target == "random":
        step = torch.randint(1, classifier.num_classes, (1,), generator=keyed(seed, TARGET))
        return int(part.labels[0] + step) % classifier.num_classes
    return classifier.class_index(target)


def divided(method: Agnostic, samples: Samples, seed: int) -> tuple[list[int], list[int]]:
    """The rows of a seeded, class-balanced part to fit on, and of the rest. Raises InputError for none."""
    count = len(samples)
    wanted = count // 2 if method.fit is None else method.fit
    if not 0 < wanted < count:
        raise InputError(
            f"{count} images, and {wanted or 'half of them'} to fit on: none would be left to "
            f"{'judge on' if wanted else 'fit on'}. Give more images, or a larger --limit, or a smaller fit."
        )
    labels = None if samples.labels is None else samples.labels.tolist()
    # Held out is what `subset` takes first: what a smaller --limit chooses of the same data lies in it.
    rest = subset(labels, count, count - wanted, seed)
    return sorted(set(range(count)) - set(rest)), rest


def fitted(
    method: Agnostic, session: Session, part: Part, target: str | None, seed: int, precision: str
) -> Artefact:
    """The artefact fitted on a part of the data, and its file in the run directory."""
    classifier, file = session.classifier, session.run.folder / FILE
    if file.exists():  # of this very run, which was cut off afterwards
        return load_artefact(file, method.name, IMAGE_AGNOSTIC)
    named = None
    if target is not None:
        index = aimed_at(part, classifier, target, seed)
        named = (index, classifier.class_name(index))
        part = part.take((part.predictions != index).nonzero()[:, 0].tolist())
    method = beheld(method, part.samples)
    checkpoint = session.run.folder / "fitting.pt"
    with progress(f"{method.name} on {len(part.samples)} images", method.epochs) as advance:
        found = fit_artefact(
            method,
            classifier,
            part.images,
            part.predictions,
            seen=identities(part.samples),
            target=named,
            seed=seed,
            precision=precision,
            checkpoint=checkpoint,
            progress=advance,
        )
    facts = {"model": classifier.name, "data": part.samples.name, "n": len(part.samples), **found.facts}
    if part.samples.views is not None:
        facts["mesh"] = part.samples.views.mesh.digest
    on_fitting = judge(found, classifier, part.images, part.labels, seed)
    facts |= {"success_rate": rate(on_fitting.result), "fooling_rate": on_fitting.fooling_rate}
    found = replace(found, facts=facts)
    found.save(file)
    checkpoint.unlink(missing_ok=True)
    return found
