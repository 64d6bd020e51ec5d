"""Every attack on a network whose robust accuracy is known exactly, at nine budgets of every norm it knows.

The class is the strongest channel mean. With S the sum of levels by which it leads the next and n the values
of both channels, an image falls to the cheapest whole levels that sum up to S + 1: spread evenly over the n
values (Linf, L2), in any way (L1). That is what a file can hold; no value comes near 0 or 255.

Cross-entropy is not what decides: its gradient raises all other classes, in L2 by their probabilities, and
leaves up to two of twelve too many. No attack follows it alone there unless told to.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import runpy
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ostrich
from ostrich.attacks import (
    APGD,
    DDN,
    FGSM,
    INPUT_SPECIFIC,
    MIM,
    PGD,
    Confident,
    DeepFool,
    InputSpecificAttack,
    OnePixel,
    Square,
    Targeted,
    Unbounded,
    Untargeted,
)
from ostrich.attacks.threats import NORMS, TOLERANCE
from ostrich.cli.main import run
from ostrich.images import read_image
from ostrich.models.answers import NO_ANSWER
from ostrich.runtime.runs import read_run

SIZE, SCALE, POINTS = 8, 20.0, 9
VALUES = SIZE * SIZE  # of a channel
QUICK: dict[str, dict[str, Any]] = {  # settings that keep the tests short
    "square": {"queries": 600, "ahead": 16},
    "autoattack": {"iterations": 15, "queries": 50},
    "apgd": {"steps": 30},
    "rays": {"queries": 2000},
    "cw": {"iterations": 60},
    "fab": {"iterations": 15},
}
OTHERS = {  # no attack by scores or gradients within one of the three norms
    "one-pixel": "one pixel moves no mean far enough",
    "printed": "what is judged is a photograph",
    "boundary": "sees labels only",
    "hopskipjump": "sees labels only",
}


def colour(scale: float = SCALE) -> ostrich.Classifier:
    weights = torch.eye(3).repeat_interleave(VALUES, 1) * scale / VALUES
    return nets.linear(weights, (SIZE, SIZE), 3)


def images() -> tuple[Tensor, Tensor]:
    """Twelve grainy images whose strongest channel leads by 6 to 28 levels, and that channel."""
    random = np.random.default_rng(7)
    labels = np.arange(12) % 3
    levels = 100 + random.normal(0, 8, (12, 3, SIZE, SIZE))
    levels[np.arange(12), labels] += np.linspace(6, 28, 12)[:, None, None]
    return torch.from_numpy(levels.round()).float() / 255, torch.from_numpy(labels)


def breaking(x: Tensor) -> dict[str, Tensor]:
    """The distance (N,) from which on some file is taken for another class."""
    sums = (x.double() * 255).round().sum((2, 3)).sort(1).values
    levels = sums[:, -1] - sums[:, -2] + 1
    count = 2 * x[0, 0].numel()
    each, more = levels // count, levels % count
    square = (count - more) * each**2 + more * (each + 1) ** 2
    return {"linf": (each + (more > 0)) / 255, "l2": square.sqrt() / 255, "l1": levels / 255}


def budgets(norm: str) -> list[float]:
    true = breaking(images()[0])[norm]
    found = torch.linspace(true.min().item(), true.max().item(), POINTS, dtype=torch.float64)
    return ((found * 255).round() / 255 if norm == "linf" else found).tolist()


def standing(distance: Tensor, eps: float) -> int:
    return int((distance > eps * (1 + TOLERANCE)).sum())


def attacked(method: InputSpecificAttack) -> ostrich.Result:
    x, labels = images()
    return ostrich.attack(method, colour(), x, Untargeted(labels), labels=labels)


def curve(make: Callable[[Any], InputSpecificAttack], norm: str, stop: str | None = None) -> list[int]:
    """How many images stand at each of the budgets."""
    smallest = make(Unbounded(norm)) if stop is None else None
    if smallest is not None and smallest.stop == "minimum":
        result = attacked(smallest)
        distance = torch.where(result.success, result.distance.double(), math.inf)
        return [standing(distance, eps) for eps in budgets(norm)]
    return [int((~attacked(make(NORMS[norm](eps))).success).sum()) for eps in budgets(norm)]


def cases() -> list[Any]:
    """Attack, norm, settings and, where successes within a budget are asked for, that."""
    found = []
    for name, kind in INPUT_SPECIFIC.items():
        if name in OTHERS or not kind.needs_data:
            continue
        known = {field.name for field in fields(kind)}
        losses = (None, "dlr") if name == "apgd" else (None, "margin") if "loss" in known else (None,)
        stops = (None, "first") if kind().stop == "minimum" and "stop" in known else (None,)
        for norm, loss, stop in itertools.product(kind.norms, losses, stops):
            given = {key: word for key, word in (("loss", loss), ("stop", stop)) if word}
            words = "-".join((name, norm, *given.values()))
            found.append(pytest.param(name, norm, QUICK.get(name, {}) | given, stop, id=words))
    return found


@pytest.mark.parametrize(("name", "norm", "given", "stop"), cases())
def test_as_many_stand_as_the_closed_form_says(name, norm, given, stop):
    true = breaking(images()[0])[norm]
    right = [standing(true, eps) for eps in budgets(norm)]
    assert right[0] >= 11
    assert right[-1] == 0
    found = curve(lambda threat: INPUT_SPECIFIC[name](threat=threat, **given), norm, stop)
    assert all(0 <= have - least <= 1 for have, least in zip(found, right, strict=True)), (found, right)


@pytest.mark.parametrize("scale", [200, 400, 600, 900, 2000, 1e5])
@pytest.mark.parametrize("method", [FGSM, PGD, MIM])
def test_no_margin_hides_half_of_the_slope(method, scale):
    """From 36.7 on the label's probability is one in float64: its slope is gone, the others' are not."""
    x, labels = images()
    for eps in budgets("linf"):
        found = ostrich.attack(
            method(threat=ostrich.Linf(eps)), colour(scale), x, Untargeted(labels), labels=labels
        )
        right = standing(breaking(x)["linf"], eps)
        assert 0 <= int((~found.success).sum()) - right <= 1, (eps, right)


@pytest.mark.parametrize("method", [FGSM, PGD, MIM, APGD])
def test_in_l2_cross_entropy_alone_shares_the_budget_among_all_other_classes(method):
    """So it stays a choice, and is none where nothing is said."""
    kept = [standing(breaking(images()[0])["l2"], eps) for eps in budgets("l2")]
    found = curve(lambda threat: method(threat=threat, loss="ce", **QUICK.get(method.name, {})), "l2")
    assert max(a - b for a, b in zip(found, kept, strict=True)) >= 2


@pytest.mark.parametrize("method", [PGD, MIM, APGD, DDN])
@pytest.mark.parametrize("kind", ["untargeted", "targeted", "confident"])
def test_a_loss_is_followed_for_half_of_the_steps(method, kind):
    """Where nothing is chosen: in L2 away from a label; towards a class, what cross-entropy alone finds."""
    x, labels = images()
    other = (labels + 1) % 3
    goals = {
        "untargeted": Untargeted(labels),
        "targeted": Targeted(other),
        "confident": Confident(other, 0.5),
    }
    threat = Unbounded() if method is DDN else NORMS["l2"](budgets("l2")[4])
    usual, half, whole = (
        ostrich.attack(method(threat=threat, steps=8, loss=loss), colour(), x, goals[kind], labels=labels)
        for loss in (None, "ce-then-margin", "ce")
    )
    alike = half if kind == "untargeted" else whole
    assert torch.equal(usual.float_images, alike.float_images)
    assert not torch.equal(half.float_images, whole.float_images)


def test_gates_of_a_check_in_l2_judge_the_closed_form():
    x, labels = images()
    true = breaking(x)["l2"]
    asked = [float(f"{eps:.4f}") for eps in budgets("l2")[2:8:2]]
    gates = [f"l2:{eps}={(standing(true, eps) + 1.5) / 12}" for eps in asked]
    found = ostrich.check(colour(), (x, labels), only="robustness", fail_under=gates)
    figures = {one["eps"]: one for one in found.figures["robustness"] if one["norm"] == "l2"}
    for eps in asked:
        assert 0 <= round(12 * figures[eps]["robust_accuracy"]) - standing(true, eps) <= 1
        assert figures[eps]["bound"] == "upper"
    assert [gate["passed"] for gate in found.gates] == [False, False, False]


def test_without_a_way_left_a_flat_loss_is_no_fault():
    """CW's loss has no slope beyond the boundary: within a budget, what stands is known to stand."""
    result = attacked(INPUT_SPECIFIC["cw"](threat=NORMS["l2"](0.2), iterations=60))
    assert not result.success.all()
    assert not result.zero_gradient.any()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_goes_to_no_class_that_is_switched_off(norm):
    """Nor to the label, which is left out of the others by a score of minus infinity as they are."""
    x, labels = images()
    weights = F.pad(torch.eye(3).repeat_interleave(VALUES, 1) * SCALE / VALUES, (0, 0, 0, 2))
    network = nets.linear(weights, (SIZE, SIZE), 3, torch.tensor([0, 0, 0, -math.inf, -math.inf]))
    result = ostrich.attack(DeepFool(threat=Unbounded(norm)), network, x, Untargeted(labels), labels=labels)
    assert result.success.all()
    assert (result.distance <= 1.02 * breaking(x)[norm]).all()


class Copied(torch.nn.Module):
    """Mean channels, scaled; some of them more than once."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return SCALE * x.mean((2, 3))[:, self.channels]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_goes_to_no_class_that_moves_with_the_label(norm):
    """Every class is there twice: the label's double ties with it and has no boundary."""
    x, labels = images()
    method = DeepFool(threat=Unbounded(norm))
    doubled = ostrich.load(Copied(0, 1, 2, 0, 1, 2), size=SIZE)
    result = ostrich.attack(method, doubled, x, Untargeted(labels), labels=labels)
    assert result.success.all()
    assert (result.distance <= 1.02 * breaking(x)[norm]).all()
    alike = ostrich.attack(method, ostrich.load(Copied(0, 0, 0), size=SIZE), x, Untargeted(0 * labels))
    assert alike.zero_gradient.all()
    assert alike.figures["bound"] is None


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_leaves_the_label_where_another_class_ties_with_it(norm):
    x = torch.full((1, 3, SIZE, SIZE), 100 / 255)
    method = DeepFool(threat=Unbounded(norm))
    result = ostrich.attack(method, ostrich.load(Copied(0, 1, 2), size=SIZE), x, torch.tensor([0]))
    assert result.success.all()
    assert result.backwards.max() < 20  # it does not stand still for fifty steps


class NoSlope(torch.autograd.Function):
    """The value, with a gradient of NaN."""

    @staticmethod
    def forward(context, scores):
        return scores.clone()

    @staticmethod
    def backward(context, gradient):
        return torch.where(gradient != 0, torch.nan, 0)


def test_one_class_without_a_finite_slope_makes_no_others_of_no_use():
    x, labels = images()
    plain = colour().network

    class Spoilt(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            scores = plain(x)
            return torch.cat([scores, NoSlope.apply(scores[:, :1] - 1)], 1)

    result = ostrich.attack(DeepFool(), ostrich.load(Spoilt(), size=SIZE), x, Untargeted(labels))
    assert result.success.all()
    assert not result.zero_gradient.any()


# On the networks of the shared kit ----------------------------------------------------------------


@pytest.fixture(scope="module")
def kit(shared, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("kit")
    folders = runpy.run_path(str(shared / "strangers/folders.py"))  # images and names alone
    folders["class_folders"](out / "named", folders["COLOURS"])
    folders["names"](out)
    return out


def rows_of(shared: Path, kit: Path, out: Path, network: str, *words: str) -> list[dict[str, str]]:
    """The rows of images.csv after `ostrich attack`, of the images that were right before."""
    names = "classes-five.txt" if network == "masked_classes" else "classes.txt"
    model = f"{shared / 'strangers/networks.py'}:{network}"
    data = [f"folder:{kit / 'named'}", "--size", "16", "--classes", str(kit / names)]
    assert run(["attack", words[0], model, *data, *words[1:], "--out", str(out)]) == 0
    with (out / "images.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["label"] == row["clean_prediction"]]


@pytest.mark.shared
@pytest.mark.parametrize("network", ["log_softmax_saturated", "masked_classes", "in_a_dict", "in_an_object"])
@pytest.mark.parametrize(
    ("words", "norm"),
    [
        ("deepfool --set norm=l2", "l2"),
        ("deepfool --set norm=linf", "linf"),
        ("fab --set norm=linf --set iterations=20", "linf"),
        ("fab --set norm=l2 --set iterations=20", "l2"),
        ("ddn", "l2"),
        ("lbfgs", "l2"),
        ("cw --set iterations=60", "l2"),
    ],
)
def test_smallest_changes_whatever_is_around_the_network(shared, kit, tmp_path, network, words, norm):
    rows = rows_of(shared, kit, tmp_path / "run", network, *words.split())
    assert len(rows) == 18
    clean = torch.stack([read_image(tmp_path / "run" / row["clean_file"]) for row in rows])
    true = breaking(clean)[norm]
    found = torch.tensor([float(row["distance"]) if row["success"] == "true" else math.inf for row in rows])
    for eps in torch.linspace(true.min().item(), true.max().item(), POINTS, dtype=torch.float64).tolist():
        eps = (1 + 1e-5) * eps  # a distance is written with six digits
        assert 0 <= standing(found, eps) - standing(true, eps) <= 1


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:.*quant")  # torch moves it to another package
@pytest.mark.parametrize("network", ["no_gradient", "hard_vote", "coarse_input", "static_int8"])
@pytest.mark.parametrize("name", ["cw", "fab", "ddn", "deepfool", "lbfgs"])
def test_a_smallest_change_that_had_no_gradient_is_not_known(shared, kit, tmp_path, capsys, network, name):
    assert not any(row["success"] == "true" for row in rows_of(shared, kit, tmp_path / "run", network, name))
    results = json.loads((tmp_path / "run/run.json").read_text())["results"]
    assert (results["bound"], results["zero_gradient"]) == (None, 18)
    told = " ".join(capsys.readouterr().out.split())
    assert "not known, at most 1: 18 images stand whose gradient was zero or not finite" in told


@pytest.mark.shared
@pytest.mark.parametrize("network", ["noisy", "dropout_in_evaluation"])
@pytest.mark.parametrize("words", ["pgd", "square --set queries=600", "rays --set queries=200"])
def test_a_claimed_file_fools_a_random_network_in_most_later_draws(shared, kit, tmp_path, network, words):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows = rows_of(shared, kit, tmp_path / "run", network, *words.split(), "--set", "eps=16/255")
        claimed = [row for row in rows if row["success"] == "true"]
        assert claimed
        files = torch.stack([read_image(tmp_path / "run" / row["adversarial_file"]) for row in claimed])
        model = ostrich.load(f"{shared / 'strangers/networks.py'}:{network}", size=16)
        with torch.no_grad():
            draws = torch.stack([model.network(files).argmax(1) for _ in range(100)])
    labels = torch.tensor([int(row["label"]) for row in claimed])
    assert ((draws != labels).double().mean(0) > 0.5).all()


class Unanswered(torch.nn.Module):
    """The classifier `colour`, without an answer in fp32 or bf16 where red is strongest or as strong."""

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.eye(3).repeat_interleave(VALUES, 1) * SCALE / VALUES
        scores = F.linear(x.flatten(1), weights)
        return torch.where((scores.argmax(1) == 0)[:, None], math.nan, scores)


@pytest.mark.parametrize("method", [PGD(eps=4 / 255, random_start=False), APGD(eps=4 / 255, steps=10)])
def test_what_bf16_rounds_away_is_asked_again(monkeypatch, method):
    """Two means that are equal in bf16: there the network has no answer, and its gradient is not a number."""
    monkeypatch.setattr("ostrich.models.fastpath.gains_by_bf16", lambda device: True)
    x = torch.tensor([107.0, 107.0, 90.0]).view(1, 3, 1, 1).repeat(2, 1, SIZE, SIZE)
    x[:, 0, ::2] -= 1  # half a level less red
    x[1, 1] += 30  # stands whatever is done
    x /= 255
    classifier = ostrich.load(Unanswered(), size=SIZE)
    red, green, _ = (SCALE * x[0].mean((1, 2))).bfloat16()
    assert red == green
    found = ostrich.attacks.attack(method, classifier, x, Untargeted(torch.tensor([1, 1])))
    assert found.success.tolist() == [True, False]
    assert not found.zero_gradient.any()
    assert int(found.predictions[0]) == NO_ANSWER


@pytest.mark.shared
def test_no_answer_after_a_change_is_a_success(shared, kit, tmp_path):
    rows = rows_of(shared, kit, tmp_path / "run", "not_a_number", "pgd", "--set", "eps=8/255")
    clean = torch.stack([read_image(tmp_path / "run" / row["clean_file"]) for row in rows])
    kept = sum(row["success"] != "true" for row in rows)
    assert (len(rows), kept) == (12, standing(breaking(clean)["linf"], 8 / 255))


def test_square_walks_on_where_scores_are_steps():
    """Small squares move no score of few digits; only one after another they do."""
    x, labels = images()
    flat = ostrich.load(lambda batch: batch.new_tensor([[0.0, 1, 0], [0, 0, 1]])[: len(batch)], size=SIZE)
    seen = []
    method = Square(eps=8 / 255, queries=30)
    goal = Untargeted(labels[1:3])
    ostrich.attacks.attack(method, flat, x[1:3], goal, watch=lambda _, state: seen.append(state.images[0]))
    changed = [not torch.equal(a, b) for a, b in itertools.pairwise(seen)]
    assert sum(changed) > len(changed) / 2


class Rounded(torch.nn.Module):
    """The classifier `colour`, whose scores are rounded to steps that many levels of a whole channel move."""

    def __init__(self, ahead: float) -> None:
        super().__init__()
        self.step = ahead * SCALE / 255

    def forward(self, x: Tensor) -> Tensor:
        scores = F.linear(x.flatten(1), torch.eye(3).repeat_interleave(VALUES, 1) * SCALE / VALUES)
        return (scores / self.step).round() * self.step


@pytest.mark.parametrize("ahead", [1, 8])
@pytest.mark.parametrize("levels", [0.25, 0.5])
def test_square_asks_for_large_changes_where_small_ones_move_no_score(levels, ahead):
    """Within 300 queries as many fall as the closed form says, to what a step hides of the lead."""
    x, labels = images()
    network = ostrich.load(Rounded(levels), size=SIZE)
    true = breaking(x)["linf"]
    for eps in (6 / 255, 10 / 255):
        result = ostrich.attack(Square(eps=eps, queries=300, ahead=ahead), network, x, labels)
        least, most = (standing(true + sign * 0.5 / 255, eps) for sign in (-1, 1))
        assert least <= int((~result.success).sum()) <= most
        alone = ostrich.attack(Square(eps=eps, queries=300), network, x, labels)
        assert torch.equal(result.success, alone.success)


def test_where_every_query_moves_the_margin_square_asks_for_no_shift():
    x = images()[0].double()
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 3 * VALUES, generator=random, dtype=torch.float64)
    network = ostrich.load(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * VALUES, 3)).double(), size=SIZE
    )
    with torch.no_grad():
        network.network[1].weight.copy_(weights)
    labels = network.predict(x).argmax(1)
    shifts = []
    found = ostrich.attacks.attack(
        Square(eps=0.1 / 255, queries=100),
        network,
        x,
        Untargeted(labels),
        watch=lambda _, state: shifts.append(state.shifts.clone()),
    )
    assert not found.success.all()
    assert all((one == -1).all() for one in shifts)


@pytest.mark.slow
def test_a_check_follows_the_gradients_of_a_surrogate():
    """A function of scores has none; judged is the function, by the closed form."""
    x, labels = (part[::3] for part in images())
    function = ostrich.load(colour().predict, size=SIZE)
    eps = budgets("linf")[4]
    kept = standing(breaking(x)["linf"], eps)
    asked = {"only": "robustness", "fail_under": f"linf:{eps}={(kept + 0.5) / 4}", "images": 4}
    found = ostrich.check(function, (x, labels), surrogate=colour(), **asked)
    (figure,) = (one for one in found.figures["robustness"] if (one["norm"], one["eps"]) == ("linf", eps))
    assert (round(4 * figure["robust_accuracy"]), figure["bound"]) == (kept, "upper")
    assert figure["measured_by"] == ["pgd"]
    assert [gate["passed"] for gate in found.gates] == [False]
    assert read_run(found.folder)["asked"]["surrogate"] == colour().name


@pytest.mark.parametrize("method", [Square(eps=4 / 255, queries=40), OnePixel(population=8, generations=3)])
def test_scores_that_no_query_changes_are_no_robustness(method):
    x, labels = images()
    scores = colour()
    votes = ostrich.load(lambda batch: 3.0 * F.one_hot(scores.predict(batch).argmax(1), 3), size=SIZE)
    found = ostrich.attack(method, votes, x, labels)
    assert torch.equal(found.flat_scores, ~found.success)
    assert found.figures["bound"] is None
    assert found.figures["flat_scores"] == int((~found.success).sum())
    assert "scores no query changed: `rays` needs labels alone" in found.figures["reason"]
    sloped = ostrich.attack(method, scores, x, labels)
    assert not sloped.flat_scores.any()
    assert sloped.figures["bound"] == "upper"
    assert "flat_scores" not in sloped.figures


@pytest.mark.shared
def test_square_says_that_votes_have_no_slope(shared, kit, tmp_path, capsys):
    rows_of(shared, kit, tmp_path / "run", "hard_vote", "square", "--set", "queries=100")
    results = json.loads((tmp_path / "run/run.json").read_text())["results"]
    assert (results["bound"], results["flat_scores"]) == (None, 14)  # four fall to an even shift of colour
    told = " ".join(capsys.readouterr().out.split())
    assert "not known, at most 0.7778: 14 images stand whose scores no query changed: `rays`" in told
