"""Of the study `breaking`: what is fitted on all images but a fold, and judged on that fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ostrich.attacks.base import FittedAttack
from ostrich.attacks.fitted import evidence as fitted_evidence
from ostrich.attacks.fitted.artefact import judge
from ostrich.attacks.fitted.held_out import CleanImages, fit_part
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models import Classifier
from ostrich.runtime.randomness import keyed
from ostrich.studies.breaking_images import Opened
from ostrich.studies.networks import named
from ostrich.studies.schema import Row

FOLD = 52  # purpose of random numbers
FOLDS = 3


def folds(own: Opened, seed: int) -> tuple[list[int], list[int]]:
    """All images but those of a fold, and the fold: other ones for each of three seeds."""
    count = len(own.samples)
    if count < 2 * FOLDS:
        raise InputError(f"A fitted attack is judged on a third of the images; {count} are too few.")
    order = torch.randperm(count, generator=keyed(0, FOLD)).tolist()
    aside = set(order[seed % FOLDS :: FOLDS])
    return [i for i in range(count) if i not in aside], sorted(aside)


def fitted(
    own: Opened, method: FittedAttack, target: int | None, also: Sequence[str], seed: int, folder: Path
) -> list[Row]:
    """A row for each image held out: whether its prediction changed, and whether it fell, if it was right."""
    classifier, samples = own.classifier, own.samples
    images = samples.images().to(classifier.device)
    checkpoint = folder / "fitting.checkpoint.pt"
    artefact, chosen, rest = fit_part(
        method,
        classifier,
        images,
        own.predictions,
        folds(own, seed),
        keys=fingerprints(images),
        target=target,
        seed=seed,
        checkpoint=checkpoint,
    )
    checkpoint.unlink(missing_ok=True)
    held_out = CleanImages(samples, images, own.labels, own.predictions).take(rest)
    judged = judge(artefact, classifier, held_out.images, held_out.labels, seed)
    fitted_evidence.write(folder / "files", artefact, classifier, held_out, judged)
    result = judged.result
    rows = [own.about(fitted=len(chosen))]
    for i, index in enumerate(held_out.samples.index):
        before, after = int(result.clean_predictions[i]), int(result.predictions[i])
        known = target is None or before != target
        tried = bool(result.attacked[i])
        rows.append(
            {
                "kind": "image",
                "image": index,
                "changed": before != after if known else None,
                "broken": bool(result.success[i]) if tried else None,
            }
        )
    rows.append({"kind": "chance", "rate": judged.random_baseline or 0.0, "of": int(result.attacked.sum())})
    for words in also:
        other = other_network(words, classifier)
        found = judge(artefact, other, held_out.images, held_out.labels, seed).result
        changed = (found.predictions != found.clean_predictions).tolist()
        rows += [{"kind": "transfer", "network": other.name, "changed": one} for one in changed]
    return rows


def other_network(words: str, beside: Classifier) -> Classifier:
    """MODEL, or MODEL@FILE with its weights, which takes images of the same size. Raises InputError."""
    other = named(words, str(beside.device))
    if other.size != beside.size or other.channels != beside.channels:
        raise InputError(f"{words} takes images of another size than {beside.name}.")
    return other
