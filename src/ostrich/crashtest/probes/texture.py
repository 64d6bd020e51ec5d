"""Does it know an object that is painted a little differently, from all sides?

A toybox object of one of the network's classes: its texture is fitted on some views (Athalye 2018),
within 16/255, and judged on others, beside random paint of the same budget.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ostrich.attacks import AdversarialTexture, Linf
from ostrich.attacks.engine.figures import measured
from ostrich.attacks.fitted.artefact import fit_artefact, judge
from ostrich.attacks.physical.turntable import painted, viewpoints
from ostrich.crashtest.answer import Answer
from ostrich.crashtest.blocks import Pairs, Picture, Pictures
from ostrich.crashtest.context import CannotRun, Context, budget_text, check_gradient, indices
from ostrich.crashtest.plan import Cost
from ostrich.crashtest.summary import doubted, success
from ostrich.data.matching import Names
from ostrich.data.mesh_views import Views
from ostrich.data.toyscenes.meshes import CLASS_NAMES
from ostrich.errors import MissingExtra
from ostrich.figures.words import in_percent
from ostrich.models.answers import predictions

TITLE = "A painted object"
FIT, HELD_OUT, EPOCHS, SHOWN = 48, 48, 12, 3
COST = Cost(fixed_gradients=1.0 * FIT * EPOCHS + 3.0 * HELD_OUT)  # the latter: forwards of what is held out
THREAT = Linf(16 / 255)


def probe(context: Context) -> Answer:
    """The question of this file."""
    classifier = context.classifier
    check_gradient(classifier, "there is no slope to paint along")
    name, label = known_object(context)
    views = _views(context, name)
    chosen, held_out = views.take(range(FIT)), views.take(range(FIT, FIT + HELD_OUT))
    device = classifier.device
    fitting, images = chosen.untouched.to(device), held_out.untouched.to(device)
    method = AdversarialTexture(threat=THREAT, epochs=EPOCHS, batch_size=16, shown=chosen)
    fitted = fit_artefact(
        method,
        classifier,
        fitting,
        predictions(classifier.predict(fitting)),
        seen=chosen.numbers,
        seed=context.seed,
        precision=context.precision,
    )
    artefact = replace(fitted, method=replace(method, shown=held_out))
    labels = torch.full((HELD_OUT,), label, device=device)
    judged = judge(artefact, classifier, images, labels, context.seed)
    found = measured(method.name, judged.result, classifier)
    right = int(judged.result.attacked.sum())
    if not right:
        raise CannotRun(f"It takes the {name} of the toybox for something else from every side.")
    broken = indices(judged.result.success).tolist()
    items = [
        context.comparison(
            f"texture-{i}", images[i], judged.result.images[i], budget_text("linf", THREAT.eps), THREAT.eps
        )
        for i in (broken or indices(judged.result.attacked).tolist())[:SHOWN]
    ]
    after = predictions(classifier.predict(painted(held_out, artefact.tensors["texture"]))).cpu()
    drawn = viewpoints(
        held_out,
        judged.result.clean_predictions.cpu(),
        after,
        label,
        None,
        (classifier.class_name(label), None),
    )
    return Answer(
        sentence=f"Painted anew within {budget_text('linf', THREAT.eps)}, a {name} is no longer one from "
        f"{len(broken)} of {right} sides; with random paint, from "
        f"{_percent(judged.random_baseline)} of them.{doubted(found['reason'])}",
        how_to_read=f"The texture was fitted on {FIT} views of a toybox object and is judged on {HELD_OUT} "
        "others: other sides, distances, lights and surroundings. In the map a dot is a view, where its "
        "camera stood. More views and passes, as `ostrich attack texture` takes them, make it stronger.",
        figures={
            "object": name,
            "eps": THREAT.eps,
            "n_fit": FIT,
            "n": HELD_OUT,
            "right": right,
            "success_rate": len(broken) / right,
            "by_chance": judged.random_baseline,
            **found,
        },
        blocks=[
            Pairs(items=items),
            Pictures(
                items=[
                    Picture(
                        file=context.save("texture-viewpoints", drawn),
                        title="What it is seen as",
                        caption="before, and painted anew",
                    )
                ],
                columns=1,
            ),
        ],
        summary=[
            success(
                f"views of a painted {name} that fool it", len(broken), right, ["texture"], found["reason"]
            )
        ],
    )


def known_object(context: Context) -> tuple[str, int]:
    """The first toybox object that is one of the network's classes, and its class."""
    known = Names(context.classifier.class_names or ())
    for name in CLASS_NAMES:
        if len(places := known.places(name)) == 1:
            return name, places[0]
    raise CannotRun("None of its classes is an object of the toybox.")


def _views(context: Context, name: str) -> Views:
    from ostrich.data.meshes import toybox, views_of

    size: Any = context.classifier.size or tuple(context.images.shape[2:])
    try:
        return views_of(toybox(name), range(FIT + HELD_OUT), size, context.classifier.channels)
    except MissingExtra as error:
        raise CannotRun(str(error)) from error


def _percent(share: float | None) -> str:
    return "none" if share is None else in_percent(share)
