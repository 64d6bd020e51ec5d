"""An ensemble's members attack as many images at once as fill a forward, each by its own copies."""

from __future__ import annotations

import re

import nets
import pytest
import torch

from ostrich.attacks import AutoAttack, Linf, Untargeted
from ostrich.attacks.engine import runner
from ostrich.attacks.engine.runner import attack

NARROW = 3 * 8 * 8 * 9 * 2  # values in a forward that two images fill with nine copies each


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(runner, "VALUES_PER_FORWARD", NARROW)


def unbroken(**options):
    """AutoAttack on five images that stand to the end, in float64."""
    network = nets.small(size=(8, 8), dtype=torch.float64)
    images = nets.random_images(5, (8, 8), dtype=torch.float64)
    method = AutoAttack(threat=Linf(1 / 2550), iterations=4, queries=8)
    goal = Untargeted(nets.predictions(network, images))
    return attack(method, network, images, goal, precision="exact", **options)


def test_its_cost_is_that_of_its_members():
    *apgd, fab, square = AutoAttack().members
    gradients = sum(one.steps * one.copies for one in apgd) + fab.iterations * fab.targets
    forwards = gradients + fab.iterations * fab.targets + square.queries
    said = re.search(r"about ([\d,]+) gradients and ([\d,]+) forwards", AutoAttack.__doc__)
    told = [int(number.replace(",", "")) for number in said.groups()]
    assert told == pytest.approx([gradients, forwards], rel=0.05)


@pytest.mark.usefixtures("narrow")
def test_each_member_attacks_as_many_images_at_once_as_fill_a_forward():
    seen: list[int] = []
    unbroken(watch=lambda step, state: seen.append(len(state.images)) if step == 1 else None)
    # APGD towards three targets; APGD; APGD-T and FAB-T in three parts; Square
    assert seen == [5, 5, 2, 2, 1, 2, 2, 1, 5]


def test_a_result_does_not_depend_on_the_parts_that_a_member_makes(monkeypatch):
    whole = unbroken()
    monkeypatch.setattr(runner, "VALUES_PER_FORWARD", NARROW)
    parts, single = unbroken(), unbroken(batch_size=1)
    for other in (parts, single):
        assert torch.equal(whole.success, other.success)
        assert torch.allclose(whole.float_images, other.float_images, atol=1e-9)
        assert torch.equal(whole.backwards, other.backwards)


@pytest.mark.usefixtures("narrow", "always_kept")
@pytest.mark.parametrize(("at", "after"), [(4, 1), (5, 3)])  # in the second and third part of APGD-T
def test_cut_off_in_a_later_part_it_goes_on_bit_for_bit(at, after, tmp_path):
    whole, begun = unbroken(), 0

    def cut(step: int, state: object) -> None:
        nonlocal begun
        begun += step == 1
        if begun == at and step == after + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unbroken(shards=tmp_path, watch=cut)
    steps: list[int] = []
    resumed = unbroken(shards=tmp_path, watch=lambda step, state: steps.append(step))
    assert steps[0] == after + 1, "what was done is not done again"
    for field in ("success", "images", "float_images", "forwards", "backwards", "found_by"):
        assert torch.equal(getattr(whole, field), getattr(resumed, field)), field
