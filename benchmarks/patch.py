"""A patch against ART's, and against random colours, for every class as the target.

Both fit on the same images without those of the target class, by as many gradients; a judge lays each patch
on the same other images, at new places. ART's patch adds up its gradient from step to step; here it is
cleared before each, without which it reaches less than half of that. It has a texel a pixel, or as many
texels as ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from ostrich.attacks.fitted.fitting import fit
from ostrich.attacks.physical.patch import FINER
from ostrich.attacks.physical.placement import drawn, homographies, placed
from ostrich.images import fingerprints
from ostrich.runtime.randomness import keyed

AREA, ROTATION, PASSES = 0.08, 22.5, 25
ASKED = 0.6  # of the placements


def rows(task: Problem) -> list[Row]:
    """Every target."""
    whole = Material.of(task)
    targets = {target: whole.without(target) for target in range(task.classifier.num_classes)}
    ours = AdversarialPatch(threat=Patch(AREA), epochs=PASSES, rotation=ROTATION, perspective=0.0)
    side = _side(whole.images)
    builders = {
        f"ART, gradient cleared, {texels} texels": (f"{ART}.evasion", partial(_by_art, targets, texels))
        for texels in (side, FINER * side)
    }
    others, missing = peers(builders)
    draw = torch.Generator().manual_seed(SEED)
    noise = torch.rand(len(targets), whole.images.shape[1], side, side, generator=draw)
    return [
        Row(
            name=f"Patch of {AREA:.0%} of the area",
            setting=f"{whole.task.name}, {len(whole.images)} fitting images and {len(whole.others)} others, "
            f"less those of the target's class; {PASSES} passes in batches of {ours.batch_size}, ART's of "
            f"{BATCH}; turned by up to {ROTATION:g} degrees; judged at one new place in each of the others, "
            f"for {len(targets)} targets",
            contestants={
                "ostrich (fast)": _each(targets, partial(_fitted, ours)),
                "ostrich, random colours": lambda: noise,
                **others,
            },
            judge=partial(_covered, targets),
            work=sum(len(one.images) for one in targets.values()),
            missing=missing,
        )
    ]


def _side(images: Tensor) -> int:
    """Texels along a patch of one texel a pixel."""
    return round((AREA * images[0, 0].numel()) ** 0.5)


def _covered(targets: Mapping[int, Material], patches: Tensor) -> dict[str, float]:
    """How often patches (K, C, s, s), placed at random in the others, bring them to their class."""
    parts = [_hits(whole, target, patch) for (target, whole), patch in zip(targets.items(), patches)]
    return {
        "held-out placements, mean": sum(parts) / len(parts),
        "best target": max(parts),
        "worst target": min(parts),
        f"targets above {ASKED:.0%}": sum(part > ASKED for part in parts),
    }


def _hits(whole: Material, target: int, patch: Tensor) -> float:
    size = (whole.others.shape[2], whole.others.shape[3])
    numbers = drawn([keyed(SEED, key) for key in fingerprints(whole.others)])
    matrices = homographies(numbers, size, AREA, ROTATION, 0.0)
    most = Patch(AREA).pixels(whole.others)
    files = placed(patch[None], torch.ones(1, *patch.shape[1:]), whole.others, matrices, most)
    hits = seen_by(whole.task.network, (files * 255).round() / 255) == target
    return hits.float().mean().item()


def _each(targets: Mapping[int, Material], one: Callable[[Material, int], Tensor]) -> Contestant:
    """Patches (K, C, s, s), one for each target."""
    return lambda: torch.stack([one(whole, target) for target, whole in targets.items()])


def _fitted(method: AdversarialPatch, whole: Material, target: int) -> Tensor:
    goal = Targeted(torch.full_like(whole.predictions, target))
    return fit(method, whole.task.classifier, whole.images, goal).tensors["patch"]


def _by_art(targets: Mapping[int, Material], side: int, library: ModuleType) -> Contestant:
    class Cleared(library.AdversarialPatchPyTorch):  # type: ignore[misc, name-defined]
        def _train_step(self, *given: Any, **named: Any) -> Any:
            self._patch.grad = None
            return super()._train_step(*given, **named)

    classifiers = {
        target: art_classifier(whole.task.own_copy(), whole.images) for target, whole in targets.items()
    }

    def one(whole: Material, target: int) -> Tensor:
        classifier = classifiers[target]
        classes = F.one_hot(torch.full_like(whole.predictions, target), classifier.nb_classes)
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
                optimizer="Adam",
                verbose=False,
            )
            patch, _ = attack.generate(whole.images.numpy(), classes.numpy().astype(np.float32))
        return torch.from_numpy(np.asarray(patch, dtype=np.float32))

    return _each(targets, one)
