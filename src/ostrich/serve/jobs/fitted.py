"""One change for every image: a universal perturbation, or a patch that a hand drags over the picture.

It is fitted on a part of DATA and judged on the rest. What it does to the image in question is decided as for
any attack, on the file; an image that it was fitted on proves nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from pydantic import Field

from ostrich.attacks.fitted.artefact import Artefact
from ostrich.errors import InputError
from ostrich.images import fingerprints, rounded
from ostrich.models.answers import predictions
from ostrich.serve.jobs.asked import AboutImage, Asked, Whole
from ostrich.serve.jobs.turn import Budget, described
from ostrich.serve.playground import Playground
from ostrich.serve.worker import Job, Stopped
from ostrich.verbs.attack import attack

Kind = Literal["universal", "patch"]
FITTED: tuple[str, ...] = get_args(Kind)
Share = Annotated[float, Field(ge=0, le=1)]


class Fit(Asked):
    """A perturbation or a patch, fitted on DATA: away from any class, or into `target`.

    `eps` is that of the attack: a change in Linf, or the share of the picture that the patch covers.
    """

    remembered: ClassVar[bool] = False  # what was fitted is kept
    attack: Kind
    target: Whole | None = None
    eps: Budget | None = None
    epochs: Annotated[int, Field(ge=1, le=200)] | None = None

    @property
    def key(self) -> str:
        """What tells it from another one."""
        return f"{self.attack} {self.target} {self.eps} {self.epochs}"


class Lay(AboutImage):
    """What was `fitted`, over an image; a patch with its middle at shares of the height and of the width."""

    remembered: ClassVar[bool] = False
    fitted: Fit
    down: Share = 0.5
    right: Share = 0.5


def fit(playground: Playground, asked: Fit, job: Job) -> None:
    """Fit it, unless it is there; how many of the images that it has not seen it turns."""
    kept = playground.fitted.get(asked.key)
    if kept is not None:
        job.emit(**kept[1])
        return
    classifier, samples = playground.classifier, playground.samples
    target = None if asked.target is None else classifier.class_name(asked.target)
    settings = asked.model_dump(include={"eps", "epochs"}, exclude_none=True)
    try:
        found: Any = attack(asked.attack, classifier, samples, target=target, **settings)
    except Stopped:
        job.emit("said", sentence="Stopped; nothing is fitted.")
        return
    told = {
        "event": "fitted",
        "n": found.figures["n"],
        "fooling_rate": found.figures["fooling_rate"],
        "by_chance": found.figures["by_chance"],
        "success_rate": found.figures["success_rate"],
        "seen": len(found.artefact.seen),
    }
    playground.fitted.put(asked.key, (found.artefact, told))
    job.emit(**told)


def lay(playground: Playground, asked: Lay, job: Job) -> None:
    """The picture with it, its bars, and whether it turns it: `made` where its file does, to be saved."""
    kept = playground.fitted.get(asked.fitted.key)
    if kept is None:
        raise InputError("That is not fitted yet, or not here any more; fit it first.")
    artefact, image, classifier = kept[0], playground.image(asked.image), playground.classifier
    if asked.fitted.attack == "patch":
        method: Any = artefact.method
        artefact = replace(artefact, method=replace(method, place=f"{asked.down:.4f},{asked.right:.4f}"))
    x, keys = image.to(classifier.device), fingerprints(image)
    tensors = {name: value.to(x) for name, value in artefact.tensors.items()}
    with torch.no_grad():
        changed = rounded(artefact.method.apply(tensors, x, keys, 0))
    before = predictions(classifier.predict(x))
    goal, seen = artefact.goal(classifier, before), not bool(artefact.unseen(keys)[0])
    already = goal.kind == "targeted" and int(before[0]) == int(goal.classes[0])
    fools = bool(goal.reached(classifier.predict(changed))[0]) and not already
    made = playground.keep(changed, "m")
    if fools and not seen:
        playground.claims.put(made, lambda folder: _proved(playground, artefact, asked, folder))
    job.emit(
        "laid",
        made=made,
        success=fools and not seen,
        sentence=_verdict(fools, seen, already),
        **described(playground, image, changed.cpu(), goal),
    )


def _proved(playground: Playground, artefact: Artefact, asked: Lay, folder: Path) -> Path:
    """Attack that one image with it, and write what its file shows. Raises InputError for no proof."""
    image = playground.image(asked.image)
    found: Any = attack(asked.fitted.attack, playground.classifier, image, artefact=artefact)
    if not bool(found.success[0]):
        raise InputError("Read back from its file it does not fool; nothing is saved.")
    saved: Path = found.save(folder)
    return saved


def _verdict(fools: bool, seen: bool, already: bool) -> str:
    if already:
        return "It was of that class before; take another image."
    if seen:
        return "This image was among those it was fitted on, so it proves nothing here; take another one."
    return "Rounded to 8 bits, in the plain network: it fools." if fools else "Not fooled by it here."
