"""A deeper network equal to a shallower one: He et al. 2016's "solution by construction" (section 1).

The layers that are added compute the identity, so a deeper network is at least as good; that training does
not find it is the paper's argument. Added blocks stand at the end of a stage, never where the size changes.

    residual                     last batch norm's gamma and beta 0 (or last convolution 0): relu(x + 0) = x
    plain without batch norm     Dirac convolutions, bias 0: relu(x) = x
    plain with batch norm        the same, with gamma = sqrt(var + eps), beta = mean of what comes in

What comes into a block follows a ReLU, so x >= 0. The first two are the identity in training mode too; the
third only in evaluation mode, in training mode up to the noise of a batch's statistics. Net2Net (Chen,
Goodfellow and Shlens 2016) deepens in the same way.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.models.residual import Block, SmallNet
from ostrich.models.untouched import untouched

STAGES = ("layer1", "layer2", "layer3")


def deepened(network: SmallNet, depth: int, inputs: Tensor) -> SmallNet:
    """A copy of depth 6n + 2 that computes the same in evaluation mode.

    `inputs` (N, C, H, W), normalised, are what plain networks with batch norm measure their statistics on.
    Raises InputError for a depth that is no greater or is none of these networks'.
    """
    blocks = len(network.layer1)
    if (depth - 2) % 6 or depth <= 6 * blocks + 2:
        raise InputError(f"The depth is 6n + 2 and above {6 * blocks + 2}; got {depth}.")
    found = copy.deepcopy(network)
    incoming = _stage_outputs(network, inputs)
    for name in STAGES:
        stage: nn.Sequential = getattr(found, name)
        last = stage[-1]
        assert isinstance(last, Block)
        for _ in range((depth - 2) // 6 - blocks):
            stage.append(_identity(last, incoming[name]))
    return found


def _identity(like: Block, incoming: Tensor) -> Block:
    """A block of the same width that returns what it is given."""
    channels, norm = like.conv2.out_channels, isinstance(like.bn2, nn.BatchNorm2d)
    block = Block(channels, channels, 1, like.residual, norm=norm)
    block.train(like.training)
    convolutions, norms = (block.conv1, block.conv2), (block.bn1, block.bn2)
    with torch.no_grad():
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight)
            if convolution.bias is not None:
                convolution.bias.zero_()
        if like.residual:
            if isinstance(block.bn2, nn.BatchNorm2d):
                block.bn2.weight.zero_()
            else:
                block.conv2.weight.zero_()
            return block.to(incoming.device)
        for convolution in convolutions:
            nn.init.dirac_(convolution.weight)
        mean, variance = incoming.mean((0, 2, 3)), incoming.var((0, 2, 3))
        for layer in norms:
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(variance)
                layer.weight.copy_((variance + layer.eps).sqrt())
                layer.bias.copy_(mean)
    return block.to(incoming.device)


def _stage_outputs(network: SmallNet, inputs: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    def hook(name: str):  # type: ignore[no-untyped-def]
        def watch(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            found[name] = output

        return watch

    handles = [getattr(network, name).register_forward_hook(hook(name)) for name in STAGES]
    try:
        with untouched(network), torch.no_grad():
            network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found
