"""Batch norm's statistics measured anew: true averages over images instead of a moving one.

He's released ResNets carry averages over the training set ("Using moving average might lead to different
results"); a moving average of momentum 0.1 remembers about the last ten batches, and of a network that still
changes it describes none. Folding batch norm away is `fastpath.fold_batch_norm`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ostrich.errors import InputError
from ostrich.models.untouched import is_scripted

FEWEST = 2  # images of a batch: of one there is no variance between images


def precise_statistics(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Measure every batch norm's running mean and variance in place, as averages over all batches.

    `batches` are inputs (N, C, H, W) as the network takes them, of one size, without augmentation. Each layer
    normalises by its batch, as in training; everything else (dropout) is in evaluation mode. The mean is
    that of all images; the variance is the mean of the batches', so give large ones. Modes and momenta are as
    they were afterwards. Returns the number of images. Raises InputError where there is nothing to measure.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers or is_scripted(network):
        raise InputError("The network has no batch norm with running statistics that could be measured.")
    modes = [(module, module.training) for module in network.modules()]
    momenta = [(layer, layer.momentum) for layer in layers]
    kept = [(layer, {k: v.clone() for k, v in layer.state_dict().items()}) for layer in layers]
    count = 0
    try:
        network.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative average
            layer.train()
        with torch.no_grad():
            for inputs in batches:
                if len(inputs) < FEWEST:
                    raise InputError(f"A batch takes at least {FEWEST} images; got {len(inputs)}.")
                network(inputs)
                count += len(inputs)
        if not count:
            raise InputError("There are no images to measure the statistics on.")
    except BaseException:
        for layer, state in kept:
            layer.load_state_dict(state)
        raise
    finally:
        for layer, momentum in momenta:
            layer.momentum = momentum
        for module, training in modes:
            module.training = training
    return count
