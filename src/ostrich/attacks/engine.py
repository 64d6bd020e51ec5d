"""The engine: runs input-specific attacks.

An attack is a state machine: `init(problem) -> state`, `step(problem, state) -> state`. Its state
is a dataclass of tensors with the image as first axis, among them `images`, what it proposes now.
The engine does the rest: images that are done leave the batch; every network output that an
attack sees is looked through for success; a success counts once it is verified, on the image
rounded to 8 bits, in the plain network, inside the budget; forwards and backwards are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.attacks.goals import SLACK, Confident, Goal
from ostrich.attacks.problem import Access, Problem
from ostrich.attacks.threats import Threat, within
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier, untouched

State = TypeVar("State")
VALUES_PER_BATCH = 256 * 3 * 64 * 64  # pixels times channels in one batch, about 1 GB of activations


class Attack(Protocol):
    """An algorithm for a goal under a threat model. A frozen dataclass; `steps` ends it."""

    name: ClassVar[str]
    needs: ClassVar[str]  # gradient, scores or labels
    norms: ClassVar[tuple[str, ...]]  # the threat models it knows
    threat: Threat
    stop: str  # first: an image is done once it is broken; budget: all steps are spent

    @property
    def steps(self) -> int: ...

    def init(self, problem: Problem) -> Any: ...

    def step(self, problem: Problem, state: Any) -> Any: ...


@dataclass
class Result:
    """What an attack did to N images.

    `images` are on the 8-bit grid: the adversarial image, the best attempt where there is none,
    the original where nothing was to be done. `float_images` are as the attack left them.
    `attacked` (N,) is false for images that had reached the goal, or were wrong, from the start.
    `distance` and `distance_float` (N,) are in the threat model's norm, `predictions` of `images`,
    `confidence` the softmax probability of that prediction.
    """

    originals: Tensor
    images: Tensor
    float_images: Tensor
    success: Tensor
    attacked: Tensor
    clean_predictions: Tensor
    predictions: Tensor
    confidence: Tensor
    distance: Tensor
    distance_float: Tensor
    forwards: Tensor
    backwards: Tensor
    checks: int = 0  # forwards of single images that belong to no image: proofs of the fast path


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
    with untouched(classifier):
        for start in range(0, len(images), size) or (0,):
            part = images[start : start + size]
            rows = torch.arange(len(images))[start : start + size].to(goal.classes.device)
            batch = (part, goal.rows(rows), None if labels is None else labels[rows])
            shard = _shard(shards, method, classifier, *batch[:2], seed, precision)
            if shard is not None and shard.exists():
                done.append(Result(**torch.load(shard, weights_only=True), originals=part))
            else:
                done.append(_run(method, classifier, *batch, seed, precision, active_set))
                _save(shard, done[-1])
            progress(min(start + size, len(images)), len(images))
    return _joined(done)


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
    state = method.init(problem)
    for _ in range(method.steps):
        state = method.step(problem, state)
        if method.stop == "first":
            for proposed, reached in problem.seen:
                _verify(problem, result, proposed, reached & ~result.success[problem.rows])
        else:
            _remember(problem, result)
        problem.seen.clear()
        open_ = ~result.success[problem.rows] if method.stop == "first" else None
        if open_ is not None and not open_.all() and active_set:
            problem, state = problem.keep(open_), select(state, open_)
        if len(problem.rows) == 0 or (open_ is not None and not open_.any()):
            return
    last = torch.ones_like(problem.rows, dtype=torch.bool)
    kept = result.float_images[problem.rows].clone()
    had = _differs(kept, problem.originals)
    _verify(problem, result, state.images, last & ~result.success[problem.rows])
    # What was adversarial on the way counts where the last image is not.
    _verify(problem, result, kept, had & ~result.success[problem.rows], overwrite=False)


def _remember(problem: Problem, result: Result) -> None:
    """Keep, unverified, the latest image of each that the quick network took for a success."""
    for proposed, reached in problem.seen:
        rows = problem.rows[reached]
        result.float_images[rows] = proposed[reached]


def _verify(
    problem: Problem, result: Result, proposed: Tensor, mask: Tensor, *, overwrite: bool = True
) -> None:
    """Decide success where `mask` (n,) is true and record it, with the image, in the result.

    With `overwrite`, the image is recorded as the best attempt even where it fails.
    """
    if not mask.any():
        return
    part = problem.keep(mask)
    settled = part.threat.settle(proposed[mask], part.originals)
    logits = part.access.exact(settled, part.rows)
    success = part.goal.reached(logits, SLACK) & within(part.threat, settled, part.originals)
    written = torch.ones_like(success) if overwrite else success
    rows = part.rows[written]
    probability, prediction = logits.softmax(1).max(1)
    result.success[rows] = success[written]
    result.images[rows] = settled[written]
    result.float_images[rows] = proposed[mask][written]
    result.predictions[rows] = prediction[written]
    result.confidence[rows] = probability[written]
    for field, what in (("distance", settled), ("distance_float", proposed[mask])):
        getattr(result, field)[rows] = part.threat.distance(what, part.originals)[written]


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
    return replace(state, **tensors)  # type: ignore[return-value]


def _differs(images: Tensor, originals: Tensor) -> Tensor:
    return (images != originals).flatten(1).any(1)


def _joined(results: list[Result]) -> Result:
    parts = {
        f.name: torch.cat([getattr(r, f.name) for r in results]) for f in fields(Result) if f.name != "checks"
    }
    return Result(**parts, checks=sum(r.checks for r in results))


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


def _shard(
    folder: Path | None,
    method: Attack,
    classifier: Classifier,
    images: Tensor,
    goal: Goal,
    seed: int,
    precision: str,
) -> Path | None:
    """The file of one batch, named by everything that determines it except the weights."""
    if folder is None:
        return None
    confidence = goal.confidence if isinstance(goal, Confident) else ""
    asked = (repr(method), classifier.name, goal.kind, confidence, goal.classes.tolist(), seed, precision)
    digest = hashlib.sha256(repr((asked, pictures.fingerprints(images))).encode()).hexdigest()
    return folder / f"{method.name}-{digest[:16]}.pt"


def _save(shard: Path | None, result: Result) -> None:
    if shard is None:
        return
    shard.parent.mkdir(parents=True, exist_ok=True)
    partial = shard.with_suffix(".partial")
    content = {f.name: getattr(result, f.name) for f in fields(Result) if f.name != "originals"}
    torch.save(content, partial)
    partial.replace(shard)
