"""The attacks' mathematics, each against something that knows the answer."""

from __future__ import annotations

import math

import nets
import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import nn

import ostrich
from ostrich import attacks as A
from ostrich.attacks import ATTACKS, Confident, Targeted, Untargeted
from ostrich.attacks.decision_based.rays import block, turns
from ostrich.attacks.engine.settings import configure
from ostrich.attacks.goals import missed
from ostrich.attacks.gradient.apgd import checkpoints, ratio
from ostrich.attacks.minimum_norm.fab import to_plane
from ostrich.attacks.score_based.bumps import bump
from ostrich.attacks.score_based.one_pixel import painted
from ostrich.attacks.score_based.square import Squares, share, sides
from ostrich.attacks.threats import L1, Pixels, Unbounded
from ostrich.attacks.transfer import Transfer
from ostrich.errors import OtherComputation

FAINT = 2.0**-80
L2_FREE, LINF_FREE = Unbounded(), Unbounded("linf")


def linear_problem(classes: int, count: int = 12):
    """A linear network, images far from 0 and 1, and the exact smallest changes in L2 and Linf."""
    generator = torch.Generator().manual_seed(classes)
    weights = torch.randn(classes, 3 * 8 * 8, generator=generator).double()
    model = nets.linear(weights, (8, 8), 3)
    images = (96 + nets.random_images(count, (8, 8), dtype=torch.float64).mul(64).round()) / 255
    labels = nets.predictions(model, images)
    logits = (images.flatten(1) @ weights.T).detach()
    gaps = logits.gather(1, labels[:, None]) - logits
    slopes = weights[labels][:, None] - weights[None]
    gaps[torch.arange(count), labels] = torch.inf
    by_l2, by_linf = gaps / slopes.norm(dim=2), gaps / slopes.abs().sum(2)
    return model, images, labels, by_l2.min(1).values, by_linf.min(1).values


# Minimum-norm attacks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        A.DDN(steps=100),
        A.CW(iterations=100, constants=6),
        A.FAB(threat=L2_FREE, iterations=20),
        A.FAB(threat=LINF_FREE, iterations=20),
    ],
    ids=lambda m: f"{m.name}-{m.threat.norm}",
)
def test_the_smallest_change_of_a_linear_network_is_found(method):
    model, images, labels, by_l2, by_linf = linear_problem(2)
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    optimum = by_l2 if method.threat.norm == "l2" else by_linf
    assert result.success.all()
    ratios = result.distance_float / optimum
    assert (ratios >= 1 - 1e-9).all(), "nothing nearer than the boundary reaches the goal"
    assert (ratios <= 1.05).all()


@pytest.mark.parametrize("threat", [L2_FREE, LINF_FREE], ids=["l2", "linf"])
@pytest.mark.parametrize("classes", [2, 5])
def test_deepfool_on_a_linear_network_is_exactly_its_overshoot(threat, classes):
    model, images, labels, by_l2, by_linf = linear_problem(classes)
    result = ostrich.attacks.attack(
        A.DeepFool(threat=threat, overshoot=0.03), model, images, Untargeted(labels)
    )
    optimum = by_l2 if threat.norm == "l2" else by_linf
    assert torch.allclose(result.distance_float, 1.03 * optimum, rtol=1e-9)


def test_deepfool_asks_once_a_step_and_takes_one_gradient_a_class():
    model, images, labels, *_ = linear_problem(5)
    result = ostrich.attacks.attack(A.DeepFool(), model, images, Untargeted(labels))
    # On a linear network one step crosses: a gradient of each of the four other classes, then of the
    # three nearest, and in the search on the 8-bit grid one for each exchange, at most three.
    assert ((result.backwards > 4 + 3) & (result.backwards <= 4 + 3 + 3)).all()


@pytest.mark.parametrize("name", ["deepfool", "cw", "fab", "ddn", "lbfgs"])
def test_a_target_is_reached_at_the_smallest_change(name):
    model, images, labels, *_ = linear_problem(2)
    short = {"fab": {"norm": "l2", "iterations": "20"}, "cw": {"iterations": "100", "constants": "6"}}
    method = configure(ATTACKS[name], short.get(name, {}))
    untargeted = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    targeted = ostrich.attacks.attack(method, model, images, Targeted(1 - labels))
    assert targeted.success.all()
    # With two classes, leaving the one is reaching the other.
    assert torch.allclose(targeted.distance_float, untargeted.distance_float, rtol=0.05)


def test_pixels_at_0_and_1_move_under_cw():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 3 * 8 * 8, generator=generator).double()
    model = nets.linear(weights, (8, 8), 3)
    images = nets.random_images(8, (8, 8), dtype=torch.float64).round()
    result = ostrich.attacks.attack(
        A.CW(iterations=100, constants=6), model, images, Untargeted(nets.predictions(model, images))
    )
    assert result.success.all()
    assert (result.float_images != images).flatten(1).any(1).all()


@pytest.mark.parametrize("aimed", ["label", "target"])
def test_successes_of_cw_have_the_margin_that_is_asked_for(aimed):
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 3 * 8 * 8, generator=generator).double()
    model, images = nets.linear(weights, (8, 8), 3), nets.random_images(8, (8, 8), dtype=torch.float64)
    labels = nets.predictions(model, images)
    goal = Untargeted(labels) if aimed == "label" else Targeted((labels + 1) % 3)
    found = {}
    for confidence in (0.0, 2.0):
        method = A.CW(iterations=100, constants=6, confidence=confidence)
        result = ostrich.attacks.attack(method, model, images, goal)
        assert result.success.all()
        past = -missed(goal, model(result.images))
        assert past.min() >= confidence
        assert past.min() < confidence + 1
        found[confidence] = result.distance
    assert (found[2.0] > found[0.0]).all()


def test_cw_comes_to_the_probability_that_is_asked_for():
    model, images, labels, *_ = linear_problem(4, count=4)
    goal = Confident((labels + 1) % 4, 0.9)
    result = A.attack(A.CW(iterations=60, constants=5, learning_rate=0.05), model, images, goal)
    assert result.success.all()
    probability = model(result.float_images).softmax(1).gather(1, goal.classes[:, None])
    assert probability.min() >= 0.9
    assert probability.max() < 0.95
    at = torch.tensor([[1.0, math.log(9) + math.log(math.e + 1), 0.0]])  # 9 : 1
    assert missed(Confident(torch.tensor([1]), 0.9), at).abs().item() < 1e-6


@pytest.mark.parametrize("kind", ["untargeted", "targeted"])
def test_what_is_at_the_goal_before_is_no_success_of_cw_whatever_the_margin(kind):
    model, images, labels, *_ = linear_problem(6)
    second = model(images).topk(2).indices[:, 1]
    goals = {"untargeted": Untargeted(torch.where(torch.arange(12) < 9, second, labels))}
    goals["targeted"] = Targeted(torch.where(torch.arange(12) < 9, labels, second))
    result = A.attack(A.CW(iterations=20, constants=6, confidence=100.0), model, images, goals[kind])
    assert result.attacked.tolist() == 9 * [False] + 3 * [True]
    assert not result.success[:9].any()
    assert result.distance[:9].isnan().all()


class Faint(nn.Module):
    """A network with slopes 2^80 times smaller than its answers say: their squares are 0 in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * 1
        if x.requires_grad:
            x.register_hook(lambda slope: slope * FAINT)
        return self.network(x)


@pytest.mark.parametrize(
    "method",
    [
        A.FGSM(norm="l2", eps=0.5),
        A.PGD(norm="l2", eps=0.5, steps=5),
        A.MIM(norm="l2", eps=0.5, steps=5),
        A.APGD(norm="l2", eps=0.5, steps=5),
        A.DDN(steps=5),
    ],
    ids=lambda method: method.name,
)
def test_slopes_whose_squares_vanish_lead_as_others_do(method):
    weights = torch.randn(4, 3 * 8 * 8, generator=torch.Generator().manual_seed(0)) / 4
    model, images = nets.linear(weights, (8, 8), 3), nets.random_images(6, (8, 8))
    goal, faint = Untargeted(nets.predictions(model, images)), ostrich.load(Faint(model.network), size=8)
    plain, found = (A.attack(method, one, images, goal, precision="exact") for one in (model, faint))
    assert (found.images != images).any()
    assert torch.equal(found.images, plain.images)


@pytest.mark.parametrize("method", [A.DeepFool(steps=10), A.FAB(norm="l2", iterations=5)])
def test_smallest_changes_know_no_scale_of_the_scores(method):
    weights = torch.randn(4, 3 * 8 * 8, generator=torch.Generator().manual_seed(0))
    images = nets.random_images(6, (8, 8))
    model, faint = nets.linear(weights, (8, 8), 3), nets.linear(weights * FAINT, (8, 8), 3)
    goal = Untargeted(nets.predictions(model, images))
    plain, found = (A.attack(method, one, images, goal, precision="exact") for one in (model, faint))
    assert plain.success.all()
    assert torch.equal(found.images, plain.images)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_plane_of_any_scale_is_the_same_plane(norm):
    generator = torch.Generator().manual_seed(0)
    points, slope = torch.rand(5, 7, generator=generator), torch.randn(5, 7, generator=generator)
    level = torch.randn(5, generator=generator)
    plain = to_plane(norm, points, slope, level)
    for scale in (FAINT, 1 / FAINT):
        assert torch.equal(to_plane(norm, points, slope * scale, level * scale), plain)
    walls = (-level.sign()[:, None] * slope > 0).float() - points  # where the plane is outside the box
    assert torch.equal(to_plane(norm, points, slope * FAINT, level), walls)


@pytest.mark.parametrize("seed", range(6))
def test_the_projection_onto_a_plane_in_the_box_is_the_smallest_change(seed):
    """Against SLSQP (L2) and a linear program (Linf)."""
    rng = np.random.default_rng(seed)
    size = 7
    point, slope = rng.random(size), rng.normal(size=size)
    goal = rng.random(size)  # a point of the plane, so that it meets the box
    offset = -slope @ goal
    here, along = torch.tensor(point)[None], torch.tensor(slope)[None]
    found = {
        norm: to_plane(norm, here, along, torch.tensor([slope @ point + offset]))[0].numpy()
        for norm in ("l2", "linf")
    }
    for change in found.values():
        assert abs(slope @ (point + change) + offset) < 1e-9
        assert ((point + change > -1e-12) & (point + change < 1 + 1e-12)).all()
    nearest = minimize(
        lambda z: ((z - point) ** 2).sum(),
        goal,
        bounds=[(0, 1)] * size,
        constraints={"type": "eq", "fun": lambda z: slope @ z + offset},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.linalg.norm(found["l2"]) <= np.sqrt(nearest.fun) + 1e-6
    # minimise t with |z - point| <= t
    eye, ones = np.eye(size), -np.ones((size, 1))
    program = linprog(
        np.r_[np.zeros(size), 1.0],
        A_ub=np.block([[eye, ones], [-eye, ones]]),
        b_ub=np.r_[point, -point],
        A_eq=np.r_[slope, 0.0][None],
        b_eq=[-offset],
        bounds=[(0, 1)] * size + [(0, None)],
    )
    assert np.abs(found["linf"]).max() <= program.fun + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_the_l1_projection_is_onto_ball_and_box_at_once(seed):
    """Against SLSQP in split variables."""
    rng = np.random.default_rng(seed)
    size = 6
    origin, point, eps = rng.random(size), rng.normal(size=size), 0.7
    shape = (1, 1, 1, size)
    found = (
        L1(eps).project(torch.tensor(point).view(shape), torch.tensor(origin).view(shape)).flatten().numpy()
    )
    assert np.abs(found - origin).sum() <= eps + 1e-6
    exact = minimize(
        lambda v: ((origin + v[:size] - v[size:] - point) ** 2).sum(),
        np.full(2 * size, 0.01),
        bounds=[(0, 1 - o) for o in origin] + [(0, o) for o in origin],
        constraints={"type": "ineq", "fun": lambda v: eps - v.sum()},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert ((found - point) ** 2).sum() <= exact.fun + 1e-5


# APGD ---------------------------------------------------------------------------------------------


def test_checkpoints_are_the_papers():
    """Croce and Hein 2020, section 3.1: p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99."""
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(1) == (1,)


def test_the_ratio_of_differences_knows_neither_shift_nor_scale():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).double()
    difference = logits[:, 0] - logits[:, 1]
    plain = ratio(difference, logits)
    assert torch.allclose(ratio(3 * difference, 3 * logits - 40), plain)
    few = logits[:, :3]  # fewer classes than the ratio needs: the difference itself
    assert torch.equal(ratio(difference, few), difference)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_apgd_finds_the_optimum_of_a_linear_network(norm, loss):
    model, images, labels, by_l2, by_linf = linear_problem(5, 24)
    if norm == "l1":  # spend the budget on the largest slopes first, each value to its wall
        weights = model.network[1].weight.detach()
        needed = _smallest_l1(weights, images, labels)
    else:
        needed = by_l2 if norm == "l2" else by_linf
    eps = float(needed.median())
    if norm == "linf":  # a file changes by whole levels
        eps = round(eps * 255) / 255
    method = configure(A.APGD, {"norm": norm, "eps": str(eps), "loss": loss, "steps": "50"})
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    far = (needed / eps - 1).abs() > 0.06  # rounding to 8 bits costs a little of the budget
    assert torch.equal(result.success[far], (needed < eps)[far])
    assert 0 < result.success.sum() < 24


def _smallest_l1(weights, images, labels):
    found = []
    for x, y in zip(images.flatten(1), labels, strict=True):
        best = torch.inf
        for k in range(len(weights)):
            if k == y:
                continue
            slope = weights[k] - weights[y]
            gap = float(-(slope @ x))
            order = slope.abs().argsort(descending=True)
            room = torch.where(slope > 0, 1 - x, x)[order]
            gain = (room * slope.abs()[order]).cumsum(0)
            spent = room.cumsum(0)
            i = int((gain < gap).sum())
            before = (float(gain[i - 1]), float(spent[i - 1])) if i else (0.0, 0.0)
            best = min(best, before[1] + (gap - before[0]) / float(slope.abs()[order][i]))
        found.append(best)
    return torch.tensor(found, dtype=torch.float64)


# Score-based attacks ------------------------------------------------------------------------------


def test_one_pixel_finds_what_is_possible_and_nothing_else():
    """On a linear network the best colour of each pixel is 0 or 1, so the best pixel is known."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(2, 3 * 4 * 4, generator=generator).double()
    bias = -weights.sum(1) / 2  # the boundary passes through grey
    model = nets.linear(weights, (4, 4), 3, bias)
    images = nets.random_images(40, (4, 4), dtype=torch.float64)
    labels = nets.predictions(model, images)
    slope = (weights[1 - labels] - weights[labels]).view(-1, 3, 16)
    with torch.no_grad():
        logits = model(images)
    gap = (logits.gather(1, labels[:, None]) - logits.gather(1, 1 - labels[:, None]))[:, 0]
    gain = torch.where(slope > 0, slope * (1 - images.flatten(2)), -slope * images.flatten(2)).sum(1)
    best = gain.max(1).values - gap
    method = A.OnePixel(population=60, generations=30)
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    assert not result.success[best < 0].any()
    easy = best > 0.25 * gap.clamp_min(0.1)
    assert 5 < easy.sum() < 35
    assert result.success[easy].double().mean() > 0.9
    changed = (result.images != images).any(1).flatten(1).sum(1)
    assert (changed[result.success] == 1).all()
    assert torch.equal(result.distance[result.success], torch.ones_like(result.distance[result.success]))


@pytest.mark.parametrize("kind", [Untargeted, Targeted])
def test_one_pixel_ranks_candidates_where_the_network_is_certain(kind):
    """A factor of all logits changes no rank, though it makes all probabilities 1 in float64."""
    weights = torch.randn(2, 3 * 4 * 4, generator=torch.Generator().manual_seed(3)).double()
    images = nets.random_images(20, (4, 4), dtype=torch.float64)
    found = []
    for factor in (1, 1e5):
        model = nets.linear(factor * weights, (4, 4), 3, -factor * weights.sum(1) / 2)
        labels = nets.predictions(model, images)
        method = A.OnePixel(population=20, generations=10)
        goal = kind(labels if kind is Untargeted else 1 - labels)
        found.append(ostrich.attacks.attack(method, model, images, goal))
    assert 3 < found[0].success.sum() < 20
    assert torch.equal(found[0].images, found[1].images)


def test_painting_writes_the_pixels_that_a_candidate_names():
    images = torch.zeros(1, 3, 4, 5)
    candidate = torch.tensor([[[0.5, 0.99, 1.0, 0.5, 0.25], [0.0, 0.0, 0.1, 0.2, 0.3]]])
    found = painted(images, candidate)
    assert torch.equal(found[0, :, 2, 4], torch.tensor([255, 128, 64]) / 255)
    assert torch.equal((found != 0).any(1).nonzero(), torch.tensor([[0, 0, 0], [0, 2, 4]]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_asked_ahead_is_square_asked_one_by_one(norm):
    model = nets.small(dtype=torch.float64)
    images = nets.random_images(4, dtype=torch.float64)
    goal = Untargeted(nets.predictions(model, images))
    settings = {"norm": norm, "eps": "2/255" if norm == "linf" else "0.2", "queries": "120"}
    one, ahead = (
        ostrich.attacks.attack(configure(A.Square, settings | {"ahead": n}), model, images, goal)
        for n in ("1", "7")
    )
    assert torch.equal(one.success, ahead.success)
    assert torch.allclose(one.float_images, ahead.float_images, atol=1e-9)
    assert (ahead.forwards >= one.forwards).all()


def test_the_area_of_squares_halves_at_the_published_queries():
    at = {1: 0.8, 11: 0.4, 51: 0.2, 201: 0.1, 501: 0.05, 8001: 0.8 / 2**9}
    shares = share(torch.tensor(list(at)), 10000, 0.8)
    assert dict(zip(at, shares.tolist(), strict=True)) == at


def test_the_sides_of_squares_are_the_roots_of_their_areas():
    found = sides(1000, 0.5, 9 * 14)[torch.tensor([1, 2, 30, 900])]
    assert found.tolist() == [8, 6, 3, 0]  # of 63, 31.5, 7.9 and 0.1 pixels


def test_squares_lie_where_drawn_and_inside_the_image():
    height, width = 9, 14
    side = torch.tensor([20, 5, 3, 1, 9])  # the first is larger than the image
    drawn = torch.tensor([[0.0, 0.0], [0.99, 0.99], [0.5, 0.5], [0.99, 0.0], [0.3, 0.6]])
    before = torch.rand(5, 2, height, width)
    squares = Squares.at(drawn, side, height, width)
    changed = squares.paste(torch.where(squares.inside, -1.0, squares.cut(before)), before)
    for i, (top, left) in enumerate([(0, 0), (4, 9), (3, 6), (8, 0), (0, 3)]):
        expected = before[i].clone()
        expected[:, top : top + int(side[i]), left : left + int(side[i])] = -1
        assert torch.equal(changed[i], expected)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8])
def test_a_bump_is_two_opposite_heaps_of_length_1(side):
    pattern = bump(side)
    assert abs(float(pattern.norm()) - 1) < 1e-6
    assert (pattern[: side // 2] >= 0).all()
    assert (pattern[side // 2 :] <= 0).all()


# Decision-based attacks ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, a in ATTACKS.items() if hasattr(a, "queries")])
@pytest.mark.parametrize("queries", [45, 80])
def test_no_image_costs_more_than_its_queries(name, queries):
    model, images = nets.small(), nets.random_images(5)
    extra = {"population": "8"} if name == "one-pixel" else {}
    if name == "autoattack":
        pytest.skip("its queries are those of one member")
    method = configure(ATTACKS[name], {"queries": str(queries)} | extra)
    result = ostrich.attacks.attack(method, model, images, Untargeted(nets.predictions(model, images)))
    assert result.forwards.max() <= queries
    assert result.forwards.max() > queries / 2


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("queries", [25, 40, 60])
@pytest.mark.parametrize("name", ["square", "boundary", "hopskipjump", "rays"])
def test_verifications_are_queries_too(name, queries, draws):
    """Of random answers, whose successes are drawn twice as often as clean images, as well."""
    model, images, _ = strongest_channel()
    model = ostrich.load(model.network, size=(7, 7), draws=draws)
    method = configure(ATTACKS[name], {"queries": str(queries)})
    result = ostrich.attacks.attack(method, model, images, Untargeted(nets.predictions(model, images)))
    assert result.forwards.max() <= queries
    assert result.forwards.max() > queries / 2


def test_hopskipjump_comes_near_the_optimum_of_a_linear_network():
    model, images, labels, by_l2, _ = linear_problem(2)
    result = ostrich.attacks.attack(A.HopSkipJump(queries=3000), model, images, Untargeted(labels))
    ratios = result.distance_float / by_l2
    assert result.success.all()
    assert (ratios >= 1 - 1e-9).all()
    assert ratios.median() < 1.25


@pytest.mark.parametrize("name", ["boundary", "hopskipjump"])
def test_one_failed_start_stops_no_other(name):
    """The second image's target is a class that nothing reaches; the others' are within reach."""

    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nets.small(dtype=torch.float64)

        def forward(self, x):
            return torch.cat([self.inner(x), torch.full_like(x[:, 0, 0, :1], -1e3)], 1)

    model = ostrich.Classifier(Deaf(), size=(16, 16))
    images = nets.random_images(8, dtype=torch.float64)
    predictions = nets.predictions(model, images)
    first = int(predictions[0])
    other = next(int(p) for p in predictions if int(p) != first)
    chosen = images[[0, 1, 2]]
    targets = torch.where(predictions[:3] == other, first, other)
    targets[1] = 5
    method = configure(ATTACKS[name], {"queries": "200"})
    result = ostrich.attacks.attack(method, model, chosen, Targeted(targets), starts=images)
    assert result.success.tolist() == [True, False, True]
    assert torch.isfinite(result.images).all()


# RayS, whose optimum on the strongest of three channel means is known -------------------------------


class StrongestChannel(nn.Module):
    """Whole numbers without a slope: the class whose channel has the largest mean gets one vote."""

    def forward(self, x):
        means = x.mean((2, 3))
        return torch.nn.functional.one_hot(means.argmax(1), means.shape[1]).to(x)


def strongest_channel(count: int = 9):
    """The classifier, images whose strongest channel leads by some levels, and half their leads in levels."""
    images = nets.random_images(count, (7, 7)).mul(16).round()
    for i in range(count):
        images[i, i % 3] += 90 + 3 * i
        images[i, (i + 1) % 3] += 90
        images[i, (i + 2) % 3] += 80
    images = images / 255
    means = images.double().mean((2, 3)).sort(1).values
    return ostrich.Classifier(StrongestChannel(), size=(7, 7)), images, 255 * (means[:, 2] - means[:, 1]) / 2


@pytest.mark.parametrize("levels", [2, 5, 8, 13])
def test_rays_breaks_what_the_closed_form_breaks_without_scores(levels):
    model, images, half_leads = strongest_channel()
    labels = nets.predictions(model, images)
    method = A.RayS(threat=ostrich.Linf(levels / 255))
    assert method.stop == "first"
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    assert result.success.tolist() == (half_leads < levels).tolist()


def test_the_files_of_rays_are_the_nearest_there_are():
    model, images, half_leads = strongest_channel()
    result = ostrich.attacks.attack(A.RayS(), model, images, Untargeted(nets.predictions(model, images)))
    assert torch.equal((result.distance * 255).round(), half_leads.ceil().to(images.dtype))
    assert (result.forwards < 10000).all(), "a round that gained nothing is the last"


def test_rays_comes_to_the_optimum_of_a_linear_network():
    model, images, labels, _, by_linf = linear_problem(2)
    result = ostrich.attacks.attack(A.RayS(), model, images, Untargeted(labels))
    ratios = result.distance_float / by_linf
    assert ((ratios >= 1 - 1e-9) & (ratios <= 1.01)).all()


@pytest.mark.parametrize("values", [1, 2, 3, 12, 192])
def test_the_blocks_of_rays_halve_down_to_single_values(values):
    one = torch.zeros(1, 1, 1, values)
    masks = [block(torch.tensor([turn]), one).flatten() for turn in range(turns(values))]
    assert not masks[0].any()
    assert masks[1].all()
    at, size = 1, 1
    while size < values:  # 1, 2, 4, ... blocks that share out all values
        assert torch.stack(masks[at : at + size]).sum(0).eq(1).all()
        at, size = at + size, 2 * size
    assert torch.equal(torch.stack(masks[at:]), torch.eye(values, dtype=torch.bool))


# The ensemble -------------------------------------------------------------------------------------


def test_the_ensemble_breaks_what_any_member_breaks_and_says_which():
    model, images = nets.small(3), nets.random_images(24, seed=5)
    goal = Untargeted(nets.predictions(model, images))
    method = A.AutoAttack(threat=ostrich.Linf(3 / 255), iterations=8, queries=40)
    result = ostrich.attacks.attack(method, model, images, goal, precision="exact")
    assert 0 < result.success.sum() < 24
    assert torch.equal(result.success, result.found_by >= 0)
    for member in method.members:
        alone = ostrich.attacks.attack(member, model, images, goal, precision="exact")
        assert not (alone.success & ~result.success).any()
    standing = ~result.success
    assert (result.backwards[standing] >= 8 * (1 + 4 + 4)).all()  # five classes: four targets


def test_what_fools_a_surrogate_is_tried_first():
    images, labels = ostrich.data.toybox("test", limit=8)
    model = ostrich.load("zoo:toybox-resnet20")
    with_itself = A.AutoAttack(threat=ostrich.Linf(8 / 255), surrogate="zoo:toybox-resnet20")
    result = ostrich.attacks.attack(with_itself, model, images, Untargeted(labels), labels=labels)
    right = result.clean_predictions == labels
    assert with_itself.titles[0] == "transfer"
    assert (result.found_by[right] == 0).all()
    assert result.backwards.sum() == 0  # all gradients were the surrogate's
    digits = A.AutoAttack(surrogate="zoo:digits-cnn")
    with pytest.raises(ostrich.InputError, match="has 3 and 10"):
        ostrich.attacks.attack(digits, model, images, Untargeted(labels))


BIASED = """
import torch

def model():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    network[0].weight.data = 100 * torch.eye(3).view(3, 3, 1, 1)
    network[0].bias.data = torch.tensor([50.0, 0.0, 0.0])
    return network
"""


def test_what_a_surrogate_gets_wrong_before_is_moved_too(tmp_path):
    """Its first class has a lead that no image makes up for; its slopes are right all the same."""
    (tmp_path / "biased.py").write_text(BIASED)
    model, images, half_leads = strongest_channel()
    labels = nets.predictions(model, images)
    levels = int(half_leads.max()) + 1
    method = Transfer(threat=ostrich.Linf(levels / 255), surrogate=f"{tmp_path / 'biased.py'}:model")
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    assert result.success[labels > 0].all()


def test_a_surrogate_that_is_another_now_is_another_question(tmp_path):
    file = tmp_path / "biased.py"
    file.write_text(BIASED)
    model, images, _ = strongest_channel()
    method = A.AutoAttack(surrogate=f"{file}:model", preset="fast", iterations=1, queries=3)
    goal = Untargeted(nets.predictions(model, images))
    for _ in range(2):  # the second is found again
        A.attack(method, model, images, goal, shards=tmp_path / "shards")
    file.write_text(BIASED.replace("100 *", "-100 *"))
    with pytest.raises(OtherComputation, match="surrogate"):
        A.attack(method, model, images, goal, shards=tmp_path / "shards")


@pytest.mark.parametrize("size", [(37, 53)], ids=["37x53"])
@pytest.mark.parametrize(
    "name", ["mim", "apgd", "deepfool", "fab", "one-pixel", "square", "hopskipjump", "rays"]
)
def test_images_that_are_not_square_fall_too(name, size):
    model = nets.small(size=size)
    images = nets.random_images(4, size)
    goal = Untargeted(nets.predictions(model, images))
    short = {
        "one-pixel": {"eps": "300", "population": "8", "generations": "10"},
        "square": {"queries": "300"},
    }
    short |= {"fab": {"iterations": "5"}, "hopskipjump": {"queries": "300"}, "rays": {"queries": "300"}}
    settings = short.get(name, {})
    result = ostrich.attacks.attack(
        configure(ATTACKS[name], settings), model, images, goal, precision="exact"
    )
    assert result.success.all()


def test_a_number_of_pixels_is_a_threat_model():
    images = torch.rand(2, 3, 4, 4)
    other = images.clone()
    other[0, 0, 1, 1] += 0.1
    other[0, 2, 1, 1] += 0.2
    other[0, 1, 3, 0] += 0.05
    threat = Pixels(1)
    assert threat.distance(other, images).tolist() == [2, 0]
    assert (threat.project(other.clamp(0, 1), images) != images).any(1).nonzero().tolist() == [[0, 1, 1]]
    with pytest.raises(ostrich.InputError, match="whole"):
        Pixels(1.5)


def test_a_budget_between_two_levels_ends_an_attack_at_its_first_success():
    model, images = nets.small(), nets.random_images(12)
    goal = Untargeted(nets.predictions(model, images))
    method = A.PGD(threat=ostrich.Linf(0.0501), steps=30, random_start=False)
    result = ostrich.attacks.attack(method, model, images, goal, precision="exact")
    assert result.success.sum() > 6
    assert (result.backwards[result.success] < 30).double().mean() > 0.8
