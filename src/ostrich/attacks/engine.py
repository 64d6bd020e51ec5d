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
from ostrich.attacks.lattice import on_grid
from ostrich.attacks.problem import Access, Problem
from ostrich.attacks.result import Result, joined, save, shard_file
from ostrich.attacks.threats import Threat, exact_distance, within
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.networks import untouched

State = TypeVar("State")
VALUES_PER_BATCH = 256 * 3 * 64 * 64  # pixels times channels in one batch, about 1 GB of activations


class Attack(Protocol):
    """An algorithm for a goal under a threat model. A frozen dataclass; `steps` ends it."""

    name: ClassVar[str]
    needs: ClassVar[str]  # gradient, scores or labels
    norms: ClassVar[tuple[str, ...]]  # the threat models it knows

    @property
    def threat(self) -> Threat: ...

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
    batch_size: int | None = None,
    shards: Path | None = None,
    active_set: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Attack `images` (N, C, H, W) in [0, 1] and return verified results.

    With `labels` (N,), images that the network gets wrong are left alone, whatever the goal.
    `precision` concerns gradients only: "fast" takes them in bf16 where the processor has it,
    "exact" in the network's own type. `shards` is a folder in which finished batches are kept and
    found again. `active_set=False` leaves finished images in the batch: the same results, slower.
    Raises InputError for images outside [0, 1], labels of another length or class, and a network
    without the access the attack needs.
    """
    _check(method, classifier, images, goal, precision)
    size = batch_size or max(1, min(256, VALUES_PER_BATCH // max(1, images[:1].numel())))
    done: list[Result] = []
    with untouched(classifier.network):
        for start in range(0, len(images), size) or (0,):
            part = images[start : start + size]
            rows = torch.arange(len(images))[start : start + size].to(goal.classes.device)
            batch = (part, goal.rows(rows), None if labels is None else labels[rows])
            shard = shard_file(shards, method.name, repr(method), classifier, *batch[:2], seed, precision)
            if shard is not None and shard.exists():
                done.append(Result(**torch.load(shard, weights_only=True), originals=part))
            else:
                done.append(_run(method, classifier, *batch, seed, precision, active_set))
                save(shard, done[-1])
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
    active_set: bool,
) -> Result:
    """One batch."""
    count = len(images)
    zeros = torch.zeros(count, dtype=torch.int64, device=images.device)
    access = Access(classifier, precision, zeros.clone(), zeros.clone())
    everything = torch.arange(count, device=images.device)
    result = _untried(access, images, goal, everything)
    if labels is not None:
        result.attacked &= result.clean_predictions == labels
    keys = tuple(pictures.fingerprints(images))
    problem = Problem(access, images, goal, method.threat, everything, keys, seed).keep(result.attacked)
    if len(problem.rows):
        access.prepare(problem.originals[:1])
        _steps(method, problem, result, active_set)
    result.forwards, result.backwards, result.checks = access.forwards, access.backwards, access.checks
    return result


def _steps(method: Attack, problem: Problem, result: Result, active_set: bool) -> None:
    """Step until the attack's steps are spent or every image is done."""
    whole, state = problem, method.init(problem)
    open_ = torch.ones_like(problem.rows, dtype=torch.bool)
    for _ in range(method.steps):
        state = method.step(problem, state)
        if method.stop == "first":
            for proposed, reached in problem.seen:
                _verify(problem, result, proposed, reached & ~result.success[problem.rows])
            open_ = ~result.success[problem.rows]
        elif method.stop == "minimum":
            _approach(problem, result, state.images, open_)
            open_ = ~state.done
        else:
            _remember(problem, result)
        problem.seen.clear()
        if not open_.all() and active_set:
            problem, state, open_ = problem.keep(open_), select(state, open_), open_[open_]
        if not open_.any():
            break
    if method.stop == "minimum":
        nearest = result.float_images[whole.rows]
        _verify(
            whole, result, on_grid(whole, nearest), torch.ones_like(whole.rows, dtype=torch.bool), nearest
        )
        return
    last = ~result.success[problem.rows]
    kept = result.float_images[problem.rows].clone()
    had = _differs(kept, problem.originals)
    _verify(problem, result, state.images, last)
    # What was adversarial on the way counts where the last image is not.
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


def _untried(access: Access, images: Tensor, goal: Goal, rows: Tensor) -> Result:
    """The result before the attack: clean predictions, and what there is to do."""
    if len(images):
        logits = access.exact(images, rows)
        _check_range(goal, logits.shape[1])
        probability, prediction = logits.softmax(1).max(1)
        attacked = ~goal.reached(logits)
        finite = torch.isfinite(logits).all(1)
        if goal.kind == "untargeted":
            attacked &= finite
    else:
        prediction = goal.classes.new_empty(0)
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
    )


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


def _check(method: Attack, classifier: Classifier, images: Tensor, goal: Goal, precision: str) -> None:
    pictures.check(images)
    if precision not in ("fast", "exact"):
        raise InputError(f"Precision is fast or exact; got {precision!r}.")
    if len(goal.classes) != len(images):
        raise InputError(f"{len(images)} images, but the goal has {len(goal.classes)} classes.")
    if images.shape[1] != classifier.channels:
        raise InputError(f"{classifier.name} takes {classifier.channels} channels; got {images.shape[1]}.")
    offered = {"gradient": 2, "scores": 1, "labels": 0}
    if offered[method.needs] > offered[classifier.access]:
        raise InputError(
            f"{method.name} needs {method.needs}s; {classifier.name} gives only {classifier.access}. "
            "`ostrich list attacks` tells what each attack needs."
        )


def _check_range(goal: Goal, num_classes: int) -> None:
    classes = goal.classes
    if len(classes) and not (int(classes.min()) >= 0 and int(classes.max()) < num_classes):
        raise InputError(
            f"The classifier has the classes 0 to {num_classes - 1}; the goal names "
            f"{int(classes.min())} to {int(classes.max())}."
        )
