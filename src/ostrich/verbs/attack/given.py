"""What `ostrich.attack` is given: brought to one form, and refused where it does not go together.

Nothing is loaded and nothing is computed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ostrich.attacks import (
    CAMOUFLAGE,
    IMAGE_AGNOSTIC,
    Attack,
    CamouflageAttack,
    FittedAttack,
    Goal,
    InputSpecificAttack,
    find,
)
from ostrich.attacks.engine.evidence import check_keep
from ostrich.attacks.eot import EOT
from ostrich.attacks.fitted.artefact import Artefact
from ostrich.attacks.fooling.ascent import CONFIDENCE
from ostrich.data.forms import LISTED
from ostrich.errors import InputError, UnknownName
from ostrich.models.classifier import Classifier
from ostrich.verbs.inputs import Model, check_count, check_whole_number

Method = str | Attack | type[Attack]
Labels = Tensor | Sequence[int]
Watch = Callable[[int, Tensor], None]  # called with the number of a step and the images it is at


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Given:
    """What is given beside the network, as `ostrich.attack` describes it."""

    method: Method
    images: Any
    labels: Labels | None
    goal: Goal | None
    target: str | None
    artefact: str | Path | Artefact | None
    also: tuple[Model, ...]
    surrogate: Model | None
    eot: EOT | None
    limit: int | None
    seed: int
    precision: str
    skip_bad: bool
    watch: Watch | None
    keep: str
    settings: Mapping[str, Any]  # without `confidence`
    confidence: float | None  # where it is given

    @property
    def kind(self) -> type[Attack]:
        return kind_of(self.method)

    def attack(self) -> Attack:
        """The attack with its settings. Raises UnknownName, InputError."""
        kind, settings = self.kind, self.settings
        if isinstance(self.method, Attack):
            if settings:
                raise InputError(
                    f"{kind.name} has its settings already; {', '.join(settings)} belongs into it: "
                    f"{kind.__name__}({', '.join(f'{name}=...' for name in settings)})."
                )
            return self.method
        return with_settings(kind, settings)


def read_given(
    method: Method,
    labels_and_goal: tuple[Any, ...],
    target: Any,
    also: Any,
    eot: Any,
    settings: dict[str, Any],
    **rest: Any,
) -> Given:
    """What was given, in one form. Raises InputError, UnknownName for what is of the wrong kind."""
    kind, confidence = kind_of(method), None
    if starts_from_noise(kind):
        confidence = settings.pop("confidence", CONFIDENCE)
        if not isinstance(confidence, float | int) or not 0 < confidence < 1:
            raise InputError(f"confidence lies between 0 and 1, for example 0.999; got {confidence!r}.")
    labels, goal = _labels_and_goal(labels_and_goal)
    check_count("limit", rest["limit"])
    check_whole_number("seed", rest["seed"])
    if rest["precision"] not in ("fast", "exact"):
        raise InputError(f"precision is fast or exact; got {rest['precision']!r}.")
    check_keep(rest["keep"])
    given = Given(
        method=method,
        labels=labels,
        goal=goal,
        target=_class_word(target),
        also=tuple(also) if isinstance(also, list | tuple) else () if also is None else (also,),
        eot=_views(eot),
        settings=settings,
        confidence=confidence,
        **rest,
    )
    for sentence in _refusals(given, kind):
        raise InputError(sentence)
    return given


def with_settings(kind: type[Attack], settings: Mapping[str, Any]) -> Attack:
    """An attack of that class. Raises UnknownName, InputError."""
    own = {field.name: field for field in fields(kind) if field.init}
    known = [*own, *(("eps", "norm") if "threat" in own else ())]
    for name in settings:
        if name not in known:
            raise UnknownName(f"setting of {kind.name}", name, known)
    lacking = [
        f"{name}=..."
        for name, field in own.items()
        if field.default is MISSING and field.default_factory is MISSING and name not in settings
    ]
    if lacking:
        raise InputError(f"{kind.name} needs {', '.join(lacking)}.")
    return kind(**settings)


def kind_of(method: Method) -> type[Attack]:
    """The class of an attack given by name, as a class, or as it is. Raises UnknownName, InputError."""
    kind = find(method) if isinstance(method, str) else method if isinstance(method, type) else type(method)
    if not issubclass(kind, Attack):
        raise InputError(
            "An attack is a name (`ostrich list attacks`), a class that derives from InputSpecificAttack or "
            f"FittedAttack, or an instance of one; got {method!r}."
        )
    return kind


def starts_from_noise(kind: type[Attack]) -> bool:
    """Whether it makes images from noise, and takes none."""
    return issubclass(kind, InputSpecificAttack) and not kind.needs_data


def check_labels(labels: Tensor | None, classifier: Classifier) -> None:
    """Refuse, by an InputError, labels (N,) that are no classes of the classifier."""
    if labels is None or not len(labels):
        return
    least, most = int(labels.min()), int(labels.max())
    if not 0 <= least <= most < classifier.num_classes:
        raise InputError(
            f"Labels are classes 0 to {classifier.num_classes - 1} of {classifier.name}; got {least} to "
            f"{most}."
        )


def _refusals(given: Given, kind: type[Attack]) -> Iterator[str]:
    """What an attack of this kind does not take, in sentences: nothing is ignored."""
    name, fitted = kind.name, issubclass(kind, FittedAttack)
    camouflage, noise = issubclass(kind, CamouflageAttack), starts_from_noise(kind)
    if given.goal is not None and given.target is not None:
        yield "Give a goal or a target, not both: the goal says what is to be reached."
    if given.artefact is not None:
        if not fitted:
            those = ", ".join([*IMAGE_AGNOSTIC, *CAMOUFLAGE])
            yield f"{name} leaves no artefact; one is applied by {those}, fitted before."
        if given.settings or given.target is not None or isinstance(given.method, Attack):
            yield (
                "An artefact has its settings and its target: others (--set, --target) belong to fitting. "
                "Give the name or class of its attack alone."
            )
    if given.also and not fitted:
        yield f"`also` judges an artefact on other networks; {name} leaves none."
    if given.also and camouflage:
        yield f"{name} is judged on the other detectors anyway; leave `also` out."
    if given.eot is not None and fitted:
        yield f"eot averages over views of one image; {name} is fitted on many and takes none."
    if given.surrogate is not None and (given.artefact is not None or camouflage):
        yield "A surrogate lends gradients to an attack on a classifier; here none are needed."
    if noise and not (given.images is None and given.labels is None and given.eot is None):
        yield f"{name} starts from noise: it takes no images (DATA), no labels and no eot."
    if noise and given.skip_bad:
        yield f"{name} starts from noise: it reads no images, and skip_bad is of no use."
    if camouflage and given.target is not None:
        yield f"{name} hides faces and takes no target; leave it out."
    if camouflage and given.labels is not None:
        yield f"{name} hides faces and takes no labels; leave them out."
    if given.keep != "all" and (fitted or noise or camouflage):
        yield f"keep chooses among the images of an attack on single images; {name} is none."
    if given.watch is not None and (fitted or noise):
        yield f"watch follows an attack on single images; {name} is none."
    if given.images is None and not noise:
        yield f"{name} needs DATA: a tensor of images (N, C, H, W) in [0, 1], or {LISTED}."
    if given.goal is not None and (camouflage or noise or (fitted and given.goal.kind != "untargeted")):
        yield f"{name} takes no goal of single images; a target is one class for all: target=CLASS."


def _labels_and_goal(given: tuple[Any, ...]) -> tuple[Labels | None, Goal | None]:
    """What was given in the place of labels or goal, as labels and as goal, each by what it is."""
    goals = [one for one in given if isinstance(one, Goal)]
    others = [one for one in given if one is not None and not isinstance(one, Goal)]
    if len(goals) > 1:
        raise InputError("Two goals are given; give one.")
    if len(others) > 1:
        raise InputError("Labels are given twice; give them once.")
    for one in others:
        if not isinstance(one, Tensor | list | tuple):
            raise InputError(
                "Labels are class numbers (N,), and a goal is ostrich.Untargeted(labels), Targeted(classes) "
                f"or Confident(classes, 0.99); got {type(one).__name__}."
            )
    return next(iter(others), None), next(iter(goals), None)


def _class_word(target: object) -> str | None:
    if target is None or (isinstance(target, str | int) and not isinstance(target, bool)):
        return None if target is None else str(target)
    raise InputError(
        "A target is one class by name or number, 'random' or 'least-likely'; a class for each image is "
        f"goal=ostrich.Targeted(classes). Got {type(target).__name__}."
    )


def _views(eot: object) -> EOT | None:
    if isinstance(eot, int) and not isinstance(eot, bool):
        return EOT(samples=eot)
    if eot is None or isinstance(eot, EOT):
        return eot
    raise InputError(f"eot is a number of random views, or ostrich.attacks.EOT(...); got {eot!r}.")
