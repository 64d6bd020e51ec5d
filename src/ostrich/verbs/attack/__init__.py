"""`ostrich.attack`: one attack on a network, by name or as it is, with its evidence.

What an attack computes stands in `attacks/`; here its question is put together from what the user has, and
its answer becomes figures and a run directory: of attacks on single images in `input_specific.py`, of the
others in `fooling.py`, `fitted.py` and `camouflage.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostrich.attacks import Attack, CamouflageAttack, FittedAttack
from ostrich.attacks.eot import EOT
from ostrich.attacks.fitted.artefact import Artefact
from ostrich.attacks.goals import Goal
from ostrich.data.dataset import Dataset
from ostrich.models.detectors import Detector
from ostrich.verbs.attack import input_specific
from ostrich.verbs.attack.given import Given, Labels, Watch, read_given, starts_from_noise
from ostrich.verbs.inputs import Images, Model
from ostrich.verbs.outcome import Where

if TYPE_CHECKING:
    from ostrich.verbs.attack import camouflage, fitted, fooling


def attack(
    method: str | Attack | type[Attack],
    model: Model | Detector,
    images: Images | Dataset | None = None,
    labels_or_goal: Labels | Goal | None = None,
    *,
    labels: Labels | None = None,
    goal: Goal | Labels | None = None,
    target: str | int | None = None,
    artefact: str | Path | Artefact | None = None,
    also: Model | Sequence[Model] = (),
    surrogate: Model | None = None,
    eot: EOT | int | None = None,
    limit: int | None = None,
    seed: int = 0,
    precision: str = "fast",
    skip_bad: bool = False,
    watch: Watch | None = None,
    keep: str = "all",
    out: Where = None,
    force: bool = False,
    **settings: Any,
) -> input_specific.AttackResult | fooling.FoolingResult | fitted.FittedResult | camouflage.CamouflageResult:
    """Attack a network, and decide on 8-bit images what is claimed.

    `method` is a name (`ostrich list attacks`), a class, or an attack with its settings; `settings` are those
    of a name or class: eps=8/255, steps=40 (one that is called as an option here, such as the `surrogate` of
    autoattack, is given in an instance). `model` is a classifier, a module, a function or a MODEL; `images`
    (N, C, H, W) in [0, 1], or DATA as on the command line; then labels (N,) or a goal, in their place
    (`labels_or_goal`) or by name: without labels they are the clean predictions. `target` is a class by name
    or number, "random" or "least-likely"; a goal says it all. `surrogate` lends its gradients; `eot` averages
    them over random views. `limit` takes a seeded, class-balanced choice; `skip_bad` leaves out files that
    cannot be read. `seed` decides every random number (of those that a network draws for itself not what is
    drawn while something is fitted), `precision` is "fast" or "exact", of gradients only, and `force`
    overwrites a finished run in `out`.

    - An attack on single images tries those that the network gets right: an `AttackResult`. `watch` is
      called after each of its steps with the number of the step and the images (n, C, H, W) it is at, of
      those that are not done. `keep` says which images its run has as files: "all", the "failures" of the
      network, or "none", when nothing proves what is claimed; images.csv has a row of each in any case.
    - fooling-* starts from noise and takes no images, but `confidence`, and `target` or `limit`, so many
      evenly spread classes: a `FoolingResult`.
    - A fitted one (universal, generator, patch, texture) is fitted on a part of the images, `fit` of them,
      and judged on the rest: a `FittedResult`. An `artefact`, a file or `result.artefact`, is applied
      instead of fitting; `also` are networks on which it is judged too.
    - dazzle takes a face detector, "detector:NAME", and pictures of faces: a `CamouflageResult`.

    A result has tensors with the image as first axis, `figures`, and `save(folder)`. With `out` it is written
    there from the beginning, and an interrupted one goes on. Raises InputError (wrong images, labels or
    settings; what the attack does not take or the network does not allow), UnknownName.
    """
    given = read_given(
        method,
        (labels_or_goal, labels, goal),
        target,
        also,
        eot,
        settings,
        images=images,
        artefact=artefact,
        surrogate=surrogate,
        limit=limit,
        seed=seed,
        precision=precision,
        skip_bad=skip_bad,
        watch=watch,
        keep=keep,
    )
    question = _question(given, model)
    if out is None and isinstance(
        question, input_specific.Question
    ):  # which needs no folder before it is saved
        return question.answered(None)
    with question.begin(out, force) as run:
        found = question.answered(run)
        run.finish(found.figures)
    shutil.rmtree(run.folder / input_specific.SHARDS, ignore_errors=True)  # all of it stands in the files now
    return found


def _question(
    given: Given, model: Any
) -> input_specific.Question | fooling.Question | fitted.Question | camouflage.Question:
    """All that decides the result. Raises InputError for what cannot be answered, before it is begun."""
    if issubclass(given.kind, CamouflageAttack):
        from ostrich.verbs.attack import camouflage

        return camouflage.asked(given, model)
    if issubclass(given.kind, FittedAttack):
        from ostrich.verbs.attack import fitted

        return fitted.asked(given, model)
    if starts_from_noise(given.kind):
        from ostrich.verbs.attack import fooling

        return fooling.asked(given, model)
    return input_specific.asked(given, model)
