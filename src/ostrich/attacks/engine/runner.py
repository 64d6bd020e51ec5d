"""The engine: runs input-specific attacks.

An attack is a state machine: `init(problem) -> state`, `step(problem, state) -> state`. Its state
is a dataclass of tensors with the image as first axis, among them `images`, what it proposes now.
The engine does the rest: images that are done leave the batch; every network output that an
attack sees is looked through for success; a success counts once it is verified, on the image
rounded to 8 bits, in the plain network, inside the budget; forwards and backwards are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.attacks.base import (
    ATTACKS,
    NEEDS,
    Attack,
    EndingState,
    InputSpecificAttack,
    State,
    check_class,
    select,
)
from ostrich.attacks.engine.grid_search import GRID_FORWARDS, on_grid
from ostrich.attacks.engine.problem import VALUES_PER_FORWARD, Access, Problem
from ostrich.attacks.engine.result import Joining, Result
from ostrich.attacks.engine.resuming import PartialBatch, attack_facts, batch, companion_facts, content_of
from ostrich.attacks.eot import EOT
from ostrich.attacks.goals import SLACK, Goal
from ostrich.attacks.threats import exact_distance
from ostrich.attacks.threats.base import keeps
from ostrich.data.dataset import Samples
from ostrich.data.sources import Given, Part
from ostrich.errors import ContractError, InputError
from ostrich.models.answers import answered, confidence, predictions
from ostrich.models.classifier import Classifier
from ostrich.models.untouched import untouched
from ostrich.runtime.events import detail
from ostrich.runtime.facts import digest
from ostrich.runtime.randomness import seed_of, seeded
from ostrich.runtime.resumable import Checkpoint, Computation, Content, Piece

Watch = Callable[[int, Any], None]  # called with the number of a step and the state after it
# Called with the rows of a finished batch, its result, and its images' fingerprints where `Write` wrote them.
Keep = Callable[[range, Result, list[int] | None], Result]
Asked = tuple[range, Part, Goal, Tensor | None]  # of a batch: its rows, images, goal and labels
Write = Callable[[Classifier, Goal, range, Result], bool]  # whether it wrote the files of a batch's images
KEYS = "keys"  # in a finished batch: the fingerprints of images that were written
MOST_IMAGES = 256  # in one batch
NEAR = 1.001  # of a budget: what lies farther out is not worth a verification


def unwatched(step: int, state: Any) -> None:
    """Nobody watches."""


def attack(
    method: InputSpecificAttack,
    classifier: Classifier,
    images: Tensor | Samples,
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
    watch: Watch = unwatched,
    keep: Keep = lambda rows, part, keys: part,
    write: Write | None = None,
) -> Result:
    """Attack `images` (N, C, H, W) in [0, 1] by `method`, towards `goal`, and return verified results.

    With `labels` (N,), images that the network gets wrong are left alone, whatever the goal. `precision`
    concerns gradients only: "fast" takes them in bf16 where the processor has it, "exact" in the network's
    own type. With `eot`, gradients are those of the mean over random views of an image. `starts` (P, C, H, W)
    are images, perhaps of other classes, from which an attack that sees no scores may set out. `shards` is a
    folder of this question alone, in which finished batches, and where an unfinished one stands, are kept and
    found again. `watch` is shown the state after every step. `keep` is given each finished batch, in order,
    and returns what of it stays in memory; samples are decoded batch by batch, by whoever computes a batch if
    it sees their files. `write` writes the images of a
    batch to files where it was computed, if these are seen from there, and can be pickled; then they come to
    `keep` no more, but their `fingerprints`. The executor around computes the batches, this process where
    somebody watches. All of it is brought to where the network is. `batch_size` is the most images together;
    None: as many as fit. `progress` is told how many are done, and of how many. `active_set=False` leaves
    finished images in the batch: the same results, slower. Raises InputError for images outside [0, 1],
    labels of another length or class, and a network without the access the attack needs, ContractError for a
    method that is none, OtherComputation where `shards` is of another question.
    """
    if not isinstance(method, InputSpecificAttack):
        raise ContractError(
            f"attack() runs an instance of an InputSpecificAttack; got {method!r}. What is fitted on some "
            "images and applied to others begins with fit_artefact."
        )
    first = classifier.beside(images[:1])
    _check_input(classifier, images, goal, precision)
    goal, labels = goal.to(first.device), None if labels is None else labels.to(first.device)
    check_attack(method, classifier, eot)
    classifier.examine()
    size = batch_size or max(_batch_size(member, first, len(images)) for member in method.members)
    detail(f"{method.name}: {size} images a batch at most, {precision} gradients, on {first.device}")
    identity, facts = "", {}
    if shards is not None:
        identity = digest(images) if isinstance(images, Tensor) else images.sha256
        facts = attack_facts(method, classifier, identity, goal, labels, seed, precision, eot, starts)
        facts |= companion_facts(method, classifier)
    with untouched(classifier.network), Computation(shards, facts) as kept:
        others = None
        if starts is not None:
            starts = starts.to(first.device)
            others = (starts, classifier.predict(starts, MOST_IMAGES))
        run = _Batch(
            *(method, classifier, seed, precision, eot, others),
            *(batch_size or max(1, len(images)), batch_size is None, active_set, watch, write),
        )
        places = torch.arange(len(images), device=first.device)
        source = images.source if isinstance(images, Samples) else Given(images)
        batches: dict[str, tuple[range, Goal, Tensor | None]] = {}
        pieces: list[Piece] = []
        for start in range(0, len(images), size) or (0,):
            rows = places[start : start + size]
            part = (goal.rows(rows), None if labels is None else labels[rows])
            pieces.append(batch(method.name, identity, start, *part))
            batches[pieces[-1].key] = (range(start, start + len(rows)), *part)

        def read(piece: Piece) -> Asked:
            rows, part, own = batches[piece.key]
            return rows, Part(source, rows), part, own

        def advance(done: int, total: int) -> None:
            progress(min(done * size, len(images)), len(images))

        joining = Joining(len(images))
        alone = watch is not unwatched
        found = kept.in_order(
            pieces, run, read, whole=_whole, here=alone, device=first.device, progress=advance
        )
        for _, (rows_, given, *_), content in found:
            keys = content.pop(KEYS, None)
            if keys is None:
                result = Result(**content, originals=classifier.beside(given.images()))
            else:
                result = Result(**content, originals=content["images"])  # neither is there
            joining.add(keep(rows_, result, None if keys is None else keys.tolist()))
            del given, content, result  # not to be held while the next batch is attacked
    return joining.whole()


def _whole(asked: Asked) -> Asked:
    """What a batch is computed from, for who does not see the files of its images."""
    rows, images, goal, labels = asked
    return rows, images.whole(), goal, labels


@dataclass(frozen=True)
class _Batch:
    """How each batch is attacked."""

    method: InputSpecificAttack
    classifier: Classifier
    seed: int
    precision: str
    eot: EOT | None
    starts: tuple[Tensor, Tensor] | None
    size: int
    fills: bool  # whether each member takes as many images at once as fill a forward
    active_set: bool
    watch: Watch
    write: Write | None

    def __call__(self, given: Asked, checkpoint: Checkpoint) -> Content:
        """The verified results of a batch: its rows, images, goal and labels."""
        rows, images, goal, labels = given
        shown = self.classifier.beside(images.images())
        own = seed_of(self.seed, *pictures.fingerprints(shown[:1]))
        with seeded(own, shown.device):  # what the network itself draws
            result = self.attack(shown, goal, labels, checkpoint)
        if self.write is None or not self.write(self.classifier, goal, rows, result):
            return content_of(result)
        keys = torch.tensor(pictures.fingerprints(result.images), dtype=torch.int64)
        return {**content_of(result.without_images()), KEYS: keys}

    def attack(self, images: Tensor, goal: Goal, labels: Tensor | None, checkpoint: Checkpoint) -> Result:
        """The verified results of a batch (n, C, H, W)."""
        method, count = self.method, len(images)
        zeros = torch.zeros(count, dtype=torch.int64, device=images.device)
        access = Access(self.classifier, self.precision, zeros.clone(), zeros.clone())
        everything = torch.arange(count, device=images.device)
        gradients = sum(one.steps for one in method.members) * (1 if self.eot is None else self.eot.samples)
        if gradients == 1 and method.needs != "gradient":
            gradients = 0  # it shows one image of each, and asks for nothing
        result, clean = _untried(access, images, goal, everything, gradients)
        if labels is not None:
            result.attacked &= result.clean_predictions == labels
        result.unattacked |= result.attacked
        keys = tuple(pictures.fingerprints(images))
        whole = Problem(
            *(access, images, method.aim(goal), method.threat, everything, keys, self.seed, clean),
            eot=self.eot,
            starts=self.starts,
            photographed=method.photographed if method.photographs else None,
        )
        problem = whole.keep(result.attacked)
        if len(problem.rows):
            access.prepare(problem.originals[:1], gradients)
            partial_batch = PartialBatch(checkpoint, problem, result)
            for number, member in enumerate(method.members):
                size = _batch_size(member, images, count) if self.fills else self.size
                access.begin(number)
                for part in partial_batch.turns(number, problem, size):
                    _steps(member, part, result, self.active_set, partial_batch, self.watch)
                    result.found_by[part.rows[result.success[part.rows]]] = number
        if whole.photographed is not None:
            broken = whole.keep(result.success)
            by_itself = broken.rows[broken.reached_photographed(broken.originals)]
            result.success[by_itself], result.found_by[by_itself] = False, -1
        result.forwards, result.backwards, result.checks = access.forwards, access.backwards, access.checks
        result.zero_gradient, result.flat_scores = access.zero_gradient, access.flat_scores
        result.worked = access.could_work
        return result


def _steps(
    method: InputSpecificAttack,
    problem: Problem,
    result: Result,
    active_set: bool,
    partial_batch: PartialBatch,
    watch: Watch,
) -> None:
    """Step until the attack's steps are spent, an image's queries are, or every image is done."""
    reserve = GRID_FORWARDS if method.stop == "minimum" else 0
    scores, gradient = method.needs == "scores", method.needs == "gradient"
    problem = replace(problem, queries=method.most_forwards, reserve=reserve)
    problem = replace(problem, by_scores=scores, by_gradient=gradient)
    cost = method.copies
    whole, state = problem, _checked(method, "init", method.init(problem))
    before, problem, state, open_ = partial_batch.resume(problem, state, problem.left >= cost)
    for number in range(before, method.steps):
        if not open_.any():
            break
        if not open_.all() and active_set:
            problem, state, open_ = problem.keep(open_), select(state, open_), open_[open_]
        state = _checked(method, "step", method.step(problem, state))
        begun = open_ if state.begun is None else open_ & state.begun
        result.unattacked[problem.rows[begun]] = False
        if method.stop == "first":
            for proposed, reached in problem.proposals.answers:
                fresh = reached & ~result.success[problem.rows]
                if fresh.any():
                    near = problem.threat.distance(proposed, problem.originals) <= NEAR * problem.threat.eps
                    _verify(problem, result, proposed, fresh & near)
            open_ = open_ & ~result.success[problem.rows]
        elif method.stop == "minimum":
            _approach(problem, result, state.images, open_)
        else:
            _remember(problem, result)
        problem.proposals.clear()
        over = open_ & (problem.left < cost)
        if isinstance(state, EndingState):
            over |= open_ & state.done
        if method.stop != "minimum":
            _verify(problem, result, state.images, over)
        open_ = open_ & ~over
        watch(number + 1, state)
        partial_batch.offer(number + 1, problem, state, open_)
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

    Where there is none yet, keep what the attack proposes. Only what is `open_` (n,) is looked at, nearest
    first, as long as an image's queries last. A budget is not: it is the file that has to keep it.
    """
    answers = problem.proposals.answers
    if answers:
        distance = torch.stack([problem.threat.distance(seen, problem.originals) for seen, _ in answers])
        reached = torch.stack([reached for _, reached in answers])  # (answers, n)
        least = result.distance_float[problem.rows].nan_to_num(torch.inf)  # NaN: none yet
        distance = distance.masked_fill(~(open_ & reached & (distance < least)), torch.inf)
    for _ in answers:
        least, index = distance.min(0)
        asked = (least < torch.inf) & problem.affords(2)  # one of them for the file
        if not asked.any():
            break
        part, places = problem.keep(asked), asked.nonzero()[:, 0]
        chosen = zip(places.tolist(), index[asked].tolist(), strict=True)
        found = torch.stack([answers[k][0][i] for i, k in chosen])
        holds, _, _ = part.access.judged(part.goal, found, part.rows, SLACK)
        result.float_images[part.rows[holds]] = found[holds]
        result.distance_float[part.rows[holds]] = least[asked][holds]
        distance[index[asked], places] = torch.inf
        distance[:, places[holds]] = torch.inf
    none = open_ & result.distance_float[problem.rows].isnan()
    result.float_images[problem.rows[none]] = proposed[none]


def _remember(problem: Problem, result: Result) -> None:
    """Keep, unverified, the latest image of each that the quick network took for a success."""
    for proposed, reached in problem.proposals.answers:
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
    what `proposed` was before it was brought to the grid, where that has been done already. An image whose
    queries are spent is not asked about again.
    """
    mask = mask & (problem.affords(1) | result.distance[problem.rows].isnan())
    if not mask.any():
        return
    part = problem.keep(mask)
    before = (proposed if source is None else source)[mask]
    quantized = part.threat.quantize(proposed[mask], part.originals)
    success, logits, share = part.access.judged(part.goal, quantized, part.rows, SLACK)
    if part.by_gradient and not part.access.classifier.hides_scores:
        changed = (quantized != part.originals).flatten(1).any(1)
        part.access.note_scores(part.goal.rows(changed), part.clean[changed], part.rows[changed])
        part.access.note_scores(part.goal.rows(changed), logits[changed], part.rows[changed])
    distance = exact_distance(part.threat, quantized, part.originals)
    success &= keeps(part.threat, distance)
    if part.photographed is not None:
        success &= part.reached_photographed(quantized, SLACK)
    written = torch.ones_like(success) if overwrite else success
    rows = part.rows[written]
    probability, prediction = confidence(logits), predictions(logits)
    result.success[rows] = success[written]
    result.images[rows] = quantized[written]
    result.float_images[rows] = before[written]
    result.predictions[rows] = prediction[written]
    result.confidence[rows] = probability[written]
    result.distance[rows] = distance[written].to(quantized.dtype)
    result.distance_float[rows] = part.threat.distance(before, part.originals)[written]
    result.fooled_draws[rows] = share[written].to(quantized.dtype)


def _untried(
    access: Access, images: Tensor, goal: Goal, rows: Tensor, gradients: int
) -> tuple[Result, Tensor]:
    """The result before an attack of so many gradients an image, what there is to do; clean logits (N, K)."""
    if len(images):
        logits = access.clean_logits(images, rows, gradients=gradients)
        _check_range(goal, logits.shape[1])
        probability, prediction = confidence(logits), predictions(logits)
        attacked = ~goal.reached(logits) & answered(logits)
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
        zero_gradient=torch.zeros_like(attacked),
        flat_scores=torch.zeros_like(attacked),
        worked=torch.zeros_like(attacked),
        unattacked=torch.zeros_like(attacked),
        fooled_draws=torch.zeros_like(nothing),
    ), logits


def _differs(images: Tensor, originals: Tensor) -> Tensor:
    return (images != originals).flatten(1).any(1)


def _batch_size(member: InputSpecificAttack, images: Tensor, count: int) -> int:
    """How many of `count` images fill a forward, with as many copies as the attack has side by side."""
    if member.shared:
        return max(1, count)
    return max(1, min(MOST_IMAGES, VALUES_PER_FORWARD // max(1, images[:1].numel() * member.copies)))


def check_attack(method: Attack, classifier: Classifier, eot: EOT | None = None) -> None:
    """Refuse, by an InputError, an attack that cannot be run on this classifier."""
    if not isinstance(method, Attack):
        raise ContractError(f"An attack derives from InputSpecificAttack or FittedAttack; got {method!r}.")
    check_class(type(method))
    offered = NEEDS[NEEDS.index(classifier.access) :]
    if method.needs not in offered:
        able = [name for name, kind in ATTACKS.items() if kind.needs in offered]
        raise InputError(
            f"{method.name} needs {method.needs.removesuffix('s')}s; {classifier.name} {classifier.lacks}. "
            f"Attacks that can do without: {', '.join(able)}."
        )
    for one in (method, *(method.members if isinstance(method, InputSpecificAttack) else ())):
        one.check_classifier(classifier)
    if eot is not None and (method.needs != "gradient" or method.stop == "minimum"):
        raise InputError(f"EOT averages gradients within a budget; {method.name} does not follow such.")


def _checked(method: InputSpecificAttack, hook: str, state: Any) -> State:
    """The state, refused by a ContractError where it is none."""
    if isinstance(state, State):
        return state
    raise ContractError(
        f"{type(method).__name__}.{hook} returns a {type(state).__name__}; an ostrich.attacks.State, "
        "a dataclass of tensors with the image as first axis, is expected."
    )


def _check_input(classifier: Classifier, images: Tensor | Samples, goal: Goal, precision: str) -> None:
    first = images[:1] if isinstance(images, Samples) else images  # samples of files have 8 bits a value
    pictures.check_images(first)
    if precision not in ("fast", "exact"):
        raise InputError(f"Precision is fast or exact; got {precision!r}.")
    if len(goal.classes) != len(images):
        raise InputError(f"{len(images)} images, but the goal has {len(goal.classes)} classes.")
    if first.shape[1] != classifier.channels:
        raise InputError(f"{classifier.name} takes {classifier.channels} channels; got {first.shape[1]}.")


def _check_range(goal: Goal, num_classes: int) -> None:
    classes = goal.classes
    if len(classes) and not (int(classes.min()) >= 0 and int(classes.max()) < num_classes):
        raise InputError(
            f"The classifier has the classes 0 to {num_classes - 1}; the goal names "
            f"{int(classes.min())} to {int(classes.max())}."
        )
