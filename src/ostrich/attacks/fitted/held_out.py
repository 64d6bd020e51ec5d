"""Fitted on a part of some images, to be judged on the rest: one way for command and crash test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ostrich.attacks.base import FittedAttack
from ostrich.attacks.fitted.artefact import Artefact, fit_artefact
from ostrich.data.dataset import subset
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier


def hold_out_split(
    count: int, fit: int | None, labels: Tensor | None, seed: int
) -> tuple[list[int], list[int]]:
    """The rows of a seeded part to fit on, and of the rest, class-balanced where there are `labels` (N,).

    `fit` None is half of them. Raises InputError where either part would be empty.
    """
    wanted = count // 2 if fit is None else fit
    if not 0 < wanted < count:
        raise InputError(
            f"{count} images, and {wanted or 'half of them'} to fit on: none would be left to "
            f"{'judge on' if wanted else 'fit on'}. Give more images, or a larger --limit, or a smaller fit."
        )
    # Held out is what `subset` takes first: what a smaller --limit chooses of the same data lies in it.
    rest = subset(None if labels is None else labels.tolist(), count, count - wanted, seed)
    return sorted(set(range(count)) - set(rest)), rest


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

    Returns the artefact, the rows it was fitted on (those of the `target` class are left out), and the rows
    it may be judged on: the second part, less what it has seen. `keys` tell images that were fitted on.
    """
    chosen, rest = split
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
    return artefact, list(chosen), [row for row, new in zip(rest, unseen, strict=True) if new]
