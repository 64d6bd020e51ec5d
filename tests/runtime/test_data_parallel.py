"""Micro-batches: every image once, the gradient of the whole batch, and batch norm's statistics by hand."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ostrich.errors import InputError
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.runtime import distributed, events
from ostrich.runtime.data_parallel import DataParallel, Statistics, is_apart, own_parts, parts, say_idle
from ostrich.training import Recipe
from ostrich.training import train as trained


@given(st.integers(1, 300), st.integers(1, 140), st.integers(1, 9), st.booleans())
def test_processes_share_every_image_once(count, size, world, apart):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "world", lambda: world)
        every = parts(count, size, apart=apart)
        shared = []
        for rank in range(world):
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            shared.append(own_parts(count, size, apart=apart))
    rows = [row for part in every for row in range(count)[part.rows]]
    assert rows == list(range(count))
    sizes = [part.rows.stop - part.rows.start for part in every]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert [part.share for part in every] == [n / count for n in sizes]
    assert sorted((p for some in shared for p in some), key=lambda p: p.number) == every
    if apart:
        assert len(every) >= min(world, count)  # nobody waits
    else:
        assert every == parts(count, size)  # into which no number of processes enters


def normed(momentum: float | None = 0.1) -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, momentum=momentum)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Flatten(), nn.Linear(64, 2)).double()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_the_mean_of_what_each_micro_batch_makes_of_those_before(momentum):
    ours, images = normed(momentum), torch.randn(7, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        ours(images)  # so that they are not those of a new layer
    by_hand, statistics = copy.deepcopy(ours), Statistics(ours)
    cut = parts(7, 3)  # of 2, 2 and 3 images
    left = []
    for part in cut:
        with statistics.of(part):
            ours(images[part.rows])
        one = copy.deepcopy(by_hand)
        one(images[part.rows])
        left.append(one[1])
        assert torch.equal(ours[1].running_mean, by_hand[1].running_mean)  # until all are done
    statistics.settle()
    shares = torch.tensor([2 / 7, 2 / 7, 3 / 7], dtype=torch.float64)
    for name in ("running_mean", "running_var"):
        mean = (shares[:, None] * torch.stack([getattr(one, name) for one in left])).sum(0)
        torch.testing.assert_close(getattr(ours[1], name), mean)
    assert ours[1].num_batches_tracked == 2
    ours.eval()
    assert not ours[1].running_mean.requires_grad


def test_the_gradient_of_micro_batches_is_that_of_the_batch():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    images, labels = torch.randn(7, 3, 2, 2, dtype=torch.float64), torch.arange(7) % 3
    (whole,) = torch.autograd.grad(nn.functional.cross_entropy(network(images), labels), network[1].weight)
    losses = [
        (p.share, lambda rows=p.rows: nn.functional.cross_entropy(network(images[rows]), labels[rows]))
        for p in parts(7, 2)
    ]
    DataParallel(network).backward(losses)
    torch.testing.assert_close(network[1].weight.grad, whole)


@pytest.mark.parametrize(("micro_batch", "same"), [(5, False), (20, True), (128, True)])
def test_a_network_is_trained_by_micro_batches(micro_batch, same):
    """Those of 5 normalise otherwise than a batch of 20; of as many images as the batch nothing changes."""
    recipe = Recipe(
        name="micro", architecture="-", data="-", mean=(0.5,), std=(0.25,), epochs=1, batch_size=20, shift=1
    )
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 6, 6), generator=generator).to(torch.uint8)
    labels = torch.arange(40) % 2
    found = []
    for size in (1000, micro_batch):
        one = trained(normed().float(), replace(recipe, micro_batch=size), pixels, labels)
        found.append(torch.cat([v.flatten().double() for v in one.state_dict().values()]))
    assert torch.equal(*found) == same


def test_dropout_and_batch_norm_bind_the_images_of_a_batch():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.ReLU())
    assert is_apart(plain)
    assert is_apart(plain, plain)
    assert not is_apart(plain, nn.Sequential(plain, nn.BatchNorm1d(3)))
    assert not is_apart(nn.Dropout2d(0.5))


@pytest.mark.parametrize(
    ("count", "size", "apart", "world", "said"),
    [
        (128, 128, False, 2, "128 images is one micro-batch, so 1 process waits: --set micro_batch=64 has"),
        (
            128,
            64,
            False,
            8,
            "has 2 micro-batches, so 6 processes wait: --set micro_batch=16 has one for each",
        ),
        (3, 1, False, 4, "has 3 micro-batches, so 1 process waits: a larger batch_size"),
        (3, 128, True, 4, "has 3 micro-batches, so 1 process waits: a larger batch_size"),
        (128, 128, True, 8, None),
        (128, 64, False, 2, None),
    ],
)
def test_who_waits_is_said(count, size, apart, world, said, monkeypatch):
    sentences = []
    monkeypatch.setattr(events, "say", sentences.append)
    monkeypatch.setattr(distributed, "world", lambda: world)
    say_idle(count, size, apart=apart)
    assert len(sentences) == (said is not None)
    assert said is None or said in sentences[0]


@pytest.mark.parametrize("kind", [Recipe, GeneratorRecipe])
def test_a_micro_batch_of_nothing_is_refused(kind):
    with pytest.raises(InputError, match="micro_batch is above 0; got 0"):
        kind(name="-", architecture="-", data="-", micro_batch=0)
