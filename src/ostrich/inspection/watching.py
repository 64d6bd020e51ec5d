"""One forward, watched: what layers return on the way, without changing anything.

A hook that replaces what a layer returns changes what later in-place operations reach. Here hooks
only copy; gradients with respect to a layer's output are taken at its place in the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.hooks import RemovableHandle

from ostrich.errors import InputError, UnknownName
from ostrich.inspection.layouts import Axes, is_known
from ostrich.models.batches import filled
from ostrich.models.returned import Reached
from ostrich.models.untouched import is_scripted

if TYPE_CHECKING:  # a room above: this only takes classifiers
    from ostrich.models.classifier import Classifier


@dataclass(frozen=True)
class Seen:
    """What one forward showed.

    `outputs` are copies (N, C, ...) of what the layers returned when first called; `edges` the places
    of those outputs in the graph, as `torch.autograd.grad` takes them, where there is a graph; `axes` what
    `layouts.Axes` says of them; `images` the shape (N, C, H, W) of what the network saw; `logits` (N, K)
    where the forward ran to its end.
    """

    outputs: dict[str, Tensor]
    edges: dict[str, GradientEdge]
    axes: dict[str, int | None]
    images: tuple[int, ...]
    logits: Tensor | None = None


def observe(
    classifier: Classifier,
    images: Tensor,
    layers: Iterable[str],
    *,
    to_the_end: bool = False,
    begin: str | None = None,
) -> Seen:
    """One forward of images (N, C, H, W) past all `layers`; it ends at the last one, or at the logits.

    Nothing that the network computes is replaced, so what it computes is what it computes unwatched.
    With `begin`, one of the layers, the graph begins there if none leads there, and if `begin_at` can.
    A network that takes another number of images is asked in such parts, the last one filled up, and there
    are no common `edges`. Raises UnknownName for a layer that does not exist, InputError for one that is
    never called or returns no tensor.
    """
    wanted, batch = list(dict.fromkeys(layers)), classifier.batch
    if wanted and batch is not None and len(images) != batch:
        seen_of = partial(observe, classifier, layers=wanted, to_the_end=to_the_end, begin=begin)
        return _joined([(seen_of(full), count) for full, count in filled(images, batch)], tuple(images.shape))
    seen = Seen({}, {}, {}, tuple(images.shape))
    handles: list[RemovableHandle] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if name in seen.outputs:
                return
            if not isinstance(output, Tensor):
                raise InputError(f"Layer {name!r} returns a {type(output).__name__}, not a tensor.")
            if name == begin and not output.requires_grad:
                begin_at(output, module_of(classifier), images)
            seen.outputs[name] = output.clone()
            seen.axes[name] = axes.of(output)
            if output.requires_grad:
                seen.edges[name] = get_gradient_edge(output)
            if len(seen.outputs) == len(wanted) and not to_the_end:
                raise Reached

        return hook

    modules = [_named(classifier, name) for name in wanted]
    # a hook on a layer can make torch compute otherwise, so there are none that are not needed
    axes = Axes(nn.ModuleList() if all(map(is_known, modules)) else module_of(classifier))
    try:
        with axes:
            handles += [module.register_forward_hook(watch(name)) for module, name in zip(modules, wanted)]
            logits = classifier(images) if to_the_end or wanted else None
    except Reached:
        return seen
    finally:
        for handle in handles:
            handle.remove()
    if wanted and classifier.batch != batch:  # it did not take so many, and was asked more than once
        return observe(classifier, images, wanted, to_the_end=to_the_end, begin=begin)
    if missed := [name for name in wanted if name not in seen.outputs]:
        compiled = " A part of it is compiled." if is_scripted(classifier.network) else ""
        raise InputError(f"Layer {missed[0]!r} is never called in a forward of {classifier.name}.{compiled}")
    return replace(seen, logits=logits)


def _joined(parts: list[tuple[Seen, int]], images: tuple[int, ...]) -> Seen:
    """What forwards showed, of each the first rows, as if it were one of all `images` (N, C, H, W).

    Of a layer whose rows are no images all rows are kept.
    """
    first, logits = parts[0][0], [seen.logits[:count] for seen, count in parts if seen.logits is not None]

    def joined(name: str) -> Tensor:
        own = [(seen.outputs[name], seen.images[0], count) for seen, count in parts]
        return torch.cat([rows[:count] if len(rows) == asked else rows for rows, asked, count in own])

    outputs = {name: joined(name) for name in first.outputs}
    return Seen(outputs, {}, first.axes, images, torch.cat(logits) if logits else None)


class Calls:
    """A context that counts how often a forward calls each of the network's modules; of several, the last.

    `images` is how many it was given.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network, self.count, self.images = network, Counter[str](), 0
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Calls:
        def called(name: str, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if not name:  # the network itself: a forward begins
                self.count.clear()
                self.images = len(inputs[0])
            self.count[name] += 1

        self._handles = [
            module.register_forward_pre_hook(partial(called, name))
            for name, module in self.network.named_modules()
            if not name or not isinstance(module, torch.jit.ScriptModule)
        ]
        return self

    def __exit__(self, *_raised: object) -> None:
        for handle in self._handles:
            handle.remove()


def called_again(classifier: Classifier, layers: Iterable[str]) -> list[str]:
    """A sentence on each of the layers that a forward calls more than once: its first output is read."""
    if not (names := list(dict.fromkeys(layers))):
        return []
    with Calls(module_of(classifier)) as calls:
        classifier.probe()
    return [
        f"{name} is called {calls.count[name]} times in a forward: what it returns first is read."
        for name in names
        if calls.count[name] > 1
    ]


def begin_at(output: Tensor, network: nn.Module, images: Tensor) -> None:
    """Let a graph begin at this very tensor: x * 1 in place is x, bit for bit.

    Unlike a tensor that is set to require a gradient, it may be changed in place later on. Left alone is
    what shares its memory with the images or with something of the network's own, or within itself, and one
    of several views that torch made at once, as `unbind` does, which it lets nobody change.
    """
    others = (images, *network.parameters(), *network.buffers())
    shared = {other.untyped_storage().data_ptr() for other in others}
    expanded = any(size > 1 and step == 0 for size, step in zip(output.shape, output.stride()))
    if output.is_floating_point() and not expanded and output.untyped_storage().data_ptr() not in shared:
        with suppress(RuntimeError):  # of such a view, before anything is changed
            output.mul_(output.new_ones((), requires_grad=True))


def _named(classifier: Classifier, name: str) -> nn.Module:
    network = module_of(classifier)
    if isinstance(network, torch.jit.ScriptModule):
        raise InputError(f"{classifier.name} is compiled: only its scores can be named, not its layers.")
    try:
        if name:
            return network.get_submodule(name)
    except AttributeError:
        pass
    names = [known for known, _ in network.named_modules() if known]
    raise UnknownName("layer", name, names, f"`ostrich list units {classifier.name}` lists all.")


def module_of(classifier: Classifier) -> nn.Module:
    """The network. Raises InputError for a prediction function."""
    if not isinstance(classifier.network, nn.Module):
        raise InputError(f"{classifier.name} is only a prediction function: its layers cannot be seen.")
    return classifier.network
