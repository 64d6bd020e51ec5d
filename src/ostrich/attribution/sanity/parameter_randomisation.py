"""Does a map change when the network's parameters are made random?

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, "Sanity checks for saliency maps", section 4: a
map that stays as it was when what was learned is gone does not explain what was learned.

    cascading     the layers are made random one after the other, from the output down
    independent   each layer alone, the others as learned

A layer's weights are drawn anew from a normal distribution of their own mean and standard deviation,
so that the size of what it computes is kept; normalisation goes with the layer before it, and its
running statistics stay. What a layer is, and which weights cannot be made random: `stages.py`. How many of
the top layers can go before the map changes is counted: guided backpropagation does not read the upper
layers, though it does read the lower ones (the authors' erratum), so one yes or no would mislead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ostrich.attribution.importance import importance
from ostrich.attribution.question import Explainer, explain
from ostrich.attribution.sanity.controls import Edges, Noise
from ostrich.attribution.sanity.similarity import Mean, spearman, structure
from ostrich.attribution.sanity.stages import NETWORK, randomised, stages_and_kept
from ostrich.data.matching import listed
from ostrich.inspection.units import Unit
from ostrich.models.classifier import Classifier
from ostrich.runtime.events import Progress, silent
from ostrich.runtime.resumable import Content, mapped

UNREAD = 0.9  # rank correlation, with and without sign, from which on a map counts as unchanged


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How alike maps are to the learned network's: rank correlation, without sign, and SSIM.

    Where it is undefined (a constant map ranks nothing) it counts as 0: not alike.
    """

    spearman: Mean
    spearman_abs: Mean
    ssim: Mean

    @property
    def unchanged(self) -> bool:
        """Whether the maps are what they were."""
        means = (self.spearman.mean, self.spearman_abs.mean)
        return all(mean is not None and mean >= UNREAD for mean in means)


@dataclass(frozen=True, kw_only=True)
class Randomisation:
    """The curves: `layers` from the output down; `cascading[i]` with layers 0 to i random.

    `rerun` is the same method on the same network again, `edges` and `noise` are the learned network's
    maps beside an edge detector's and random ones, `edges_at_random` those of the wholly random network
    beside the edge detector's. `kept` names the weights that could not be made random.
    """

    layers: tuple[str, ...]
    cascading: tuple[Likeness, ...]
    independent: tuple[Likeness, ...]
    rerun: Likeness
    edges: Likeness
    noise: Likeness
    edges_at_random: Likeness
    kept: tuple[str, ...] = ()

    @property
    def unread(self) -> int | None:
        """How many of the top layers could go without a change of the map; None where `rerun` is another
        one already.
        """
        if not self.rerun.unchanged:
            return None
        changed = [i for i, likeness in enumerate(self.cascading) if not likeness.unchanged]
        return changed[0] if changed else len(self.cascading)

    def sentence(self, name: str) -> str:
        """What the curves say of the method, in words."""
        count, total = self.unread, len(self.layers)
        if count is None:
            rho = self.rerun.spearman.mean
            return (
                f"{name}: asked again of the same network, the maps' rank correlation to what they were is "
                f"{rho:.2f} (0 where a map is the same everywhere, or not finite); whether they read it "
                "cannot be said."
            )
        rho = self.cascading[max(count, 1) - 1].spearman.mean
        of = " that could be made random" if self.kept else ""
        kept = f" Left as learned: {listed(self.kept)}." if self.kept else ""
        if count in (0, total):
            what = f"the top layer{of} ({self.layers[0]})" if count == 0 else f"all {total} layers{of}"
            if total == 1:  # it is no top of others
                hidden = self.layers[0] == NETWORK
                what = "all parameters" if hidden else f"the one layer{of} ({self.layers[0]})"
            if count == 0:
                verdict = "it reads the network" + (" from the top" if total > 1 and not kept else "")
            elif kept or self.layers[0] == NETWORK:
                verdict = "it does not read what was made random"
            else:
                verdict = "like an edge detector, it does not read the network"
            return (
                f"{name}: with {what} random, the maps' rank correlation to what they were is {rho:.2f}; "
                f"{verdict}.{kept}"
            )
        return (
            f"{name}: randomising the top {count} of {total} layers{of} left the maps at a rank correlation "
            f"of {rho:.2f}; it does not read them. The first that it reads is {self.layers[count]}.{kept}"
        )


def randomisation(
    method: Explainer,
    classifier: Classifier,
    images: Tensor,
    units: Sequence[Unit | str] | Sequence[Sequence[Unit | str]],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Randomisation:
    """The curves of a method for images (N, C, H, W) and units as `explain` takes them.

    Every figure is over all N * U maps. The network's parameters are the same tensors, with the same
    values, afterwards. Raises InputError for a network without parameters.
    """
    found_layers, kept = stages_and_kept(classifier)
    layers = found_layers[::-1]
    count = len(layers)

    def maps(of: Explainer = method, other: int = 0) -> Tensor:
        return explain(of, classifier, images, units, seed=seed + other).flatten(0, 1)

    def at_random(numbers: Sequence[int]) -> Content:
        with randomised(layers, numbers, seed):
            return {"maps": maps()}

    learned = maps()
    controls = {of: maps(of) for of in (Edges(), Noise())}
    edges, noise = controls.values()
    rerun = _alike(method, learned, maps(other=int(classifier.draws > 1)))  # other draws of random answers
    cascading, alone, last = list[Likeness](), list[Likeness](), learned
    asked: list[Sequence[int]] = [*(range(i + 1) for i in range(count)), *([i] for i in range(1, count))]
    for place, content in enumerate(mapped(at_random, asked, progress)):
        found = content["maps"].to(learned.device)
        (cascading if place < count else alone).append(_alike(method, learned, found))
        last = found if place < count else last
    alone.insert(0, cascading[0])
    return Randomisation(
        layers=tuple(layer.name for layer in layers),
        cascading=tuple(cascading),
        independent=tuple(alone),
        rerun=rerun,
        edges=_alike(method, learned, edges),
        noise=_alike(method, learned, noise),
        edges_at_random=_alike(method, last, edges),
        kept=kept[::-1],
    )


def _alike(method: Explainer, a: Tensor, b: Tensor) -> Likeness:
    """Of maps (R, C, H, W)."""
    found = (
        spearman(a, b),
        spearman(a.abs(), b.abs()),
        structure(importance(method, a), importance(method, b)),
    )
    signed, unsigned, similar = (Mean.of(one.nan_to_num(0.0)) for one in found)
    return Likeness(spearman=signed, spearman_abs=unsigned, ssim=similar)
