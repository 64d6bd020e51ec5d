"""The filters of a network's first layer, as pictures.

The only layer whose weights are images themselves: one tile a filter, in the colours it looks for
(Krizhevsky 2012, figure 3; Zeiler and Fergus 2014, figure 6). Zero is middle grey and each filter
is scaled by its largest weight, so tiles tell a filter's shape, not its strength.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.images import grid
from ostrich.inspection.units import layers
from ostrich.models.classifier import Classifier

TILE = 24  # pixels; smaller filters are enlarged by whole numbers


def first_layer_filters(classifier: Classifier) -> Tensor:
    """The filters as one picture (3, H, W) or (1, H, W) in [0, 1].

    Filters on three channels are in colour; on any other number, a grey tile for each channel.
    Raises InputError for a network whose first weights are neither a convolution nor a layer on all pixels.
    """
    weights = filters(classifier)  # (O, I, h, w)
    size = weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    tiles = 0.5 + 0.5 * weights / size
    columns = None
    if weights.shape[1] not in (1, 3):
        columns = weights.shape[1]  # a row for each filter
        tiles = tiles.flatten(0, 1)[:, None]
    scale = max(1, -(-TILE // max(weights.shape[2:])))
    tiles = tiles.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return grid(tiles, columns=columns)


def filters(classifier: Classifier) -> Tensor:
    """The weights (O, I, h, w) of the first convolution, or of a first layer on all pixels."""
    rows = layers(classifier)  # refuses a prediction function; in the order of a forward
    assert isinstance(classifier.network, nn.Module)
    height, width = classifier.size or (224, 224)
    for row in rows:
        module = classifier.network.get_submodule(row.name)
        if isinstance(module, nn.Conv2d):
            return module.weight.detach()
        if isinstance(module, nn.Linear) and module.in_features == classifier.channels * height * width:
            return module.weight.detach().view(-1, classifier.channels, height, width)
        if row.parameters and not isinstance(module, nn.modules.batchnorm._BatchNorm):
            break
    raise InputError(
        f"The first layer of {classifier.name} is no convolution and no layer on all pixels: "
        f"it has no filters to show. Its layers: {', '.join(row.name for row in rows[:5])}, ..."
    )
