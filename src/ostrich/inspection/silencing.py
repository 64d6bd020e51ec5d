"""A unit switched off: what a network answers when one of its channels is silent.

Zeiler and Fergus 2014 and Morcos 2018 ask so what a unit does for a class; here of one image at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ostrich.errors import InputError, UnknownName
from ostrich.inspection.layouts import Axes, layout_of
from ostrich.inspection.unit_names import Unit, parse
from ostrich.inspection.watching import Calls, module_of

if TYPE_CHECKING:
    from ostrich.models.classifier import Classifier


def silenced(classifier: Classifier, images: Tensor, unit: Unit | str) -> Tensor:
    """Logits (N, K) for images (N, C, H, W) with a channel, or the feature of all tokens, set to zero.

    Of a layer that a forward calls several times the first output is meant, as where units are read. A unit
    with a place silences its whole channel. Raises InputError for a class, and for a layer whose features
    cannot be told, UnknownName for a layer that does not exist.
    """
    unit = parse(unit) if isinstance(unit, str) else unit
    if unit.is_output:
        raise InputError(f"{unit} is an answer of the network; a channel of a layer can be silenced.")
    network = module_of(classifier)
    layers = dict(network.named_modules())
    if unit.layer not in layers:
        raise UnknownName("layer", unit.layer, layers)

    def hook(module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
        if calls.count[unit.layer] > 1:
            return None
        if not isinstance(output, Tensor):
            raise InputError(f"Layer {unit.layer!r} returns {type(output).__name__}, not a tensor.")
        seen, axis = (calls.images, *images.shape[1:]), axes.of(output)
        found = layout_of(network, unit.layer, output.shape, seen, module=module, axis=axis)
        if int(unit.index) >= found.features:
            last = found.features - 1
            raise InputError(f"Layer {unit.layer!r} has features 0 to {last}; got {unit.index}.")
        quiet = output.clone()
        quiet.movedim(1 if found.axis == 0 else -1, 0)[int(unit.index)] = 0
        return quiet

    handle = layers[unit.layer].register_forward_hook(hook)
    try:
        with Axes(network) as axes, Calls(network) as calls:
            return classifier.predict(images)
    finally:
        handle.remove()
