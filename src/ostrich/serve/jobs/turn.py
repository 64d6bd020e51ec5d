"""Turn it into another class: an attack, step by step, and over budgets."""

from __future__ import annotations

import time
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ostrich.attacks import Goal, Targeted, Untargeted
from ostrich.errors import InputError
from ostrich.images import LEVELS, rounded
from ostrich.models.answers import predictions
from ostrich.serve.jobs.asked import AboutImage, Name, Whole
from ostrich.serve.playground import Playground, png
from ostrich.serve.worker import PAUSE, Job, Stopped
from ostrich.verbs.attack import attack

BUDGETS = (0.5, 1, 2, 4, 8, 16, 32)  # in 255ths; half a level is what rounding can hide
SLIDER_STEPS = 40
Budget = Annotated[float, Field(gt=0, le=1e6)]


class Turn(AboutImage):
    """An attack on an image: away from its class, or into `target`. Without `eps` the attack's own budget."""

    attack: Name
    target: Whole | None = None
    norm: Name | None = None
    eps: Budget | None = None
    steps: Annotated[int, Field(ge=1, le=2000)] | None = None


class Budgets(AboutImage):
    """The same image at each budget of BUDGETS, in Linf: away from its class, or into `target`."""

    target: Whole | None = None


def turn(playground: Playground, asked: Turn, job: Job) -> None:
    """The attack's pictures on the way, and what it came to: `made` where its file fools."""
    image, classifier = playground.image(asked.image), playground.classifier
    goal = goal_of(playground, image, asked.target)
    shown, last = time.monotonic(), image

    def watch(step: int, images: Tensor) -> None:
        nonlocal shown, last
        job.check_stop()
        last = images[:1].detach().cpu()
        if time.monotonic() - shown < PAUSE:
            return
        job.emit("step", step=step, **described(playground, image, last, goal))
        shown = time.monotonic()

    settings = asked.model_dump(include={"norm", "eps", "steps"}, exclude_none=True)
    job.emit("step", step=0, **described(playground, image, image, goal))
    try:
        found = attack(asked.attack, classifier, image, goal=goal, watch=watch, **settings)
    except Stopped:
        made = playground.keep(last, "m")
        job.emit("stopped", made=made, **described(playground, image, last, goal))
        return
    success = bool(found.success[0])
    made = playground.keep(found.images[:1], "m")
    if success:
        playground.claims.put(made, found.save)
    figures = {name: found.figures.get(name) for name in ("forwards_per_image", "backwards_per_image")}
    job.emit(
        "result",
        made=made,
        success=success,
        sentence=_verdict(found.figures, success),
        figures=figures,
        **described(playground, image, found.images[:1].cpu(), goal),
    )


def budgets(playground: Playground, asked: Budgets, job: Job) -> None:
    """A picture for each budget; whether it fools, and what every network sees in it."""
    image = playground.image(asked.image)
    goal = goal_of(playground, image, asked.target)
    for eps in BUDGETS:
        job.check_stop()
        found = attack("pgd", playground.classifier, image, goal=goal, eps=eps / LEVELS, steps=SLIDER_STEPS)
        made, success = playground.keep(found.images[:1], "m"), bool(found.success[0])
        if success:
            playground.claims.put(made, found.save)
        now = described(playground, image, found.images[:1].cpu(), goal)
        job.emit("budget", eps=eps, made=made, success=success, **now)


def goal_of(playground: Playground, image: Tensor, target: int | None) -> Goal:
    """Away from what the network sees, or into a class. Raises InputError where it is that already."""
    seen = predictions(playground.classifier.predict(image))
    if target is None:
        return Untargeted(seen)
    if target >= playground.classifier.num_classes:
        raise InputError(f"Classes are 0 to {playground.classifier.num_classes - 1}; got {target}.")
    if target == int(seen[0]):
        raise InputError(f"It is {playground.classifier.class_name(target)} already; choose another class.")
    return Targeted(torch.tensor([target]))


def described(playground: Playground, image: Tensor, now: Tensor, goal: Goal) -> dict[str, Any]:
    """A picture on the way as its file would be: bars, how far it is, how sure of the goal."""
    file = rounded(now)
    change = file - image
    wanted = int(goal.classes[0])
    networks = playground.bars(file, [wanted])
    share = next(one["share"] for one in networks[0]["classes"] if one["index"] == wanted)
    return {
        "picture": png(file[0]),
        "linf": change.abs().max().item() * LEVELS,
        "l2": change.norm().item(),
        "pixels": int((change != 0).any(1).sum()),
        "goal": {"kind": goal.kind, "class": wanted, "share": share},
        "networks": networks,
    }


def _verdict(figures: dict[str, Any], success: bool) -> str:
    if success:
        return "Rounded to 8 bits, in the plain network, inside the budget: it fools."
    reason = figures.get("reason")
    unknown = f", and it is not known whether it can be: {reason}" if reason else ""
    return f"Not fooled within the budget{unknown}."
