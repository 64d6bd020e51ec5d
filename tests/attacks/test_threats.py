"""Threat models: projections, random starts, directions and 8-bit rounding, as properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostrich.attacks.threats import L1, L2, Lab, Linf, Unbounded, within
from ostrich.errors import InputError
from ostrich.images import rounded

THREATS = {"linf": Linf, "l2": L2, "l1": L1}
SCALE = {"linf": 0.05, "l2": 0.8, "l1": 6.0}


def images(
    seed: int, on_grid: bool = True, count: int = 3, shape: tuple[int, ...] = (3, 5, 4)
) -> torch.Tensor:
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return rounded(x) if on_grid else x


@settings(max_examples=40)
@given(st.sampled_from(list(THREATS)), st.integers(0, 10**6), st.floats(0, 2), st.booleans())
def test_projection_keeps_the_budget_and_what_is_inside(norm, seed, scale, on_grid):
    threat = THREATS[norm](SCALE[norm] * scale)
    x = images(seed, on_grid)
    y = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=x.dtype) * 0.3
    projected = threat.project(y, x)
    assert (threat.distance(projected, x) <= threat.eps + 1e-12).all()
    assert ((projected >= 0) & (projected <= 1)).all()
    assert torch.allclose(threat.project(projected, x), projected, atol=1e-9)


@settings(max_examples=40)
@given(st.sampled_from(list(THREATS)), st.integers(0, 10**6), st.floats(0.0, 2), st.booleans())
def test_settled_images_are_files_within_the_budget(norm, seed, scale, on_grid):
    threat = THREATS[norm](SCALE[norm] * scale)
    x = images(seed, on_grid=True)
    y = threat.project(
        x + torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed)) * 0.2, x
    )
    settled = threat.quantize(y, x)
    assert torch.equal(settled, rounded(settled))
    assert within(threat, settled, x).all()
    assert (settled - y).abs().max() <= 1 / 255 + 1e-9  # one of the two neighbouring levels


def test_settling_keeps_most_of_a_budget():
    x = images(0, shape=(3, 32, 32))
    y = L2(0.5).project(
        x + 0.05 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1)), x
    )
    assert (L2(0.5).distance(L2(0.5).quantize(y, x), x) > 0.49).all()


@pytest.mark.parametrize("norm", list(THREATS))
def test_random_starts_are_inside_and_differ(norm):
    x = images(5, shape=(3, 16, 16))
    generator = torch.Generator().manual_seed(2)

    def draw(kind: str) -> torch.Tensor:
        make = torch.rand if kind == "uniform" else torch.randn
        return make(x.shape, generator=generator, dtype=x.dtype)

    threat = THREATS[norm](SCALE[norm])
    starts = [threat.random_start(x, draw) for _ in range(2)]
    assert all(within(threat, start, x).all() for start in starts)
    assert not torch.equal(*starts)
    assert (threat.distance(starts[0], x) > 0).all()


@pytest.mark.parametrize("norm", list(THREATS))
def test_the_direction_is_the_steepest_of_its_size(norm):
    """Its inner product with the gradient is the dual norm: l1 for linf, l2 for l2, linf for l1."""
    gradient = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction = THREATS[norm](1.0).direction(gradient)
    size = THREATS[norm](1.0).distance(direction, torch.zeros_like(direction))
    assert torch.allclose(size, torch.ones_like(size))
    dual = {"linf": 1, "l2": 2, "l1": torch.inf}[norm]
    best = torch.linalg.vector_norm(gradient.flatten(1), ord=dual, dim=1)
    assert torch.allclose((direction * gradient).flatten(1).sum(1), best)


def test_l1_projection_against_a_grid_search():
    """In two dimensions the nearest point of the L1 ball can be searched."""
    x = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    y = torch.tensor([[[[0.9, 0.6]]]], dtype=torch.float64)
    t = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    points = torch.stack([0.5 + 0.2 * t, 0.5 + 0.2 * (1 - t)], 1)  # the edge in that quadrant
    best = points[(points - y.flatten()).pow(2).sum(1).argmin()]
    assert torch.allclose(L1(0.2).project(y, x).flatten(), best, atol=1e-4)


def test_zero_gradients_give_no_nan():
    zero = torch.zeros(2, 3, 4, 4)
    for threat in (Linf(0.1), L2(0.1), L1(0.1), Unbounded()):
        assert torch.equal(threat.direction(zero), zero)
        assert torch.isfinite(threat.project(zero, zero)).all()


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("norm", list(THREATS))
def test_budgets_that_are_none(norm, eps):
    with pytest.raises(InputError, match="budget"):
        THREATS[norm](eps)


@pytest.mark.parametrize(("threat", "room"), [(L1, 1.0), (L2, 2.0)])
def test_rounding_takes_no_change_back_where_the_budget_has_room(threat, room):
    """Three tenths of a level everywhere: to nearest, nothing would be left."""
    origin = torch.full((2, 3, 8, 8), 100 / 255)
    moved = origin + 0.3 / 255
    budget = threat(room * threat(1.0).distance(moved, origin)[0].item() * (1 + 1e-6))
    levels = ((budget.quantize(moved, origin) - origin) * 255).round()
    assert levels.unique().tolist() == [0, 1]
    assert (levels.flatten(1).sum(1) - 0.3 * 192).abs().max() < 1
    assert within(budget, origin + levels / 255, origin).all()
    assert torch.equal(budget.quantize(origin, origin), origin)


def test_between_two_levels_lab_ends_at_one_of_them():
    """No level is within so small a budget of the original, which lies in the middle."""
    original = torch.full((1, 3, 2, 2), 100.5 / 255)
    found = Lab(0.05).quantize(original + 1 / 255, original)
    assert torch.equal(found, rounded(found))
    assert ((found - original).abs() * 255 - 0.5).abs().max() < 1e-3
