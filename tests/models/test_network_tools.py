"""Tools for anyone's network: starts, precise statistics, folding, deepening."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from ostrich.errors import InputError, UnknownName
from ostrich.models.batchnorm import precise_statistics
from ostrich.models.fastpath import fold_batch_norm
from ostrich.models.initialization import STARTS, initialise, standard_deviation
from ostrich.models.net2net import deepened
from ostrich.models.residual import SmallNet

KINDS = [(True, True), (True, False), (False, True), (False, False)]  # residual, batch norm


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_net(residual: bool = True, norm: bool = True, depth: int = 8, seed: int = 0) -> SmallNet:
    """A network whose batch-norm statistics and scales are not trivial."""
    torch.manual_seed(seed)
    network = SmallNet(depth, width=0.5, residual=residual, norm=norm)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


# Starts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", STARTS)
def test_starts_have_the_variance_of_their_formula(start):
    layer = nn.Conv2d(16, 400, 3)
    initialise(layer, start, generator())
    fan_in = 16 * 9
    expected = {"normal": 1e-4, "xavier": 1 / fan_in, "he": 2 / fan_in, "twice-he": 4 / fan_in}
    variance = expected.get(start, 1 / (3 * fan_in))
    # 57,600 weights: the relative error of a variance is at most sqrt(2 / n) = 0.006
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.03)
    assert standard_deviation(start, fan_in) == pytest.approx(math.sqrt(variance))
    assert not layer.bias.any()
    if start == "default":
        fresh = nn.Conv2d(16, 400, 3).weight
        assert layer.weight.abs().max() <= fresh.abs().max() * 1.001
        assert layer.weight.var().item() == pytest.approx(fresh.var().item(), rel=0.05)


def test_an_unknown_start_is_answered():
    with pytest.raises(UnknownName, match="xavier"):
        initialise(nn.Linear(3, 3), "xaver")


# Batch norm --------------------------------------------------------------------------------------


def test_precise_statistics_are_averages_over_all_images():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).double()
    network[0].momentum = 0.3
    x = torch.randn(96, 3, 5, 5, generator=generator(), dtype=torch.float64) * 3 + 1
    network.train()
    network[1].eval()
    assert precise_statistics(network, x.split(32)) == 96
    torch.testing.assert_close(network[0].running_mean, x.mean((0, 2, 3)))
    batches = torch.stack([part.var((0, 2, 3)) for part in x.split(32)])
    torch.testing.assert_close(network[0].running_var, batches.mean(0))
    assert network[0].momentum == 0.3
    assert (network.training, network[0].training, network[1].training) == (True, True, False)


def test_precise_statistics_repair_a_network_whose_own_were_lost():
    network = some_net()
    x = torch.randn(64, 3, 16, 16, generator=generator())
    network.train()
    with torch.no_grad():
        in_training = network(x)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    precise_statistics(network, [x])
    with torch.no_grad():
        repaired = network.eval()(x)
    # one batch: evaluation divides by its unbiased variance, training by the biased one
    torch.testing.assert_close(repaired, in_training, rtol=0.02, atol=0.02)


def test_precise_statistics_leave_a_network_alone_where_they_fail():
    network = some_net()
    before = copy.deepcopy(network.state_dict())
    for batches, message in (([], "no images"), ([torch.randn(1, 3, 16, 16)], "at least 2 images")):
        with pytest.raises(InputError, match=message):
            precise_statistics(network, batches)
        assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    with pytest.raises(InputError, match="no batch norm"):
        precise_statistics(some_net(norm=False), [torch.randn(4, 3, 16, 16)])


def test_folding_takes_batch_norm_away_and_changes_nothing():
    network = some_net()
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.randn(4, 3, 16, 16, generator=generator())
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-4, atol=1e-4)


# Deepening ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("residual", "norm"), KINDS)
def test_a_deeper_network_equals_the_shallower_one(residual, norm):
    network = some_net(residual, norm)
    x = torch.randn(32, 3, 16, 16, generator=generator())
    deep = deepened(network, 20, x)
    assert len(deep.layer1) == 3
    with torch.no_grad():
        torch.testing.assert_close(deep(x), network(x), rtol=1e-5, atol=1e-5)
        if residual or not norm:  # the identity in training mode too
            torch.testing.assert_close(deep.train()(x), network.train()(x), rtol=1e-5, atol=1e-5)
    assert len(network.layer1) == 1


@pytest.mark.parametrize("depth", [8, 2, 15])
def test_a_depth_that_does_not_do_is_refused(depth):
    with pytest.raises(InputError, match="above 8"):
        deepened(some_net(), depth, torch.randn(2, 3, 16, 16))
