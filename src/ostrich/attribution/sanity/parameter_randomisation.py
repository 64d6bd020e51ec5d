"""Does a map change when the network's parameters are made random?

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, "Sanity checks for saliency maps", section 4: a
map that stays as it was when what was learned is gone does not explain what was learned.

    cascading     the layers are made random one after the other, from the output down
    independent   each layer alone, the others as learned

A layer's weights are drawn anew from a normal distribution of their own mean and standard deviation,
so that the size of what it computes is kept; normalisation goes with the layer before it, and its
running statistics stay. How many of the top layers can go before the map changes is counted: guided
backpropagation does not read the upper layers, though it does read the lower ones (the authors'
erratum), so one yes or no would mislead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ostrich.attribution.importance import importance
from ostrich.attribution.question import Explainer, explain
from ostrich.attribution.sanity.controls import Edges, Noise
from ostrich.attribution.sanity.similarity import Mean, spearman, structure
from ostrich.errors import InputError
from ostrich.inspection.units import Unit
from ostrich.inspection.watching import module_of
from ostrich.models.classifier import Classifier
from ostrich.runtime.events import Progress, silent
from ostrich.runtime.randomness import keyed
from ostrich.runtime.resumable import Content, mapped

UNREAD = 0.9  # rank correlation, with and without sign, from which on a map counts as unchanged
PURPOSE = 0x5241  # of random numbers


@dataclass(frozen=True)
class Stage:
    """A layer with what belongs to it: its `name` and parameters."""

    name: str
    parameters: tuple[nn.Parameter, ...]


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
    beside the edge detector's.
    """

    layers: tuple[str, ...]
    cascading: tuple[Likeness, ...]
    independent: tuple[Likeness, ...]
    rerun: Likeness
    edges: Likeness
    noise: Likeness
    edges_at_random: Likeness

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
        if count == 0:
            rho = self.cascading[0].spearman.mean
            return (
                f"{name}: with the top layer ({self.layers[0]}) random, the maps' rank correlation to what "
                f"they were is {rho:.2f}; it reads the network from the top."
            )
        rho = self.cascading[count - 1].spearman.mean
        if count == total:
            return (
                f"{name}: with all {total} layers random, the maps' rank correlation to what they were is "
                f"{rho:.2f}; like an edge detector, it does not read the network."
            )
        return (
            f"{name}: randomising the top {count} of {total} layers left the maps at a rank correlation of "
            f"{rho:.2f}; it does not read them. The first that it reads is {self.layers[count]}."
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
    layers = stages(classifier)[::-1]
    count = len(layers)

    def maps(of: Explainer = method) -> Tensor:
        return explain(of, classifier, images, units, seed=seed).flatten(0, 1)

    def at_random(numbers: Sequence[int]) -> Content:
        with randomised(layers, numbers, seed):
            return {"maps": maps()}

    learned = maps()
    controls = {of: maps(of) for of in (Edges(), Noise())}
    edges, noise = controls.values()
    rerun = _alike(method, learned, maps())
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
    )


def stages(classifier: Classifier) -> list[Stage]:
    """The layers with weights, in the order in which a forward first calls them.

    What is no matrix (a normalisation's scale) belongs to the layer before it, and parameters of a
    module that is never called itself to the module around it.
    """
    network = module_of(classifier)
    called: list[str] = []
    own = {name: m for name, m in network.named_modules() if any(True for _ in m.parameters(recurse=False))}
    handles = [
        module.register_forward_pre_hook(lambda *_about, name=name: called.append(name))
        for name, module in network.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        classifier.probe()
    finally:
        for handle in handles:
            handle.remove()
    order = list(dict.fromkeys(called))
    gathered: dict[str, list[nn.Parameter]] = {name: [] for name in order}
    seen: set[int] = set()
    for name, module in own.items():
        around = name
        while around and around not in gathered:
            around = around.rpartition(".")[0]
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen and parameter.is_floating_point():
                seen.add(id(parameter))
                gathered.setdefault(around, []).append(parameter)
    found = _joined(
        [(name or "(network)", parameters) for name, parameters in gathered.items() if parameters]
    )
    if not found:
        raise InputError(f"{classifier.name} has no parameters that could be made random.")
    return found


def _joined(layers: list[tuple[str, list[nn.Parameter]]]) -> list[Stage]:
    """Layers in order; those without a matrix with the one before, or the first one after."""
    found: list[tuple[str, list[nn.Parameter]]] = []
    waiting: list[nn.Parameter] = []
    for name, parameters in layers:
        if any(p.ndim > 1 for p in parameters):
            found.append((name, [*parameters, *waiting]))
            waiting = []
        elif found:
            found[-1][1].extend(parameters)
        else:
            waiting += parameters
    return [Stage(name, tuple(parameters)) for name, parameters in found]


@contextmanager
def randomised(layers: Sequence[Stage], numbers: Sequence[int], seed: int) -> Iterator[None]:
    """The numbered layers with random parameters; a layer's are the same whichever others are."""
    kept: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for number in numbers:
            for turn, parameter in enumerate(layers[number].parameters):
                kept.append((parameter, parameter.data))
                parameter.data = _drawn(parameter.data, keyed(seed, PURPOSE, number, turn))
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data


def _drawn(values: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers with the mean and the standard deviation of the values; one alone is kept."""
    if values.numel() < 2:
        return values.clone()
    noise = torch.randn(values.shape, generator=generator).to(values)
    return values.mean() + values.std() * noise


def _alike(method: Explainer, a: Tensor, b: Tensor) -> Likeness:
    """Of maps (R, C, H, W)."""
    found = (
        spearman(a, b),
        spearman(a.abs(), b.abs()),
        structure(importance(method, a), importance(method, b)),
    )
    signed, unsigned, similar = (Mean.of(one.nan_to_num(0.0)) for one in found)
    return Likeness(spearman=signed, spearman_abs=unsigned, ssim=similar)
