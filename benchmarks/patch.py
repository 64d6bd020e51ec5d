"""A patch against ART's, and against random colours.

Both fit on the same images without those of the target class, by as many gradients; a judge lays each patch
on the same other images, at new places. ART's patch adds up its gradient from step to step; here it is
cleared before each, without which it reaches less than half of that.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.problem import SEED, Contestant, Problem, Row, peers
from benchmarks.universal import ART, BATCH, Material, art_classifier, seen_by
from ostrich.attacks import AdversarialPatch, Patch, Targeted
from ostrich.attacks.physical.placement import drawn, homographies, placed
from ostrich.attacks.universal.fitting import fit
from ostrich.images import fingerprints
from ostrich.randomness import keyed

TARGET, AREA, ROTATION, PASSES = 5, 0.08, 22.5, 25


def rows(task: Problem) -> list[Row]:
    """One target."""
    whole = Material.of(task).without(TARGET)
    ours = AdversarialPatch(threat=Patch(AREA), epochs=PASSES, rotation=ROTATION, perspective=0.0)
    builders = {
        f"ART ({optimiser}), gradient cleared": (f"{ART}.evasion", partial(_art_patch, whole, optimiser))
        for optimiser in ("Adam", "pgd")
    }
    others, missing = peers(builders)
    side = _side(whole.images)
    noise = torch.rand(whole.images.shape[1], side, side, generator=torch.Generator().manual_seed(SEED))
    return [
        Row(
            name=f"Patch of {AREA:.0%} of the area",
            setting=f"{whole.task.name}, {len(whole.images)} fitting images, class {TARGET} left out, "
            f"{PASSES} passes in batches of {ours.batch_size}, ART's of {BATCH}, "
            f"turned by up to {ROTATION:g} degrees; judged on "
            f"{len(whole.others)} others, one new place each",
            contestants={
                "ostrich (fast)": _fitted(whole, ours, "fast"),
                "ostrich (exact)": _fitted(whole, ours, "exact"),
                "ostrich, random colours": lambda: noise,
                **others,
            },
            judge=partial(_covered, whole),
            work=len(whole.images),
            missing=missing,
        )
    ]


def _side(images: Tensor) -> int:
    """Texels along a patch of one texel a pixel."""
    return round((AREA * images[0, 0].numel()) ** 0.5)


def _covered(whole: Material, patch: Tensor) -> dict[str, float]:
    """How often a patch (C, s, s), placed at random in the others, brings them to its class."""
    size = (whole.others.shape[2], whole.others.shape[3])
    numbers = drawn([keyed(SEED, key) for key in fingerprints(whole.others)])
    matrices = homographies(numbers, size, AREA, ROTATION, 0.0)
    most = Patch(AREA).pixels(whole.others)
    files = placed(patch[None], torch.ones(1, *patch.shape[1:]), whole.others, matrices, most)
    hits = seen_by(whole.task.network, (files * 255).round() / 255) == TARGET
    return {"held-out placements": hits.float().mean().item()}


def _fitted(whole: Material, method: AdversarialPatch, precision: str) -> Contestant:
    def run() -> Tensor:
        goal = Targeted(torch.full_like(whole.predictions, TARGET))
        return fit(method, whole.task.classifier, whole.images, goal, precision=precision).tensors["patch"]

    return run


def _art_patch(whole: Material, optimiser: str, library: ModuleType) -> Contestant:
    class Cleared(library.AdversarialPatchPyTorch):  # type: ignore[misc, name-defined]
        def _train_step(self, *given: Any, **named: Any) -> Any:
            self._patch.grad = None
            return super()._train_step(*given, **named)

    side = _side(whole.images)
    classifier = art_classifier(whole.task.own_copy(), whole.images)
    targets = F.one_hot(torch.full_like(whole.predictions, TARGET), 10).numpy().astype(np.float32)

    def run() -> Tensor:
        np.random.seed(SEED)  # noqa: NPY002 - theirs is the global one
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            attack = Cleared(
                classifier,
                rotation_max=ROTATION,
                scale_min=AREA**0.5 * 0.999,
                scale_max=AREA**0.5,
                learning_rate=0.05,
                max_iter=PASSES,
                batch_size=BATCH,
                patch_shape=(whole.images.shape[1], side, side),
                patch_type="square",
                optimizer=optimiser,
                verbose=False,
            )
            patch, _ = attack.generate(whole.images.numpy(), targets)
        return torch.from_numpy(np.asarray(patch, dtype=np.float32))

    return run
