"""No false verdict: what an attack could not do is said, and one figure is the least that any attack left."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import ostrich
from ostrich.attacks import APGD, DDN, FGSM, MIM, PGD, AutoAttack, HopSkipJump, Linf, RayS, Square, Untargeted
from ostrich.attacks.goals import SATURATED, margin
from ostrich.cli.main import run
from ostrich.crashtest.advice import advice
from ostrich.crashtest.answer import Answer, ProbeAnswer
from ostrich.crashtest.comparable import comparable
from ostrich.crashtest.comparison import since
from ostrich.crashtest.context import Context
from ostrich.crashtest.gates import judge_baseline, judge_corruption, judge_floor, read_floor
from ostrich.crashtest.outcomes import MASKING_CHECKS, combined, robust_accuracy
from ostrich.crashtest.probes import corruptions, one_pixel, printed, universal
from ostrich.crashtest.probes import patch as patch_probe
from ostrich.crashtest.probes.robustness import headline
from ostrich.crashtest.summary import summary
from ostrich.data.dataset import Samples
from ostrich.diagnosis.checks import CHECKS, NO_TIME
from ostrich.figures.words import in_percent
from ostrich.images import rounded
from ostrich.models.answers import NO_ANSWER, answered, confidence, predictions, right
from ostrich.statistics import wilson

INF, NAN = math.inf, math.nan
SIZE = 8
GRADIENT = [FGSM, PGD, MIM, APGD]


class Means(nn.Module):
    """Logits are a factor times the mean of each channel, then `after`: broken from half the lead on."""

    def __init__(self, factor: float = 20.0, after: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        self.weight = nn.Parameter(factor * torch.eye(3)[:, :, None, None])
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.conv2d(x, self.weight).mean((2, 3)))


def without_gradient(z: Tensor) -> Tensor:
    return z.detach()


def images(leads: list[int]) -> tuple[Tensor, Tensor]:
    """Flat images whose strongest channel leads by so many levels, and that channel (N,)."""
    labels = torch.arange(len(leads)) % 3
    found = torch.full((len(leads), 3, SIZE, SIZE), 120 / 255)
    for i, lead in enumerate(leads):
        found[i, labels[i]] += lead / 255
    return found, labels


LEADS = [4, 6, 8, 12, 20, 30]  # broken from 2, 3, 4, 6, 10, 15 levels on
TRUE = {2: 6, 4: 4, 8: 2, 16: 0}  # that stand at so many levels; at exactly half the lead it is a draw


def wrapped(network: nn.Module) -> ostrich.Classifier:
    return ostrich.Classifier(network, size=(SIZE, SIZE))


def attacked(network: nn.Module, method: ostrich.attacks.InputSpecificAttack) -> ostrich.Result:
    x, labels = images(LEADS)
    return ostrich.attacks.attack(method, wrapped(network), x, Untargeted(labels), labels=labels)


# Answers ------------------------------------------------------------------------------------------


def test_what_is_an_answer():
    logits = torch.tensor([[1.0, 2.0], [-INF, 0.0], [NAN, 1.0], [INF, 1.0], [-INF, -INF]])
    assert answered(logits).tolist() == [True, True, False, False, False]
    assert predictions(logits).tolist() == [1, 1, NO_ANSWER, NO_ANSWER, NO_ANSWER]
    assert confidence(logits)[2:].tolist() == [0, 0, 0]
    assert confidence(logits)[1] == 1
    assert not right(predictions(logits), torch.tensor([0, 0, -1, -1, -1])).any()


def test_no_answer_leaves_every_label_and_reaches_no_class():
    logits = torch.tensor([[NAN, 1.0, 0.0]])
    label = torch.tensor([1])
    assert Untargeted(label).reached(logits).tolist() == [True]
    assert ostrich.Targeted(label).reached(logits).tolist() == [False]
    assert ostrich.Confident(label).reached(logits).tolist() == [False]


def test_a_class_that_is_switched_off_changes_no_verdict():
    network = Means(after=lambda z: F.pad(z, (0, 2), value=-INF))
    off = [attacked(network, PGD(threat=Linf(levels / 255))) for levels in (8, 16)]
    assert [int((~one.success).sum()) for one in off] == [2, 0]
    assert all(one.attacked.all() for one in off)
    ensemble = attacked(network, AutoAttack(threat=Linf(8 / 255), preset="fast", queries=50))
    assert int((~ensemble.success).sum()) == 2
    assert not ensemble.zero_gradient.any()  # no target is a class that cannot be reached


def test_clean_images_without_an_answer_are_neither_right_nor_unbroken():
    def sometimes(z: Tensor) -> Tensor:
        return torch.where((z.argmax(1) == 0)[:, None], NAN, z)

    result = attacked(Means(after=sometimes), PGD(threat=Linf(16 / 255)))
    assert result.clean_predictions.tolist() == [NO_ANSWER, 1, 2, NO_ANSWER, 1, 2]
    assert result.attacked.tolist() == [False, True, True, False, True, True]
    assert result.success[result.attacked].all()  # towards red the answer is lost, and that counts


# Gradients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", GRADIENT)
@pytest.mark.parametrize("after", [lambda z: 1e5 * z, lambda z: (1e5 * z).log_softmax(1)])
def test_where_cross_entropy_saturates_the_margin_is_followed(method, after):
    for levels in (2, 8, 16):
        result = attacked(Means(after=after), method(threat=Linf(levels / 255)))
        assert abs(int((~result.success).sum()) - TRUE[levels]) <= 1
        assert not result.zero_gradient.any()


def test_the_loss_goes_on_where_it_saturates():
    logits = torch.tensor([[z, 0.0, 0.0] for z in (0.0, 5.0, 29.0, 31.0, 200.0, 1e6)], requires_grad=True)
    loss = Untargeted(torch.zeros(6, dtype=torch.int64)).loss(logits)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert (loss.diff() > 0).all()
    assert (slope[[0, 1, 3, 4, 5], 0] > 1e-3).all()
    plain = -F.cross_entropy(logits.double(), torch.zeros(6, dtype=torch.int64), reduction="none")
    assert torch.equal(loss[:3], plain[:3])  # below the threshold nothing changes
    lead = margin(logits.detach(), torch.zeros(6, dtype=torch.int64))
    assert torch.allclose(loss[4:], (lead - SATURATED)[4:].double())


@pytest.mark.parametrize("method", [*GRADIENT, DDN])
def test_an_attack_without_a_gradient_says_so(method):
    result = attacked(Means(after=without_gradient), method())
    assert result.zero_gradient.all()
    assert not result.success.any()


def test_an_attack_with_one_does_not():
    assert not attacked(Means(), PGD()).zero_gradient.any()
    assert not attacked(Means(), Square()).zero_gradient.any()


def test_an_attack_that_finds_no_way_to_begin_says_so():
    class Same(Means):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 0 + torch.tensor([1.0, 0.0, 0.0])

    x = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    goal = Untargeted(torch.zeros(3, dtype=torch.int64))
    result = ostrich.attacks.attack(HopSkipJump(queries=60), wrapped(Same()), x, goal)
    assert result.unattacked.all()
    assert not attacked(Means(), HopSkipJump(queries=60)).unattacked.any()


@pytest.mark.parametrize("levels", [2, 8, 16])
def test_labels_alone_are_enough_for_the_truth(levels):
    votes = Means(after=lambda z: F.one_hot(z.argmax(1), 3).float())
    result = attacked(votes, RayS(threat=Linf(levels / 255), queries=3000))
    assert abs(int((~result.success).sum()) - TRUE[levels]) <= 1


# Randomness ---------------------------------------------------------------------------------------


class Noisy(Means):
    """Another answer at each call."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.2 * torch.randn_like(x))


def test_a_success_of_a_random_network_fools_in_most_later_draws():
    model = wrapped(Noisy())
    x, labels = images(LEADS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = ostrich.attacks.attack(
            PGD(threat=Linf(8 / 255)), model, x, Untargeted(labels), labels=labels
        )
        assert model.draws == 20
        found = result.images[result.success]
        assert len(found)
        assert (result.fooled_draws[result.success] >= 0.8).all()
        later = torch.stack([model(found).argmax(1) for _ in range(100)])
    assert ((later != labels[result.success]).double().mean(0) > 0.5).all()
    assert wrapped(Means()).draws == 1


# One figure ---------------------------------------------------------------------------------------


def outcome(attack: str, eps: float | None, rows: list[int], broken: dict[int, float], useless=()) -> dict:
    return {
        "attack": attack,
        "norm": "linf",
        "eps": eps,
        "rows": rows,
        "broken": {str(row): distance for row, distance in broken.items()},
        "useless": list(useless),
    }


def answer(name: str, **fields: Any) -> ProbeAnswer:
    return ProbeAnswer(name=name, title=name, status="done", **fields)


def test_the_figure_is_the_least_that_any_attack_left():
    rows, correct = [0, 1, 2, 3], [True, True, True, False]
    outcomes = [
        outcome("pgd", 0.1, [0, 1, 2], {0: 0.1}),
        outcome("square", 0.1, [1, 2], {1: 0.09}),
        outcome("pair", 0.05, [2], {2: 0.05}),  # broken within less is broken within more
        outcome("pgd", 0.2, [2], {2: 0.2}),
    ]
    found = robust_accuracy("linf", 0.1, rows, correct, outcomes)
    assert found["robust_accuracy"] == 0
    assert found["n"] == 4
    assert found["measured_by"] == ["pair", "pgd", "square"]
    assert found["bound"] == "upper"
    assert robust_accuracy("linf", 0.09, rows, correct, outcomes)["robust_accuracy"] == 1 / 4
    assert robust_accuracy("l2", 0.1, rows, correct, outcomes)["robust_accuracy"] == 3 / 4


def test_what_stands_because_nothing_could_work_is_not_known():
    rows, correct = [0, 1], [True, True]
    blind = outcome("pgd", 0.1, [0, 1], {}, useless=[0, 1])
    found = robust_accuracy("linf", 0.1, rows, correct, [blind])
    assert found["bound"] is None
    assert "2 of 2 images stand because no attack could work" in found["reason"]
    worked = outcome("rays", None, [0, 1], {0: 0.05})  # nothing bounds it, so it was run at every budget
    assert robust_accuracy("linf", 0.1, rows, correct, [blind, worked])["bound"] == "upper"
    assert robust_accuracy("linf", 0.1, rows, correct, [worked], ["x"])["reason"] == "x"


def test_the_doctor_speaks_against_every_figure():
    outcomes = [outcome("pgd", 0.1, [0], {})]
    sweep = answer("robustness", rows=[0], budgets=[("linf", 0.1)], outcomes=outcomes)
    doctor = answer("doctor", figures={"findings": [{"code": "masked-gradient"}]})
    (found,) = combined({"robustness": sweep, "doctor": doctor}, [True])
    assert (found["bound"], found["reason"]) == (None, "the doctor finds masked-gradient")
    doctor = answer("doctor", figures={"findings": [{"code": "dead-output"}]})
    assert combined({"robustness": sweep, "doctor": doctor}, [True])[0]["bound"] == "upper"


def test_what_the_doctor_had_no_time_for_is_not_known_where_nothing_falls():
    for fell, at, name, reason, said in (
        ([0, 1], 0.05, "more steps", NO_TIME, None),  # nothing stands
        ([0, 1], 0.2, "more steps", NO_TIME, None),  # what stands falls farther on
        ([0], 0.2, "more steps", NO_TIME, None),  # half of it
        (
            [],
            0.2,
            "more steps",
            NO_TIME,
            "2 of 2 that stand fall at no budget, and the doctor had no time for",
        ),
        ([], 0.2, "more steps", "It needs gradients.", None),
        ([], 0.2, "the head", NO_TIME, None),  # says nothing of gradients
    ):
        outcomes = [outcome("pgd", 0.1, [0, 1], dict.fromkeys(fell, at))]
        sweep = answer("robustness", rows=[0, 1], budgets=[("linf", 0.1)], outcomes=outcomes)
        doctor = answer("doctor", figures={"findings": [], "skipped": [{"check": name, "reason": reason}]})
        answers = {"robustness": sweep, "doctor": doctor}
        (found,) = combined(answers, [True, True], doctor=True)
        assert found["bound"] == (None if said else "upper")
        assert (found["reason"] or "").startswith(said or "")
        line = summary(answers, [found], 3, 1.0)[-1]
        assert line["verdict"] == ("not known" if reason == NO_TIME else "no fault")
        del answers["doctor"]
        (found,) = combined(answers, [True, True], doctor=True)
        assert found["bound"] == ("upper" if fell else None)
        assert combined(answers, [True, True])[0]["bound"] == "upper"  # nobody asked the doctor
    failed = ProbeAnswer(name="doctor", title="doctor", status="failed")
    assert combined({"robustness": sweep, "doctor": failed}, [True, True])[0]["bound"] is None
    assert {check.name for check in CHECKS} >= MASKING_CHECKS


@pytest.mark.parametrize(
    ("value", "bound", "passed"),
    [(0.7, "upper", True), (0.7, None, None), (0.3, "upper", False), (0.3, None, False)],
)
def test_no_gate_passes_on_what_is_not_known(value, bound, passed):
    figure = {"norm": "linf", "eps": 8 / 255, "robust_accuracy": value, "low": 0, "high": 1}
    figure |= {"bound": bound, "reason": "it is so", "n": 9, "measured_by": ["pgd"]}
    gate = judge_floor(read_floor("linf:8/255=0.5"), [figure], labelled=True)
    assert gate["passed"] is passed
    before = {"results": {"robustness": [figure | {"bound": "upper"}]}, "data": {"sha256": "a"}}
    judged = judge_baseline("run", before, {"results": {"robustness": [figure]}, "data": {"sha256": "a"}})
    assert judged["passed"] is (True if bound else None)


@pytest.mark.parametrize(
    ("value", "floor", "said"),
    [
        (2 / 3, "0.667", "0.6667 (n = 9, by pgd): it stays below 0.667"),
        (0.6664, "0.6662", "0.6664 (n = 9, by pgd): it reaches 0.6662"),
        (0.5, "0.5", "0.500 (n = 9, by pgd): it reaches 0.5"),
    ],
)
def test_a_gates_sentence_does_not_contradict_itself(value, floor, said):
    figure = {"norm": "linf", "eps": 8 / 255, "robust_accuracy": value, "low": 0, "high": 1}
    figure |= {"bound": "upper", "reason": None, "n": 9, "measured_by": ["pgd"]}
    gate = judge_floor(read_floor(f"linf:8/255={floor}"), [figure], labelled=True)
    assert said in gate["sentence"]
    corrupted = {"severities": {"3": {"accuracy": value, "n": 9}}}
    gate = judge_corruption(read_floor(f"corruption:3={floor}"), corrupted, labelled=True)
    assert said.replace(", by pgd", "") in gate["sentence"]


@pytest.mark.parametrize(
    ("gate", "right", "passed"),
    [("linf:0=0.5", 6, True), ("linf:0=0.9", 4, False), ("linf:8/255=0.1", 0, False)],
)
def test_without_an_attack_it_is_known_what_stands(gate, right, passed):
    x, labels = images(LEADS)
    labels[right:] = (labels[right:] + 1) % 3
    found = ostrich.check(wrapped(Means()), (x, labels), only="clean,robustness", images=6, fail_under=gate)
    assert found.gates[0]["passed"] is passed
    assert "(n = 6, without an attack)" in found.gates[0]["sentence"]
    swept = found.figures["probes"]["robustness"].get("linf", [])
    assert [point["x"] for point in swept].count(0) <= 1


@pytest.mark.parametrize(
    ("right", "n", "chance", "verdict"),
    [
        (1, 1, 0.1, "undecided"),  # one of ten by chance
        (1, 1, 0.02, "above chance"),
        (2, 2, 0.1, "above chance"),
        (6, 9, 0.5, "undecided"),
        (0, 6, 0.5, "no better than chance"),
        (0, 5, 0.5, "undecided"),  # one in 32
    ],
)
def test_one_image_that_is_right_is_not_above_chance(right, n, chance, verdict):
    figures = {"accuracy": right / n, "interval": wilson(right, n), "n": n, "chance": chance}
    (line,) = summary({"clean": answer("clean", figures=figures)}, [], 10, right / n)
    assert line["verdict"] == verdict


def test_a_sentence_rounds_to_all_or_nothing_only_what_is_that():
    for value, text in ((1, "100%"), (0, "0%"), (0.875, "88%"), (255 / 256, "99.6%"), (1 / 256, "0.4%")):
        assert in_percent(value) == text
    assert [in_percent(value) for value in (0.9999, 0.0001)] == [">99.9%", "<0.1%"]
    assert [in_percent(value, 1) for value in (1, 0.9999, 0.5, 0)] == ["100.0%", ">99.9%", "50.0%", "0.0%"]
    one = {"norm": "linf", "eps": 1 / 255, "robust_accuracy": 255 / 256, "low": 0.978, "high": 0.9993}
    one |= {"n": 256, "measured_by": ["pgd"], "bound": "upper", "reason": None}
    assert "on 99.6% (98% to 99.9%, n = 256 images); without an attack on 99.6%" in headline([one], 255 / 256)
    assert "n = 1 image)" in headline([one | {"n": 1}], 1.0)


def test_what_harms_nothing_harms_not_most():
    figures = {"worst": "fog", "corruptions": {"fog": {"3": 0.9}}, "clean": 0.9}
    assert corruptions._worst(figures) == "None of them harms it."
    assert corruptions._worst(figures | {"clean": 1.0}) == "Of all, fog harms most: 90%."


def test_chance_is_what_the_most_frequent_class_gives():
    red = lambda z: z * 0 + torch.tensor([1.0, 0.0, 0.0])  # noqa: E731 - says the first class of any image
    x, labels = images([4] * 60)
    most = torch.cat([torch.arange(60)[labels == 0], torch.arange(60)[labels != 0][:10]])  # 20 of 30
    for after, rows, verdict in (
        (red, most, "undecided"),
        (lambda z: z, most, "above chance"),
        (red, torch.arange(60), "undecided"),
        (lambda z: z, torch.arange(60)[labels == 0], "above chance"),  # one class: one of three is chance
    ):
        model = wrapped(Means(after=after))
        found = ostrich.check(model, (x[rows], labels[rows]), only="clean", images=len(rows))
        assert [line["verdict"] for line in found.figures["summary"]] == [verdict]


def a_check(known: dict[int, float], only: str = "clean robustness", **more: Any) -> dict[str, Any]:
    """A run whose clean accuracy is 0.9, and its robust accuracy at so many levels; 1 is "at most 1"."""
    between = {"low": 0.0, "high": 1.0}
    robust = [
        {"norm": "linf", "eps": levels / 255, "robust_accuracy": value, "low": value - 0.1}
        | {"high": value + 0.1, "bound": "upper" if value < 1 else None}
        for levels, value in known.items()
    ]
    sweep = {"linf": [{"x": one["eps"], "y": one["robust_accuracy"], **between} for one in robust]}
    every = {"clean": {"accuracy": 0.9, "interval": [0.8, 0.95]}, "robustness": sweep if known else {}}
    probes = {name: every[name] for name in only.split()}
    return {"results": {"robustness": robust, "probes": probes, "not_run": [], **more}}


@pytest.mark.parametrize(
    ("then", "now", "passed", "said"),
    [
        (a_check({8: 0.6}), a_check({8: 0.6}), True, "None of 2 figures"),
        (a_check({8: 0.6}), a_check({}), None, "No longer known: robust accuracy at linf 8/255"),
        (a_check({8: 0.6}), a_check({}, "clean", not_run=[{"probe": "robustness"}]), None, "No longer known"),
        (a_check({8: 0.6}), a_check({}, "clean"), True, "None of 1 figures"),  # --only clean
        (a_check({4: 0.6, 8: 0.6}), a_check({8: 0.6}), True, "None of 2"),  # a gate's budget, not asked for
        (a_check({8: 0.6}), a_check({8: 1}), None, "No longer known"),
        (a_check({8: 1}), a_check({8: 0.1}), True, "None of 1 figures"),  # at most 1 before
        (a_check({8: 1}, "robustness"), a_check({8: 1}, "robustness"), None, "no known figure in common"),
        (a_check({8: 0.6}), a_check({}, "robustness"), None, "no figure in common"),
        (a_check({8: 0.6}), a_check({8: 0.4}), False, "Worse than before"),
        (
            a_check({8: 0.6}),
            a_check({8: 0.6}, "robustness", by_class={"classes": [{"right": None}]}),
            None,
            "without labels",
        ),
    ],
)
def test_a_baseline_is_passed_by_what_both_know(then, now, passed, said):
    gate = judge_baseline("run", then, now)
    assert gate["passed"] is passed
    assert said in gate["sentence"]
    judged = [row["figure"] for row in since("run", then, now)["rows"]]
    known = [{n for n, one in comparable(run).items() if one["known"]} for run in (then, now)]
    assert set(judged) == known[0] & known[1]


def test_the_rule_is_half_of_the_clean_accuracy_whether_or_not_it_is_asked_for(tmp_path):
    x, labels = images([30] * 40)
    labels[torch.arange(40) % 10 >= 3] = (labels[torch.arange(40) % 10 >= 3] + 1) % 3  # 30 % are right
    runs = []
    for only in ("robustness", "clean,robustness"):
        found = ostrich.check(wrapped(Means()), (x, labels), only=only, images=40, out=tmp_path / only)
        lines = [line for line in found.figures["summary"] if line["name"].startswith("robust")]
        levels = found.figures["by_class"]["eps"] * 255
        runs.append([lines, found.figures["verdict"], found.figures["clean_accuracy"], levels])
        assert f"With {levels:.0f}/255" in runs[-1][1] or f"with {levels:.0f}/255" in runs[-1][1]
        page = (tmp_path / only / "index.html").read_text()
        shown = page.index("robust accuracy at linf")  # the first screen comes first
        assert page[shown:].startswith(f"robust accuracy at linf {levels:.0f}/255")
    assert runs[0] == runs[1]
    assert runs[0][2] == 0.3
    assert runs[0][0][0]["verdict"] == "holds"  # 18 % to 45 %, above half of 30 %


# What to do next ----------------------------------------------------------------------------------


def context_of(tmp_path: Path, labelled: bool = True, **options: Any) -> Context:
    x, labels = images(LEADS)
    samples = Samples.of(rounded(x), labels if labelled else None)
    words = {"model_words": ["m.py:f"], "data_words": ["folder:d"]}
    return Context(classifier=wrapped(Means()), samples=samples, folder=tmp_path, **words, **options)


@pytest.mark.parametrize(
    ("labelled", "bound", "advised"), [(True, "upper", True), (True, None, False), (False, "upper", False)]
)
def test_no_gate_is_advised_that_could_not_be_judged(labelled, bound, advised, tmp_path):
    figure = {"norm": "linf", "eps": 8 / 255, "robust_accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 90}
    figure |= {"bound": bound, "reason": "it is so", "measured_by": ["pgd"]}
    found = advice(context_of(tmp_path, labelled), {}, [figure], [], [], minutes=None)
    assert any("fail_under" in one["command"] for one in found) == advised
    if not labelled:  # and there is none to give
        assert judge_floor(read_floor("linf:8/255=0.4"), [figure], labelled=False)["passed"] is None


def test_what_hides_robustness_is_mended_first(tmp_path):
    codes = ("saturated-logits", "masked-gradient")
    findings = [{"code": code, "sentence": f"It has {code}.", "fix": "Mend it."} for code in codes]
    doctor = answer("doctor", figures={"findings": findings, "skipped": []})
    first = advice(context_of(tmp_path), {"doctor": doctor}, [], [], [], minutes=None)[0]
    assert first["text"] == "It has masked-gradient. Mend it."


def test_a_command_that_makes_a_figure_alone_asks_the_same(tmp_path, monkeypatch):
    asked = {"count": 3, "precision": "exact", "gates": ["linf:1/255=0.5", "l2:1=0.1"], "seed": 5}
    context = context_of(tmp_path, **asked)
    more = "images=3, precision='exact', fail_under=['linf:1/255=0.5', 'l2:1=0.1'], seed=5)"
    called = context.command("worst-case")
    assert called == f"ostrich.check(model, data, only='robustness,worst-case', {more}"
    monkeypatch.setattr("ostrich.runtime.events.command", lambda: "ostrich check ...")
    network, gates = "m.py:f folder:d", "--fail-under linf:1/255=0.5 --fail-under l2:1=0.1"
    for probe, words in (
        ("worst-case", f"--only robustness,worst-case --images 3 --precision exact {gates} --seed 5"),
        ("saliency", "--only saliency --images 3 --precision exact --seed 5"),
    ):
        assert context.command(probe) == f"ostrich check {network} {words}"
    assert context_of(tmp_path).command("clean") == f"ostrich check {network} --only clean --limit 6"
    figure = {"norm": "linf", "eps": 8 / 255, "robust_accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 90}
    figure |= {"bound": None, "reason": "it is so", "measured_by": ["pgd"]}
    found = [one["command"] for one in advice(context, {}, [figure], [], [], minutes=None)]
    assert [command.partition("folder:d ")[2] for command in found] == [
        "--set eps=8/255 --set norm=linf --limit 6 --seed 5",
        "--limit 6 --seed 5",
    ]


# From the command line ----------------------------------------------------------------------------

MODELS = """
import torch, torch.nn.functional as F
from torch import nn

class Means(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.conv, self.after = nn.Conv2d(3, 3, 1, bias=False), after
        with torch.no_grad():
            self.conv.weight.copy_(20 * torch.eye(3)[:, :, None, None])

    def forward(self, x):
        return self.after(self.conv(x).mean((2, 3)))

def means(): return Means(lambda z: z)
def blind(): return Means(lambda z: z.detach())
def votes(): return Means(lambda z: F.one_hot(z.argmax(1), 3).float())
def softmax(): return Means(lambda z: (100 * z).softmax(1))
def absent(): return Means(lambda z: torch.where((z.argmax(1) == 0)[:, None], float("nan"), z))
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with networks, and class folders of flat images."""
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(MODELS, encoding="utf-8")
    x, labels = images([*LEADS, *LEADS])
    for i, (image, label) in enumerate(zip(x, labels.tolist(), strict=True)):
        folder = Path("data", str(label) + "_" + "rgb"[label])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{i}.png")
    return tmp_path


def words(command: str, name: str, *more: str) -> list[str]:
    return [*command.split(), f"models.py:{name}", "folder:data", "--size", str(SIZE), *more]


def test_an_attack_says_that_it_had_no_gradient(place, capsys):
    assert run(words("attack pgd", "blind", "--out", "a")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "not known, at most 1: 12 images stand whose gradient was zero or not finite" in shown
    results = json.loads(Path("a/run.json").read_text())["results"]
    assert (results["bound"], results["zero_gradient"], results["unattacked"]) == (None, 12, 0)
    assert run(words("attack pgd", "absent", "--out", "b")) == 0
    results = json.loads(Path("b/run.json").read_text())["results"]
    assert (results["clean_accuracy"], results["unanswered"]) == (8 / 12, 4)


@pytest.mark.parametrize("probe", [universal, patch_probe, printed, one_pixel])
def test_a_probe_says_that_its_attack_could_not_work(probe, tmp_path):
    x, labels = images(list(range(20, 56)))
    votes = wrapped(Means(after=lambda z: F.one_hot(z.argmax(1), 3).float()))

    def asked(network: ostrich.Classifier) -> Answer:
        samples = Samples.of(rounded(x), labels)
        folder = tmp_path / str(network is votes)
        return probe.probe(
            Context(classifier=network, samples=samples, folder=folder, model_words=[], data_words=[])
        )

    blind = asked(votes)
    (line,) = blind.summary
    assert (line["value"], line["verdict"]) == (0, "not known")
    assert f"What it left is not known: {line['reason']}." in blind.sentence
    sloped = asked(wrapped(Means()))
    assert sloped.summary[0]["verdict"] != "not known"
    assert "not known" not in sloped.sentence


@pytest.mark.slow
@pytest.mark.parametrize("name", ["means", "blind", "votes", "softmax"])
def test_no_form_of_one_network_is_more_robust_than_another(place, name, capsys):
    gates = ["--fail-under", "linf:16/255=0.5", "--fail-under", "linf:4/255=0.5"]
    assert run(words("check", name, "--only", "clean,robustness,doctor", *gates, "--out", "c")) == 1
    results = json.loads(Path("c/run.json").read_text())["results"]
    figures = {round(f["eps"] * 255): f for f in results["robustness"] if f["norm"] == "linf"}
    for levels, kept in TRUE.items():
        assert abs(figures[levels]["robust_accuracy"] * 12 - 2 * kept) <= 2
    known = name in ("means", "softmax")
    assert [gate["passed"] for gate in results["gates"]] == [False, True if known else None]
    assert results["verdict"].startswith("Against" if known else "Robust accuracy is not known: ")
    points = results["probes"]["robustness"]["linf"][1:]
    assert [p["y"] for p in points] == [figures[round(p["x"] * 255)]["robust_accuracy"] for p in points]
