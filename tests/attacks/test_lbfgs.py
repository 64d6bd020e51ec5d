"""L-BFGS: known optima, the textbook recursion, files, batches, and the 8-bit search."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ostrich
from ostrich.attacks import LBFGS, Targeted, Unbounded, Untargeted
from ostrich.attacks.engine import grid_search
from ostrich.attacks.engine.settings import configure
from ostrich.attacks.goals import margin
from ostrich.attacks.minimum_norm.lbfgs import inverse_hessian_times
from ostrich.errors import InputError, UnknownName
from ostrich.images import read_png, write_png


def linear(classes: int, shape: tuple[int, int, int], dtype: torch.dtype, scale: float = 1.0) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
        layer.bias.copy_(-layer.weight.sum(1) / 2)
    return nn.Sequential(nn.Flatten(), layer).to(dtype)


def grid_images(count: int, shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Zeros and ones among the values, so that the box matters."""
    generator = torch.Generator().manual_seed(5)
    levels = torch.randint(-60, 316, (count, *shape), generator=generator)
    return levels.clamp(0, 255).to(dtype) / 255


def nearest_in_box(image: Tensor, normal: Tensor, offset: Tensor) -> float:
    """The smallest |r| with normal.r >= offset and image + r in [0, 1]: r = clip(s * normal), s bisected."""
    image, normal = image.double().flatten(), normal.double().flatten()
    low, high = 0.0, 1e6
    for _ in range(200):
        s = (low + high) / 2
        change = (image + s * normal).clamp(0, 1) - image
        low, high = (low, s) if normal @ change >= offset else (s, high)
    return ((image + high * normal).clamp(0, 1) - image).norm().item()


class Convolutions(nn.Module):
    """Small, smooth and curved; batch norm with statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.last = nn.Conv2d(8, 6, 3, stride=2), nn.Linear(120, 4)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.second(nn.functional.gelu(self.norm(self.first(images)))))
        return 20 * self.last(hidden.flatten(1))


def curved(dtype: torch.dtype = torch.float64) -> tuple[ostrich.Classifier, Tensor, Tensor]:
    classifier = ostrich.Classifier(Convolutions().to(dtype).eval(), size=(10, 12))
    images = grid_images(6, (3, 10, 12), dtype)
    with torch.no_grad():
        return classifier, images, classifier(images).argmax(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize(("classes", "shape"), [(2, (1, 5, 7)), (5, (3, 8, 8))])
def test_known_optimum_of_a_linear_network(
    classes: int, shape: tuple[int, int, int], targeted: bool, dtype: torch.dtype
) -> None:
    network = linear(classes, shape, dtype)
    images = grid_images(5, shape, dtype)
    weight = network[1].weight.detach()
    logits = network(images).detach()
    labels = logits.argmax(1)
    goal = Targeted(logits.argmin(1)) if targeted else Untargeted(labels)
    result = ostrich.attacks.attack(LBFGS(), ostrich.Classifier(network, channels=shape[0]), images, goal)
    assert result.success.all()
    for i, image in enumerate(images):

        def least(c: int, i: int = i, image: Tensor = image) -> float:
            rivals = [k for k in range(classes) if k != c]
            walls = [
                nearest_in_box(image, weight[c] - weight[k], (logits[i, k] - logits[i, c]).double())
                for k in rivals
                if logits[i, k] > logits[i, c]
            ]
            return max(walls)  # no smaller than the nearest point where c beats each rival alone

        others = [goal.classes[i].item()] if targeted else [k for k in range(classes) if k != labels[i]]
        if targeted and classes > 2:
            assert result.distance_float[i] >= least(others[0]) * (1 - 1e-5)
            continue
        bound = (
            least(others[0])
            if targeted
            else min(
                nearest_in_box(
                    image, weight[k] - weight[labels[i]], (logits[i, labels[i]] - logits[i, k]).double()
                )
                for k in others
            )
        )
        assert bound * (1 - 1e-5) <= result.distance_float[i] <= 1.05 * bound


def test_direction_is_the_two_loop_recursion() -> None:
    generator = torch.Generator().manual_seed(1)
    memory, shape = 4, (1, 3, 4)
    curvature = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    curvature = curvature @ curvature.T
    moves = torch.randn(2, memory, 12, generator=generator, dtype=torch.float64)
    changes = moves @ curvature
    changes[1, 2] *= -1  # a pair without curvature is passed over
    gradient = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    constant = torch.tensor([0.3, 0.0], dtype=torch.float64)
    free = torch.rand(2, *shape, generator=generator) > 0.2
    newest = torch.tensor([3, 1])  # places in which the pairs stand in turn: oldest first, then as a ring
    turns = (newest[:, None] + torch.arange(1, memory + 1)) % memory  # (2, m): the place of the oldest first
    places = turns[..., None].expand_as(moves)
    stored = [torch.zeros_like(kind).scatter(1, places, kind.flip(1)) for kind in (moves, changes)]
    found = inverse_hessian_times(gradient, *stored, newest, constant, free)
    for i in range(2):
        mask = free[i].flatten()
        s = [m[mask] for m in moves[i]]
        y = [(c + 2 * constant[i] * m)[mask] for m, c in zip(moves[i], changes[i])]
        kept = [j for j in range(memory) if s[j] @ y[j] > 1e-4 * s[j].norm() * y[j].norm()]
        assert len(kept) < memory or i == 0
        q, alphas = gradient[i].flatten()[mask].clone(), {}
        for j in kept:
            alphas[j] = (s[j] @ q) / (s[j] @ y[j])
            q -= alphas[j] * y[j]
        q *= (s[kept[0]] @ y[kept[0]]) / (y[kept[0]] @ y[kept[0]])
        for j in reversed(kept):
            q += (alphas[j] - (y[j] @ q) / (s[j] @ y[j])) * s[j]
        torch.testing.assert_close(found[i].flatten()[mask], q, rtol=1e-9, atol=1e-12)
        assert (found[i].flatten()[~mask] == 0).all()


def nearest_by_scipy(classifier: ostrich.Classifier, image: Tensor, target: Tensor, constants: int) -> float:
    """The smallest change that SciPy's L-BFGS-B saw succeed; exact gradient, c bisected."""
    from scipy.optimize import fmin_l_bfgs_b

    origin, seen = image.flatten().numpy(), []

    def objective(values: np.ndarray, c: float) -> tuple[float, np.ndarray]:
        x = torch.from_numpy(values).view_as(image).requires_grad_(True)
        logits = classifier(x)
        loss = nn.functional.cross_entropy(logits, target)
        (gradient,) = torch.autograd.grad(loss, x)
        change = values - origin
        if margin(logits, target)[0] > 0:
            seen.append((change @ change) ** 0.5)
        return c * (change @ change) + loss.item(), 2 * c * change + gradient.flatten().numpy()

    c, low, high = 10.0, 0.0, float("inf")
    for _ in range(constants):
        found = fmin_l_bfgs_b(objective, origin.copy(), args=(c,), bounds=[(0, 1)] * len(origin), maxiter=50)[
            0
        ]
        with torch.no_grad():
            reached = margin(classifier(torch.from_numpy(found).view_as(image)), target)[0] > 0
        low, high = (c, high) if reached else (low, c)
        c = (low * high) ** 0.5 if low > 0 and high < float("inf") else 4 * c if reached else c / 4
    return min(seen)


def test_no_farther_than_scipy() -> None:
    classifier, images, labels = curved()
    targets = (labels + 1) % 4
    ours = ostrich.attacks.attack(LBFGS(), classifier, images, Targeted(targets), precision="exact")
    assert ours.success.all()
    theirs = [
        nearest_by_scipy(classifier, images[i : i + 1], targets[i : i + 1], LBFGS().constants)
        for i in range(len(images))
    ]
    ratio = ours.distance_float / torch.tensor(theirs, dtype=torch.float64)
    assert ratio.median() <= 1.01
    assert ratio.max() <= 1.03


def test_a_success_is_a_file(tmp_path: Path) -> None:
    classifier, images, labels = curved(torch.float32)
    goal = Targeted((labels + 2) % 4)
    flags = [p.requires_grad for p in classifier.network.parameters()]
    result = ostrich.attacks.attack(LBFGS(), classifier, images, goal, labels=labels)
    assert result.success.all()
    for i, image in enumerate(result.images):
        write_png(tmp_path / f"{i}.png", image)
        assert classifier(read_png(tmp_path / f"{i}.png")[None]).argmax(1) == goal.classes[i]
        assert classifier(result.float_images[i : i + 1]).argmax(1) == goal.classes[i]
    torch.testing.assert_close(result.distance_float, (result.float_images - images).flatten(1).norm(dim=1))
    assert flags == [p.requires_grad for p in classifier.network.parameters()]
    assert all(p.grad is None for p in classifier.network.parameters())
    assert (result.forwards >= result.backwards).all()
    assert (result.backwards <= LBFGS().steps + 3).all()


@pytest.mark.parametrize("make", [Untargeted, lambda labels: Targeted((labels + 1) % 4)])
def test_the_batch_does_not_change_the_result(make: Callable[[Tensor], object]) -> None:
    classifier, images, labels = curved()
    goal = make(labels)
    method = LBFGS(constants=6, iterations=15)
    together = ostrich.attacks.attack(method, classifier, images, goal)
    for other in (
        ostrich.attacks.attack(method, classifier, images, goal, batch_size=2),
        ostrich.attacks.attack(method, classifier, images, goal, active_set=False),
    ):
        assert torch.equal(together.success, other.success)
        torch.testing.assert_close(together.float_images, other.float_images, rtol=0, atol=1e-9)
        torch.testing.assert_close(together.distance, other.distance, rtol=1e-9, atol=0)


def test_changes_below_half_a_level_still_become_files() -> None:
    """Rounding alone takes these changes back entirely."""
    network = linear(2, (1, 8, 8), torch.float32, scale=3.0)
    images = grid_images(4, (1, 8, 8), torch.float32)
    with torch.no_grad():
        logits = network(images)
        network[1].bias[1] += (logits[:, 0] - logits[:, 1]).median() - 0.01  # the boundary, close by
        labels = network(images).argmax(1)
    result = ostrich.attacks.attack(
        LBFGS(), ostrich.Classifier(network, channels=1), images, Untargeted(labels)
    )
    near = (result.float_images - images).abs().flatten(1).amax(1) < 0.5 / 255
    assert near.any()
    assert result.success.all()


def test_a_file_is_found_where_no_scale_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the scale 1 alone, rounding takes the change back; levels are bought until it is made up for."""
    network = linear(2, (3, 16, 16), torch.float32, scale=3.0)
    images = grid_images(6, (3, 16, 16), torch.float32)
    with torch.no_grad():
        labels = network(images).argmax(1)
    classifier, goal = ostrich.Classifier(network, channels=3), Untargeted(labels)
    monkeypatch.setattr(grid_search, "GROWTH", (1.0,))
    monkeypatch.setattr(grid_search, "REPAIRS", 0)
    without = ostrich.attacks.attack(LBFGS(), classifier, images, goal)
    assert not without.success.all()
    monkeypatch.setattr(grid_search, "REPAIRS", 1)
    found = ostrich.attacks.attack(LBFGS(), classifier, images, goal)
    assert found.success.all()
    assert torch.equal(found.images[without.success], without.images[without.success])


def test_the_file_is_nearly_the_nearest_on_the_grid() -> None:
    """Against all changes of up to three levels in four values."""
    shape = (1, 2, 2)
    network = linear(2, shape, torch.float64)
    images = torch.tensor([[100, 30, 200, 77], [12, 250, 128, 64]]).double().view(2, *shape) / 255
    normal = network[1].weight[1] - network[1].weight[0]
    steps = torch.tensor(list(itertools.product(range(-3, 4), repeat=4))).double()
    for image in images:
        with torch.no_grad():  # two levels of each value's worth beyond the boundary
            network[1].bias[:] = 0
            network[1].bias[0] = normal @ image.flatten() + normal.abs().sum() * 1.7 / 255
        goal = Untargeted(torch.tensor([0]))
        found = ostrich.attacks.attack(LBFGS(), ostrich.Classifier(network, channels=1), image[None], goal)
        with torch.no_grad():
            crossing = network((image.flatten() + steps / 255).view(-1, *shape)).argmax(1) == 1
        least = steps[crossing].norm(dim=1).min().item() / 255
        assert found.success.all()
        assert least * (1 - 1e-6) <= found.distance.item() <= 1.2 * least


def test_budget_and_stop() -> None:
    classifier, images, labels = curved()
    goal = Untargeted(labels)
    free = ostrich.attacks.attack(LBFGS(), classifier, images, goal)
    eps = free.distance.median().item() * 1.0001
    held = ostrich.attacks.attack(LBFGS(threat=ostrich.L2(eps)), classifier, images, goal)
    assert torch.equal(held.success, free.distance <= eps)
    first = ostrich.attacks.attack(LBFGS(stop="first"), classifier, images, goal)
    assert first.success.all()
    assert (first.backwards < free.backwards).all()
    assert (first.distance > free.distance).all()


def test_settings_and_refusals() -> None:
    assert configure(LBFGS, {}) == LBFGS()
    assert configure(LBFGS, {"norm": "l2"}).threat == Unbounded()
    assert configure(LBFGS, {"eps": "1/2", "memory": "4"}) == LBFGS(threat=ostrich.L2(0.5), memory=4)
    with pytest.raises(UnknownName):
        configure(LBFGS, {"norm": "linf"})
    wrong = (
        {"constants": 0},
        {"iterations": 0},
        {"memory": 0},
        {"initial_constant": 0.0},
        {"stop": "budget"},
    )
    for settings in (*wrong, {"threat": ostrich.Linf(0.1)}, {"initial_constant": float("nan")}):
        with pytest.raises(InputError):
            LBFGS(**settings)
