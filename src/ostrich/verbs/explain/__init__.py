"""`ostrich.explain`: which pixels of an image move a unit; `sheet`: all about a unit.

What a method computes stands in `attribution/`; here its question is put together from what the user has, and
its answer becomes figures and a run directory: maps in `maps.py`, pages about units in `sheets.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ostrich.attribution import EXPLAINERS, Explainer
from ostrich.attribution.batches import check_method
from ostrich.attribution.sanity.stages import stages
from ostrich.data.dataset import Samples
from ostrich.errors import InputError, UnknownName
from ostrich.inspection.units import AnyUnit, Sum, Unit
from ostrich.models.classifier import Classifier
from ostrich.runtime.settings import read
from ostrich.verbs.explain.maps import SHARDS, Explanation, Question
from ostrich.verbs.explain.sheets import NAME as SHEETS
from ostrich.verbs.explain.sheets import UnitSheets, unit_pages
from ostrich.verbs.inputs import Images, Model, as_classifier, as_samples
from ostrich.verbs.outcome import Where, answer

Units = str | AnyUnit | Sequence[str | AnyUnit]


def explain(
    method: str | Explainer | type[Explainer],
    model: Model,
    images: Images | None = None,
    *,
    unit: Units | None = None,
    sanity: bool = False,
    limit: int | None = None,
    seed: int = 0,
    out: Where = None,
    force: bool = False,
    **settings: Any,
) -> Explanation | UnitSheets:
    """Which pixels of an image move a unit: a class, a channel, a neuron.

    `method` is a name (`ostrich list explainers`), a class, or a method with its settings; `settings` are
    those of a name: steps=64. `model` is a classifier, a module, a function or a MODEL; `images`
    (N, C, H, W) in [0, 1], a pair with labels, or DATA as on the command line. `unit` is one or several of
    "class:ostrich", "probability:ostrich", "layer3:17", "layer3:17@4,5", "class:a - class:b"; left out, it
    is the class that the network predicts for each image. `sanity` checks the method on this network and
    these images (Adebayo 2018, Petsiuk 2018, Zhang 2016). `limit` takes a seeded, class-balanced choice.
    `seed` decides every random number, `force` overwrites a finished run in `out`.

    Returns an `Explanation`: `maps` (N, U, C, H, W), `units`, `predictions`, `remarks`. "sheet" shows all
    about units, the whole of a layer with unit="layer3", and returns `UnitSheets`. With `out` the files
    are written from the beginning. Raises InputError (wrong images, units, settings; a network that the
    method does not apply to), UnknownName.
    """
    if method != SHEETS:
        method = as_explainer(method, settings)
    classifier = as_classifier(model)
    samples = _samples(images, classifier, limit, seed)
    units = as_units(unit)
    if not isinstance(method, Explainer):
        if sanity:
            raise InputError("sanity checks a method; a sheet shows several.")
        found: UnitSheets = unit_pages(classifier, samples, units, settings, seed=seed, out=out, force=force)
        return found
    check_method(method, classifier, units)
    if sanity:
        stages(classifier)  # refuses a network without parameters
    question = Question(
        method=method, classifier=classifier, samples=samples, units=units, sanity=sanity, seed=seed
    )
    whole: Explanation = answer(question, out, force)
    if out is not None and whole.folder is not None:
        shutil.rmtree(whole.folder / SHARDS, ignore_errors=True)  # all of it stands in the files now
    return whole


def as_explainer(method: object, settings: Mapping[str, Any]) -> Explainer:
    """A method of that name or class with settings, values or text. Raises UnknownName, InputError."""
    if isinstance(method, Explainer):
        if settings:
            raise InputError(
                f"{method.name} has its settings already; {', '.join(settings)} belongs into it: "
                f"{type(method).__name__}({', '.join(f'{name}=...' for name in settings)})."
            )
        return method
    if isinstance(method, str):
        if method not in EXPLAINERS:
            raise UnknownName("explainer", method, [*EXPLAINERS, SHEETS])
        method = EXPLAINERS[method]
    if not isinstance(method, type) or not issubclass(method, Explainer):
        raise InputError(f"A method is a name, a class, or an instance of one; got {method!r}.")
    return method(**read(method, settings, method.name))


def as_units(unit: Units | None) -> list[str]:
    """Names of units, each once. Raises InputError."""
    several = [] if unit is None else [unit] if isinstance(unit, str | Unit | Sum) else unit
    if not isinstance(several, Sequence) or not all(isinstance(u, str | Unit | Sum) for u in several):
        raise InputError(f"A unit is a name such as 'class:ostrich' or 'layer3:17', or a list; got {unit!r}.")
    return list(dict.fromkeys(str(one) for one in several))


def _samples(images: Images | None, classifier: Classifier, limit: int | None, seed: int) -> Samples:
    if images is None:
        raise InputError("Give the images to explain: a tensor (N, C, H, W) in [0, 1], or DATA.")
    samples = as_samples(images, None, classifier, limit=limit, seed=seed)
    if not len(samples):
        raise InputError("Give at least one image; got none.")
    return samples
