"""Fitted on a part of some images, to be judged on the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ostrich.attacks import targets
from ostrich.attacks.base import FittedAttack
from ostrich.attacks.fitted.artefact import FILE, Artefact, fit_artefact, judge, load_artefact
from ostrich.data.dataset import Samples
from ostrich.data.split import hold_out
from ostrich.errors import InputError
from ostrich.models.answers import NO_ANSWER, answered
from ostrich.models.classifier import Classifier
from ostrich.runtime import events
from ostrich.runtime.randomness import keyed

TARGET = 33  # the purpose of the random number of a random target


@dataclass(frozen=True, eq=False, repr=False)
class CleanImages:
    """Samples with their images (n, C, H, W), and labels and clean predictions (n,)."""

    samples: Samples
    images: Tensor
    labels: Tensor
    predictions: Tensor

    def take(self, rows: Sequence[int]) -> CleanImages:
        tensors = (self.images, self.labels, self.predictions)
        return CleanImages(self.samples.take(rows), *(tensor[rows] for tensor in tensors))


def evaluate_clean(method: FittedAttack, classifier: Classifier, samples: Samples) -> CleanImages:
    """All of the images, as the network sees them.

    The label of an object whose name says none is the one asked for, else what most views are seen as.
    """
    images = samples.images().to(classifier.device)
    if method.label is not None:
        index = classifier.class_index(method.label)
        samples = replace(samples, labels=torch.full((len(samples),), index))
    labels, predictions = targets.labels(classifier, images, samples.labels)
    seen = predictions[predictions != NO_ANSWER]
    if samples.labels is None and samples.views is not None and len(seen):
        labels = torch.full_like(labels, int(seen.mode().values))
    return CleanImages(samples, images, labels, predictions)


def hold_out_split(
    keys: Sequence[int],
    fit: int | None,
    labels: Tensor | None,
    seed: int,
    *,
    what: str = "images",
    otherwise: str = "or a larger --limit, or a smaller fit",
) -> tuple[list[int], list[int]]:
    """The rows of a seeded part to fit on, and of the rest, class-balanced where there are `labels` (N,).

    Images of the same key stand together, in the rest. `fit` None is half of them. Raises InputError where
    either part would be empty, in the words of `what` they are and what may be done `otherwise`.
    """
    count = len(keys)
    wanted = count // 2 if fit is None else fit
    if not 0 < wanted < count:
        raise InputError(
            f"{count} {what}, and {wanted or 'half of them'} to fit on: none would be left to "
            f"{'judge on' if wanted else 'fit on'}. Give more {what}, {otherwise}."
        )
    split = hold_out(keys, count - wanted, None if labels is None else labels.tolist(), seed=seed)
    if not split[0]:
        raise InputError(
            f"{count} {what}, but only {len(set(keys))} of them different: none would be left to fit on. "
            f"Give more {what}, {otherwise}."
        )
    return split


def fit_part(
    method: FittedAttack,
    classifier: Classifier,
    images: Tensor,
    predictions: Tensor,
    split: tuple[Sequence[int], Sequence[int]],
    *,
    keys: Sequence[int],
    target: int | None = None,
    seed: int = 0,
    precision: str = "fast",
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Artefact, list[int], list[int]]:
    """Fit on the first part of a split of images (N, C, H, W) with clean predictions (N,).

    Returns the artefact, the rows it was fitted on (those of the `target` class and those without an answer
    are left out), and the rows it may be judged on: the second part, less what it has seen. `keys` tell
    images that were fitted on.
    """
    chosen, rest = split
    chosen = [row for row in chosen if int(predictions[row]) != NO_ANSWER]
    named = None
    if target is not None:
        named = (target, classifier.class_name(target))
        chosen = [row for row in chosen if int(predictions[row]) != target]
    rows = torch.tensor(chosen, dtype=torch.int64, device=images.device)
    artefact = fit_artefact(
        method,
        classifier,
        images[rows],
        predictions[rows],
        seen=[keys[row] for row in chosen],
        target=named,
        seed=seed,
        precision=precision,
        checkpoint=checkpoint,
        progress=progress,
    )
    unseen = artefact.unseen([keys[row] for row in rest]).tolist()
    return artefact, chosen, [row for row, new in zip(rest, unseen, strict=True) if new]


def fit_held_out(
    folder: Path,
    method: FittedAttack,
    classifier: Classifier,
    clean: CleanImages,
    keys: Sequence[int],
    *,
    target: str | None,
    seed: int,
    precision: str,
) -> tuple[Artefact, list[int]]:
    """The artefact fitted on a part of the images, and the rows of the rest, on which it may be judged.

    Its file lies in `folder`, and so does where an unfinished fitting stands; both are found again. Its facts
    say what it does to the images it was fitted on. `keys` tell images that were fitted on, `target` is as
    in `choose_target`.
    """
    file, checkpoint = folder / FILE, folder / "fitting.pt"
    split = hold_out_split(clean.samples.keys, method.fit, clean.samples.labels, seed)
    if file.exists():  # of this very run, which was cut off afterwards
        kept = load_artefact(file, type(method))
        return kept, [row for row in split[1] if kept.unseen([keys[row]]).item()]
    part = clean.take(split[0])
    with events.progress(f"{method.name} on {len(split[0])} images", method.epochs, "epochs") as advance:
        artefact, chosen, rest = fit_part(
            method.bind_views(part.samples.views),
            classifier,
            clean.images,
            clean.predictions,
            split,
            keys=keys,
            target=None if target is None else choose_target(part, classifier, target, seed),
            seed=seed,
            precision=precision,
            checkpoint=checkpoint,
            progress=advance,
        )
    part = clean.take(chosen)
    artefact = replace(artefact, method=method.bind_views(part.samples.views))
    judgement = judge(artefact, classifier, part.images, part.labels, seed)
    facts = {"model": classifier.name, "data": part.samples.name, "n": len(chosen), **artefact.facts}
    if part.samples.views is not None:
        facts["mesh"] = part.samples.views.mesh.digest
    facts |= {"success_rate": judgement.success_rate, "fooling_rate": judgement.fooling_rate}
    artefact = replace(artefact, facts=facts)
    artefact.save(file)
    checkpoint.unlink(missing_ok=True)
    return artefact, rest


def choose_target(part: CleanImages, classifier: Classifier, target: str, seed: int) -> int:
    """The one class for all: by name; of an object also a random one, or the least likely one.

    A class that any view finds switched off is none of the latter two.
    """
    if target not in ("least-likely", "random"):
        return classifier.class_index(target)
    logits = classifier.predict(part.images)
    off = targets.off_anywhere(logits)
    if target == "random":
        step = torch.randint(1, classifier.num_classes, (1,), generator=keyed(seed, TARGET))
        return int(targets.another(part.labels[:1], off, [int(step) - 1]))
    mean = logits[answered(logits)].softmax(1).mean(0, keepdim=True)
    return int(mean.masked_fill(~targets.possible(off), torch.inf).argmin())
