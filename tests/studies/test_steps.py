"""The bare training loop: what a step sees, and what is looked at."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ostrich.errors import OtherComputation
from ostrich.runtime import resumable
from ostrich.studies.batchnorm_mnist import STUDY, looks, network_of
from ostrich.studies.steps import error, outputs, stepped


def _trained(seed: int = 0, drop: float = 0.0, **more):  # type: ignore[no-untyped-def]
    images = torch.arange(10.0)[:, None]
    labels = (images[:, 0] > 4).long()
    network = nn.Linear(1, 2)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.zero_()
    seen: list[list[float]] = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][:, 0].tolist()))
    looked = stepped(
        network if not drop else nn.Sequential(nn.Dropout(drop), network),
        torch.optim.SGD(network.parameters(), lr=0.1),
        images,
        labels,
        steps=7,
        batch_size=3,
        seed=seed,
        at=(2, 7),
        watch=lambda step: {"step": step},
        **more,
    )
    return network, seen, looked, images, labels


def test_an_epoch_shows_each_image_once_at_most_and_each_epoch_has_its_order():
    _, seen, looked, _, _ = _trained()
    assert looked == [{"step": 2}, {"step": 7}]
    assert len(seen) == 7
    first, second = seen[:3], seen[3:6]  # 10 // 3 = 3 steps an epoch
    assert all(len({x for batch in epoch for x in batch}) == 9 for epoch in (first, second))
    assert first != second
    assert seen == _trained()[1]
    assert seen != _trained(seed=1)[1]


def test_what_is_asked_for_before_and_after_a_step_is_done():
    steps: list[int] = []
    kept: list[float] = []
    network, *_ = _trained(before=steps.append, after=lambda: kept.append(1.0))
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    assert len(kept) == 7
    assert not torch.equal(network.weight, torch.zeros(2, 1))


def test_what_was_cut_off_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    """The weights, the rows and the random numbers of dropout, from the middle of an epoch."""
    file = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(resumable, "EVERY", 0.0)
    monkeypatch.setattr(resumable, "SHARE", 1e9)

    def cut(step: int) -> None:
        if step == 6:
            raise RuntimeError("cut off")

    whole, seen, looked, *_ = _trained(drop=0.5)
    with pytest.raises(RuntimeError, match="cut off"):
        _trained(drop=0.5, before=cut, checkpoint=file)
    network, rest, again, *_ = _trained(drop=0.5, checkpoint=file)
    assert rest[:2] == seen[5:7]
    assert torch.equal(network.weight, whole.weight)
    assert again == looked
    with pytest.raises(OtherComputation):
        _trained(drop=0.5, seed=1, checkpoint=file)


def test_the_error_is_in_percent():
    network, _, _, images, labels = _trained()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0], [1.0]]))
        network.bias.copy_(torch.tensor([0.0, -6.5]))
    assert error(network, images, labels) == pytest.approx(20)  # 5 and 6 are taken for small
    assert outputs(network, images).shape == (10, 2)


def test_the_network_of_figure_1_is_three_layers_of_100_sigmoids():
    spec = STUDY.spec("hours")
    assert (spec.steps, spec.batch_size, spec.units) == (50_000, 60, 100)
    assert spec.seeds >= 20
    plain, normed = (network_of(spec, 784, 10, norm) for norm in (False, True))
    for network in (plain, normed):
        assert sum(isinstance(part, nn.Sigmoid) for part in network) == 3
        assert [part.out_features for part in network if isinstance(part, nn.Linear)] == [100, 100, 100, 10]
        assert isinstance(network[-2], nn.Sigmoid)  # what comes before it is the input that is watched
    # 784 * 100 + 2 * 100 * 100 + 100 * 10 weights; biases 3 * 100 + 10, or gains and shifts 6 * 100 and 10
    assert sum(p.numel() for p in plain.parameters()) == 99_400 + 310
    assert sum(p.numel() for p in normed.parameters()) == 99_400 + 610
    assert looks(50_000)[-1] == 50_000
    assert looks(50_000)[0] == 1
