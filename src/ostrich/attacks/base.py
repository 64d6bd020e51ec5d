"""What an attack may have: the two declared kinds, and the check of a class against them.

    Attack                       what every attack says of itself
    +-- InputSpecificAttack      a state machine over images: init(problem), step(problem, state)
    +-- FittedAttack             fitted on images, applied to others: init(fitting), epoch(...), apply(...)
        +-- CamouflageAttack     the same against a detector of faces, on faces

An attack is a frozen, keyword-only dataclass whose fields are its settings. What is optional has its
default here, so nothing is ever asked for that a base does not name. A class is checked when its first
instance is made, its settings whenever one is made: ranges and words that the annotations of its fields
declare (`ranges`), its norm, and what `validate` adds.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from torch import Tensor

from ostrich.attacks.threats import EPS, NORMS, Threat, Unbounded
from ostrich.errors import ContractError, InputError, UnknownName
from ostrich.runtime.ranges import check_fields

if TYPE_CHECKING:
    from ostrich.attacks.engine.problem import Problem
    from ostrich.attacks.engine.result import Result
    from ostrich.attacks.eot import EOT
    from ostrich.attacks.fitted.fitting import Fitting
    from ostrich.attacks.goals import Goal
    from ostrich.data.mesh_views import Views
    from ostrich.models.classifier import Classifier

ATTACKS: dict[str, type[Attack]] = {}  # every attack by its name; `ostrich.attacks` fills it
NEEDS = ("gradient", "scores", "labels")  # of a network, the most demanding first
ALIKE = 0.8  # from which on a name is taken for a misspelt one
S = TypeVar("S", bound="State")
Tensors = dict[str, Tensor]
FittingState = dict[str, Any]  # of tensors, and of dictionaries of tensors: what a checkpoint holds


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What every attack says of itself.

    Its budget is a field `threat`; `PGD(eps=8 / 255)` and `PGD(norm="l2", eps=0.5)` are short for it. A norm
    without eps takes the field's usual one, or none where the attack's own default has none.

    `name`; what it `needs` of a network: gradient, scores or labels; the `norms` of the threat models it
    knows, ("none",) where nothing bounds it; a field `threat` with its budget; and `stop`, "first": an
    image is done once it is broken, "budget": when all steps are spent, "minimum": when the state says
    so, and of all successes the nearest counts.
    """

    name: ClassVar[str]
    needs: ClassVar[str]
    norms: ClassVar[tuple[str, ...]]
    kind: ClassVar[str]  # said by the base

    if TYPE_CHECKING:  # fields, class variables or properties, as an attack likes

        @property
        def threat(self) -> Threat: ...

        @property
        def stop(self) -> str: ...

    eps: InitVar[float | None] = None
    norm: InitVar[str | None] = None

    def __post_init__(self, eps: float | None, norm: str | None) -> None:
        check_class(type(self))
        if eps is not None or norm is not None:
            object.__setattr__(self, "threat", self._budget(eps, norm))
        check_fields(self, self.name)
        self._check_norm()
        self.validate()

    def validate(self) -> None:
        """Refuse, by an InputError, settings that do not go together."""

    def check_classifier(self, classifier: Classifier) -> None:
        """Refuse, by an InputError, a `classifier` it cannot be run on."""

    @property
    def title(self) -> str:
        """What it is called in a report."""
        return self.name

    def _budget(self, eps: float | None, norm: str | None) -> Threat:
        """The threat model that `eps` and `norm` are short for. Raises InputError, UnknownName."""
        own = next((field for field in fields(self) if field.name == "threat"), None)
        if own is None:
            raise InputError(f"{self.name} has no budget to set: it takes no eps and no norm.")
        if self.threat != own.default:
            raise InputError(f"{self.name}: give threat, or eps and norm, not both.")
        norm = self.norms[0] if norm is None else norm
        if norm not in self.norms:
            raise UnknownName(f"norm of {self.name}", norm, self.norms)
        if eps is not None:
            return NORMS[norm](eps)
        if self.threat.eps == float("inf"):  # a smallest change needs no budget
            return Unbounded(norm)
        return self.threat if norm == self.threat.norm else NORMS[norm](EPS[norm])

    def _check_norm(self) -> None:
        if not isinstance(self.threat, Threat):
            raise InputError(
                f"{self.name}: threat is a threat model, such as ostrich.Linf(8 / 255); got {self.threat!r}."
            )
        if "none" not in self.norms and self.threat.norm not in self.norms:
            raise InputError(
                f"{self.name} knows budgets in {' and '.join(self.norms)}; got one in {self.threat.norm}."
            )


class InputSpecificAttack(Attack):
    """An algorithm for a goal under a threat model, as a state machine over a batch of images.

    `init(problem)` gives a `State`, `step(problem, state)` the next one; `steps` (a field, class variable or
    property) ends it. `copies` are the forwards that a step costs an image, `most_forwards` all that an image
    may cost, None for no limit. The engine drops images that are done, verifies what reaches the goal among
    all images that the network was asked about, counts, limits and resumes.
    """

    kind: ClassVar[str] = "input-specific"
    needs_data: ClassVar[bool] = True  # False: it starts from noise
    shared: ClassVar[bool] = False  # True: one state serves all images, which are one batch
    photographs: ClassVar[bool] = False  # True: a success has to hold in `photographed` too

    if TYPE_CHECKING:

        @property
        def steps(self) -> int: ...

        @property
        def copies(self) -> int: ...

        @property
        def most_forwards(self) -> int | None: ...

    else:
        copies = 1  # forwards that a step costs an image
        most_forwards = None  # that an image may cost in all

    @property
    def members(self) -> tuple[InputSpecificAttack, ...]:
        """The attacks run one after another on what still stands; an ordinary one is its only member."""
        return (self,)

    def photographed(self, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """What a camera makes of `images` (n, C, H, W), of their shape.

        Its random numbers are keyed by `seed` and the originals' fingerprints, `keys`.
        """
        raise NotImplementedError

    def aim(self, goal: Goal) -> Goal:
        """What a success has to reach: the goal, or more than it."""
        return goal

    def companions(self, classifier: Classifier) -> tuple[Classifier, ...]:
        """The networks that it loads beside the `classifier`: what they are decides its result too."""
        return ()

    @property
    def titles(self) -> tuple[str, ...]:
        """What its members are called in a report."""
        return tuple(member.title for member in self.members)

    def init(self, problem: Problem) -> State:
        """Where the images of a problem begin."""
        raise AssertionError(f"{self.name} is run member by member")

    def step(self, problem: Problem, state: Any) -> State:
        """The state after one step; images that the network is asked about are proposals."""
        raise AssertionError(f"{self.name} is run member by member")

    def metrics(self, step: int, state: Any) -> dict[str, Any] | None:
        """What is known after a step, a line of metrics.jsonl; None where nothing is worth one."""
        return None

    def report(
        self,
        folder: Path,
        classifier: Classifier,
        index: Sequence[int],
        goal: Goal,
        result: Result,
        seed: int,
    ) -> dict[str, Any]:
        """Write further files into the run directory `folder`; further figures for run.json.

        `index` are the places among the data of the images of `result`, whose goal was `goal`; `seed` the
        run's.
        """
        return {}


class FittedAttack(Attack):
    """An image-agnostic attack: fitted on some images, its artefact is applied to others.

    A state machine over passes through the fitting images: `init(fitting)`, `epoch(fitting, state, number)`;
    `tensors(state)` are what the artefact keeps, `apply(...)` makes images under attack. `untargeted_only`
    says that it knows no target, `camera` gives random views under which a success is tried again, None for
    none. What is random about an image is keyed by `seed` and by its fingerprint, one of `keys`.

    `data_parallel` says that `epoch` may be run by several processes at once, each on its own part of every
    batch: `fitting.own(rows)`, whose gradients are added up, and what is random keyed by image or batch.
    """

    kind: ClassVar[str] = "image-agnostic"
    stop: ClassVar[str] = "budget"
    one_size: ClassVar[bool] = True  # whether its artefact is bound to the size of the fitting images
    paints: ClassVar[bool] = False  # True: it paints a mesh, whose views `bind_views` gives it

    if TYPE_CHECKING:

        @property
        def fit(self) -> int | None: ...

        @property
        def epochs(self) -> int: ...

        @property
        def victims(self) -> str | None: ...

        @property
        def label(self) -> str | None: ...

        @property
        def camera(self) -> EOT | None: ...

        @property
        def print_width(self) -> str | None: ...

        @property
        def untargeted_only(self) -> bool: ...

        @property
        def data_parallel(self) -> bool: ...

        @property
        def per_face(self) -> bool: ...

    else:
        fit = None  # images to fit on; None: half of what there is
        victims = None  # further networks it is fitted on, MODELs joined by +
        label = None  # the class of the object that it paints
        camera = None  # random views under which a success is tried again
        print_width = None  # of what is to be printed; then `photographed` is judged too
        untargeted_only = False  # whether it knows no target
        data_parallel = False  # whether several processes fit it, each on a part of every batch
        per_face = False  # whether each face has a look of its own, where it hides faces

    @property
    def judged_in(self) -> Threat:
        """The threat model by which its images are judged, where that is not its own budget."""
        return self.threat

    def bind_views(self, views: Views | None) -> Self:
        """The same attack on the mesh that these views show."""
        return self

    def init(self, fitting: Fitting) -> FittingState:
        """The state before the first pass; one with `done`, a bool tensor that is true, ends the fitting."""
        raise NotImplementedError

    def epoch(self, fitting: Fitting, state: FittingState, number: int) -> FittingState:
        """The state after one more pass through the fitting images."""
        raise NotImplementedError

    def tensors(self, state: FittingState) -> Tensors:
        """What an artefact keeps of the state."""
        raise NotImplementedError

    def apply(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """`images` (n, C, H, W) under attack, of their shape, within the budget.

        `tensors` are an artefact's.
        """
        raise NotImplementedError

    def random_baseline(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """The same, (n, C, H, W), with something random in the artefact's place: what it has to beat."""
        raise NotImplementedError

    def picture(self, tensors: Tensors) -> Tensor | None:
        """The artefact as an image (C, H, W), where it is one."""
        return None

    def photographed(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """Photographs (n, C, H, W) of what is printed, laid into images; with no `tensors` of these alone."""
        raise NotImplementedError

    def write(self, tensors: Tensors, folder: Path) -> None:
        """Write further files of the artefact, of its `tensors`, into the run directory `folder`."""

    def write_views(
        self,
        folder: Path,
        classifier: Classifier,
        views: Views,
        tensors: Tensors,
        label: int,
        target: int | None,
    ) -> dict[str, Any]:
        """Write pictures of the painted object into `folder`; what its `views` are seen as, for run.json.

        `label` is the object's class and `target` the one to reach, by index; None where there is none.
        """
        raise NotImplementedError


class CamouflageAttack(FittedAttack):
    """What hides faces from a detector: fitted on faces and judged on others, or on other views of them."""


@dataclass(frozen=True)
class State:
    """Where each image of a batch stands: tensors with the image as first axis.

    `images` (n, C, H, W) are what the attack proposes now.
    """

    images: Tensor

    @property
    def begun(self) -> Tensor | None:
        """Which images the attack has found a way to begin with, (n,) bool; None for all."""
        return None


@dataclass(frozen=True)
class EndingState(State):
    """A state that says for itself which images are over: given up, or with stop "minimum" through.

    `done` (n,) bool says which.
    """

    done: Tensor  # (n,) bool


def select(state: S, keep: Tensor) -> S:
    """The rows of a state where `keep` (n,) is true; what is no tensor stays."""
    values = {name: v[keep] if isinstance(v, Tensor) else v for name, v in vars(state).items()}
    return type(state)(**values)


# The check of a class -----------------------------------------------------------------------------

CHECKED: set[type[Attack]] = set()
HEAD = ("name", "needs", "norms", "threat")
REQUIRED = {  # the first that a class derives from
    InputSpecificAttack: (*HEAD, "stop", "steps", "init", "step"),
    CamouflageAttack: HEAD,
    FittedAttack: (*HEAD, "epochs", "init", "epoch", "tensors", "apply", "random_baseline"),
}


def check_class(kind: type[Attack]) -> None:
    """Refuse, by a ContractError, a class that lacks what its kind of attack has, or misspells it."""
    if kind not in CHECKED:
        _check_names(kind)
        _check_values(kind)
        CHECKED.add(kind)


def _check_names(kind: type[Attack]) -> None:
    base = next((one for one in REQUIRED if issubclass(kind, one)), None)
    if base is None:
        raise ContractError(f"{kind.__name__}: an attack derives from InputSpecificAttack or FittedAttack.")
    if not is_dataclass(kind) or "__dataclass_fields__" not in vars(kind):
        raise ContractError(f"{kind.__name__}: write @dataclass(frozen=True, kw_only=True) above its class.")
    settings = {field.name for field in fields(kind)}
    layers = kind.__mro__[: kind.__mro__.index(base)]
    own = settings.union(*(vars(layer) for layer in layers))
    known = set(REQUIRED[base]).union(*(vars(one) for one in base.__mro__))
    for name in sorted(own - known - settings):
        near = difflib.get_close_matches(name, known, 1, ALIKE)
        if not name.startswith("_") and near:
            raise ContractError(f"{kind.__name__}.{name} is called by nothing; is {near[0]} meant?")
    needed = [name for name in REQUIRED[base] if name not in ("init", "step") or "members" not in own]
    missing = [name for name in needed if name not in own]
    if missing:
        raise ContractError(
            f"{kind.__name__} lacks {', '.join(missing)}: {base.__name__} says in its docstring what each is."
        )
    if "photographed" in own and issubclass(kind, InputSpecificAttack) and not kind.photographs:
        raise ContractError(f"{kind.__name__}.photographed is called only where photographs is True.")


def _check_values(kind: type[Attack]) -> None:
    if kind.needs not in NEEDS:
        raise ContractError(f"{kind.__name__}.needs is one of {', '.join(NEEDS)}; got {kind.needs!r}.")
    if not isinstance(kind.norms, tuple) or not set(kind.norms) <= {*NORMS, "none"}:
        raise ContractError(
            f"{kind.__name__}.norms is a tuple of {', '.join(NORMS)}, or ('none',); got {kind.norms!r}."
        )
