"""The engine: runs input-specific attacks.

An attack is a state machine: `init(problem) -> state`, `step(problem, state) -> state`. Its state
is a dataclass of tensors with the image as first axis, among them `images`, what it proposes now.
The engine does the rest: images that are done leave the batch; every network output that an
attack sees is looked through for success; a success counts once it is verified, on the image
rounded to 8 bits, in the plain network, inside the budget; forwards and backwards are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.attacks.goals import SLACK, Goal
from ostrich.attacks.halfway import Halfway
from ostrich.attacks.lattice import GRID_FORWARDS, on_grid
from ostrich.attacks.problem import VALUES_PER_FORWARD, Access, Problem
from ostrich.attacks.result import Result, joined, save, shard_file
from ostrich.attacks.threats import Threat, exact_distance, within
from ostrich.attacks.transformations import EOT
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.networks import untouched

State = TypeVar("State")
Watch = Callable[[int, Any], None]  # told the number of a step and the state after it
MOST_IMAGES = 256  # in one batch
NEAR = 1.001  # of a budget: what lies farther out is not worth a verification


class Method(Protocol):
    """What every attack says of itself, input-specific or image-agnostic. A frozen dataclass."""

    name: ClassVar[str]
    needs: ClassVar[str]  # gradient, scores or labels
    norms: ClassVar[tuple[str, ...]]  # the threat models it knows

    @property
    def threat(self) -> Threat: ...

    @property
    def stop(self) -> str: ...


class Attack(Method, Protocol):
    """An algorithm for a goal under a threat model. A frozen dataclass; `steps` ends it.

    It may also have `lanes`, how many forwards a step costs an image; `most_forwards`, how many an
    image may cost in all; `members`, attacks that are run one after another on what still stands, in
    the place of its own `init` and `step`; and `shared`, True where one state serves all images of a
    batch: then all are one batch, which goes on between its steps where it was cut off. With
    `photographed(images, keys, seed)` a success has to reach the goal in the image that this returns
    too, and the original must not reach it there. With
    `check(classifier)` it refuses, by an InputError, a classifier it cannot be run on. A state with
    `done` (n,) bool says which images the attack has given up, or with stop "minimum" is through with.
    """

    @property
    def stop(self) -> str:
        """When an image is done.

        first: once it is broken; budget: when all steps are spent; minimum: when the state's
        `done` (n,) says so, and of all successes the nearest counts.
        """

    @property
    def steps(self) -> int: ...

    def init(self, problem: Problem) -> Any: ...

    def step(self, problem: Problem, state: Any) -> Any: ...


def attack(
    method: Attack,
    classifier: Classifier,
    images: Tensor,
    goal: Goal,
    *,
    labels: Tensor | None = None,
    seed: int = 0,
    precision: str = "fast",
    eot: EOT | None = None,
    starts: Tensor | None = None,
    batch_size: int | None = None,
    shards: Path | None = None,
    active_set: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
    watch: Watch = lambda step, state: None,
) -> Result:
    """Attack `images` (N, C, H, W) in [0, 1] and return verified results.

    With `labels` (N,), images that the network gets wrong are left alone, whatever the goal.
    `precision` concerns gradients only: "fast" takes them in bf16 where the processor has it,
    "exact" in the network's own type. With `eot`, gradients are those of the mean over random views
    of an image. `starts` (P, C, H, W) are images, perhaps of other classes, from which an attack that
    sees no scores may set out. `shards` is a folder in which finished batches are kept and found again.
    `watch` is shown the state after every step. All of it is brought to where the network is.
    `active_set=False` leaves finished images in the batch: the same results, slower.
    Raises InputError for images outside [0, 1], labels of another length or class, and a network
    without the access the attack needs.
    """
    _check_input(classifier, images, goal, precision)
    images = classifier.beside(images)
    goal, labels = goal.to(images.device), None if labels is None else labels.to(images.device)
    check(method, classifier, eot)
    size = batch_size or _batch_size(method, images)
    done: list[Result] = []
    with untouched(classifier.network):
        others = None if starts is None else (starts := starts.to(images.device), _logits(classifier, starts))
        for start in range(0, len(images), size) or (0,):
            part = images[start : start + size]
            rows = torch.arange(len(images), device=images.device)[start : start + size]
            batch = (part, goal.rows(rows), None if labels is None else labels[rows])
            asked = repr((method, eot, None if starts is None else pictures.fingerprints(starts)))
            shard = shard_file(shards, method.name, asked, classifier, *batch[:2], seed, precision)
            if shard is not None and shard.exists():
                kept = torch.load(shard, weights_only=True, map_location=part.device)
                done.append(Result(**kept, originals=part))
            else:
                halfway = Halfway.beside(shard)
                found = _run(
                    method, classifier, *batch, seed, precision, eot, others, active_set, halfway, watch
                )
                save(shard, found)
                halfway.drop()
                done.append(found)
            progress(min(start + size, len(images)), len(images))
    return joined(done)


def _run(
    method: Attack,
    classifier: Classifier,
    images: Tensor,
    goal: Goal,
    labels: Tensor | None,
    seed: int,
    precision: str,
    eot: EOT | None,
    starts: tuple[Tensor, Tensor] | None,
    active_set: bool,
    halfway: Halfway,
    watch: Watch,
) -> Result:
    """One batch."""
    count = len(images)
    zeros = torch.zeros(count, dtype=torch.int64, device=images.device)
    access = Access(classifier, precision, zeros.clone(), zeros.clone())
    everything = torch.arange(count, device=images.device)
    result, clean = _untried(access, images, goal, everything)
    if labels is not None:
        result.attacked &= result.clean_predictions == labels
    keys = tuple(pictures.fingerprints(images))
    whole = Problem(
        *(access, images, goal, method.threat, everything, keys, seed, clean),
        eot=eot,
        starts=starts,
        photographed=getattr(method, "photographed", None),
    )
    problem = whole.keep(result.attacked)
    if len(problem.rows):
        access.prepare(problem.originals[:1])
        for number, member in enumerate(getattr(method, "members", (method,))):
            standing = problem.keep(~result.success[problem.rows])
            if len(standing.rows):
                _steps(member, standing, result, active_set, halfway, watch)
                result.found_by[standing.rows[result.success[standing.rows]]] = number
    if whole.photographed is not None:
        broken = whole.keep(result.success)
        by_itself = broken.rows[broken.reached_photographed(broken.originals)]
        result.success[by_itself], result.found_by[by_itself] = False, -1
    result.forwards, result.backwards, result.checks = access.forwards, access.backwards, access.checks
    return result


def _steps(
    method: Attack, problem: Problem, result: Result, active_set: bool, halfway: Halfway, watch: Watch
) -> None:
    """Step until the attack's steps are spent, an image's queries are, or every image is done."""
    reserve = GRID_FORWARDS if method.stop == "minimum" else 0
    problem = replace(problem, queries=getattr(method, "most_forwards", None), reserve=reserve)
    cost = getattr(method, "lanes", 1)
    whole, state = problem, method.init(problem)
    open_, before, shared = problem.left >= cost, 0, getattr(method, "shared", False)
    if shared:
        before, problem, state, open_ = halfway.found(problem, state, open_, result)
    for number in range(before, method.steps):
        if not open_.any():
            break
        if not open_.all() and active_set:
            problem, state, open_ = problem.keep(open_), select(state, open_), open_[open_]
        state = method.step(problem, state)
        if method.stop == "first":
            for proposed, reached in problem.seen:
                near = problem.threat.distance(proposed, problem.originals) <= NEAR * problem.threat.eps
                _verify(problem, result, proposed, reached & near & ~result.success[problem.rows])
            open_ = open_ & ~result.success[problem.rows]
        elif method.stop == "minimum":
            _approach(problem, result, state.images, open_)
        else:
            _remember(problem, result)
        problem.seen.clear()
        over = open_ & (problem.left < cost)
        if hasattr(state, "done"):
            over |= open_ & state.done
        if method.stop != "minimum":
            _verify(problem, result, state.images, over)
        open_ = open_ & ~over
        watch(number + 1, state)
        if shared:
            halfway.keep(number + 1, problem, state, open_, result)
    if method.stop == "minimum":
        whole = replace(whole, reserve=0)
        nearest, everything = result.float_images[whole.rows], torch.ones_like(whole.rows, dtype=torch.bool)
        files = on_grid(whole, nearest, exchange=method.needs == "gradient")
        _verify(whole, result, files, everything, nearest)
        return
    if method.stop == "budget":
        kept = result.float_images[problem.rows].clone()
        had = _differs(kept, problem.originals)
    _verify(problem, result, state.images, open_ & ~result.success[problem.rows])
    if method.stop == "budget":  # what was adversarial on the way counts where the last image is not
        _verify(problem, result, kept, had & ~result.success[problem.rows], overwrite=False)


def _approach(problem: Problem, result: Result, proposed: Tensor, open_: Tensor) -> None:
    """Keep, before rounding, the nearest image of each that reaches the goal in the plain network.

    Where there is none yet, keep what the attack proposes. Only what is `open_` (n,) is looked at.
    A budget is not: it is the file that has to keep it.
    """
    for seen, reached in problem.seen:
        distance = problem.threat.distance(seen, problem.originals)
        nearer = open_ & reached & ~(distance >= result.distance_float[problem.rows])  # NaN: none yet
        if nearer.any():
            part, found = problem.keep(nearer), seen[nearer]
            reached = part.goal.reached(part.access.exact(found, part.rows), SLACK)
            result.float_images[part.rows[reached]] = found[reached]
            result.distance_float[part.rows[reached]] = distance[nearer][reached]
    none = open_ & result.distance_float[problem.rows].isnan()
    result.float_images[problem.rows[none]] = proposed[none]


def _remember(problem: Problem, result: Result) -> None:
    """Keep, unverified, the latest image of each that the quick network took for a success."""
    for proposed, reached in problem.seen:
        rows = problem.rows[reached]
        result.float_images[rows] = proposed[reached]


def _verify(
    problem: Problem,
    result: Result,
    proposed: Tensor,
    mask: Tensor,
    source: Tensor | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Decide success where `mask` (n,) is true and record it, with the image, in the result.

    With `overwrite`, the image is recorded as the best attempt even where it fails. `source` is
    what `proposed` was before it was brought to the grid, where that has been done already.
    """
    if not mask.any():
        return
    part = problem.keep(mask)
    before = (proposed if source is None else source)[mask]
    settled = part.threat.settle(proposed[mask], part.originals)
    logits = part.access.exact(settled, part.rows)
    success = part.goal.reached(logits, SLACK) & within(part.threat, settled, part.originals)
    if part.photographed is not None:
        success &= part.reached_photographed(settled, SLACK)
    written = torch.ones_like(success) if overwrite else success
    rows = part.rows[written]
    probability, prediction = logits.softmax(1).max(1)
    result.success[rows] = success[written]
    result.images[rows] = settled[written]
    result.float_images[rows] = before[written]
    result.predictions[rows] = prediction[written]
    result.confidence[rows] = probability[written]
    result.distance[rows] = exact_distance(part.threat, settled, part.originals)[written].to(settled.dtype)
    result.distance_float[rows] = part.threat.distance(before, part.originals)[written]


def _untried(access: Access, images: Tensor, goal: Goal, rows: Tensor) -> tuple[Result, Tensor]:
    """The result before the attack, with what there is to do; and the clean logits (N, K)."""
    if len(images):
        logits = access.exact(images, rows)
        _check_range(goal, logits.shape[1])
        probability, prediction = logits.softmax(1).max(1)
        attacked = ~goal.reached(logits)
        finite = torch.isfinite(logits).all(1)
        if goal.kind == "untargeted":
            attacked &= finite
    else:
        logits, prediction = images.new_empty(0, 0), goal.classes.new_empty(0)
        probability, attacked = images.new_empty(0), torch.empty(0, dtype=torch.bool, device=images.device)
    nothing = images.new_full((len(images),), torch.nan)
    return Result(
        originals=images,
        images=images.clone(),
        float_images=images.clone(),
        success=torch.zeros_like(attacked),
        attacked=attacked,
        clean_predictions=prediction,
        predictions=prediction.clone(),
        confidence=probability,
        distance=nothing,
        distance_float=nothing.clone(),
        forwards=rows,
        backwards=rows,
        found_by=torch.full_like(rows, -1),
    ), logits


@torch.no_grad()
def _logits(classifier: Classifier, images: Tensor) -> Tensor:
    return torch.cat([classifier(part) for part in images.split(MOST_IMAGES)])


def select(state: State, keep: Tensor) -> State:
    """The rows of a state where `keep` (n,) is true; what is no tensor stays."""
    assert is_dataclass(state) and not isinstance(state, type), "a state is a dataclass"
    tensors = {
        f.name: getattr(state, f.name)[keep]
        for f in fields(state)
        if isinstance(getattr(state, f.name), Tensor)
    }
    return replace(state, **tensors)


def _differs(images: Tensor, originals: Tensor) -> Tensor:
    return (images != originals).flatten(1).any(1)


def _batch_size(method: Attack, images: Tensor) -> int:
    """How many images fill a forward, with as many lanes as the attack has side by side."""
    if getattr(method, "shared", False):
        return max(1, len(images))
    lanes = max(getattr(member, "lanes", 1) for member in getattr(method, "members", (method,)))
    return max(1, min(MOST_IMAGES, VALUES_PER_FORWARD // max(1, images[:1].numel() * lanes)))


def check(method: Method, classifier: Classifier, eot: EOT | None = None) -> None:
    """Refuse, by an InputError, an attack that cannot be run on this classifier."""
    offered = {"gradient": 2, "scores": 1, "labels": 0}
    if offered[method.needs] > offered[classifier.access]:
        from ostrich.attacks import ATTACKS

        able = [name for name, a in ATTACKS.items() if offered[a.needs] <= offered[classifier.access]]
        raise InputError(
            f"{method.name} needs {method.needs.removesuffix('s')}s; {classifier.name} gives only "
            f"{classifier.access}. "
            f"Attacks that can do without: {', '.join(able)}."
        )
    for member in getattr(method, "members", (method,)):
        if hasattr(member, "check"):
            member.check(classifier)
    if eot is not None and (method.needs != "gradient" or method.stop == "minimum"):
        raise InputError(f"EOT averages gradients within a budget; {method.name} does not follow such.")


def _check_input(classifier: Classifier, images: Tensor, goal: Goal, precision: str) -> None:
    pictures.check(images)
    if precision not in ("fast", "exact"):
        raise InputError(f"Precision is fast or exact; got {precision!r}.")
    if len(goal.classes) != len(images):
        raise InputError(f"{len(images)} images, but the goal has {len(goal.classes)} classes.")
    if images.shape[1] != classifier.channels:
        raise InputError(f"{classifier.name} takes {classifier.channels} channels; got {images.shape[1]}.")


def _check_range(goal: Goal, num_classes: int) -> None:
    classes = goal.classes
    if len(classes) and not (int(classes.min()) >= 0 and int(classes.max()) < num_classes):
        raise InputError(
            f"The classifier has the classes 0 to {num_classes - 1}; the goal names "
            f"{int(classes.min())} to {int(classes.max())}."
        )
