"""A crash test answers by its deadline with what it has, and without one always the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import killing
import nets
import numpy as np
import pytest
import torch
from torch import nn

import ostrich
from ostrich.crashtest import plan as plans
from ostrich.crashtest.context import Context
from ostrich.crashtest.plan import Cost, Plan
from ostrich.crashtest.probes import robustness
from ostrich.data.dataset import Samples
from ostrich.runtime.deadline import Deadline, TimeUp, check_time, in_its_own_time, time_left, until
from ostrich.runtime.resumable import Computation
from ostrich.statistics import wilson

FIRST = "clean,robustness,worst-case,doctor,targeted-pair"


def test_the_nearest_deadline_around_counts():
    check_time()
    assert time_left() == float("inf")
    with until(Deadline(60)), until(Deadline(3600)):
        assert 59 < time_left() <= 60
        with until(Deadline(0)):
            with pytest.raises(TimeUp):
                check_time()
            with in_its_own_time():
                check_time()
        check_time()
    assert 29 < Deadline(60).part(0.5).left <= 30


def test_every_answer_of_a_network_keeps_the_deadline():
    classifier, images = nets.small(), nets.random_images(2)
    classifier.predict(images)
    with until(Deadline(0)):
        with pytest.raises(TimeUp):
            classifier.predict(images)
        with pytest.raises(TimeUp):
            ostrich.attack("pgd", classifier, images, torch.tensor([0, 1]), steps=1)
    assert not classifier.network.training


class SlowsDown(nn.Module):
    """Answers in a millisecond, and after some calls in ten."""

    def __init__(self, network: nn.Module, calls: int) -> None:
        super().__init__()
        self.network, self.calls = network, calls

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls -= 1
        time.sleep(0.004 if self.calls >= 0 else 0.04)
        return self.network(images)


def test_a_network_that_becomes_ten_times_slower_ends_in_time(tmp_path):
    small = nets.small()
    images = nets.random_images(40)
    labels = nets.predictions(small, images)
    slow = ostrich.load(SlowsDown(small.network, calls=20), size=tuple(images.shape[2:]))
    found = ostrich.check(slow, (images, labels), minutes=0.3, only=FIRST, out=tmp_path / "out")
    assert found.figures["seconds"] < 0.95 * 18  # the rest is the report's
    probes = found.figures["probes"]
    assert set(FIRST.split(",")) <= set(probes)
    assert 0 < probes["robustness"]["n"] <= 40
    for figure in found.figures["robustness"]:
        assert figure["n"] == probes["robustness"]["n"]
        assert figure["low"] <= figure["robust_accuracy"] <= figure["high"]


def test_with_images_the_same_check_gives_the_same_results(tmp_path):
    classifier, images = nets.small(), nets.random_images(10)
    data = (images, nets.predictions(classifier, images))
    results = []
    for name in ("a", "b"):
        found = ostrich.check(classifier, data, images=6, only=FIRST, out=tmp_path / name)
        results.append({key: value for key, value in found.figures.items() if key != "seconds"})
    assert results[0] == results[1]
    assert results[0]["n"] == results[0]["probes"]["robustness"]["n"] == 6
    assert not results[0]["not_run"]
    asked = json.loads((tmp_path / "a/run.json").read_text())["asked"]
    assert (asked["images"], asked["minutes"]) == (6, None)
    with pytest.raises(ostrich.OstrichError, match="minutes, a time for all, or images"):
        ostrich.check(classifier, data, images=6, minutes=1)


@pytest.mark.slow
def test_with_images_a_check_that_was_killed_gives_the_same_results(tmp_path):
    """Killed when a probe's first attack is kept, and when the next probe's is; then given again."""
    words = ["check", "zoo:toybox-resnet20", "toybox", "--images", "6"]
    words = [sys.executable, "-m", "ostrich", *words, "--only", "clean,targeted-pair,robustness", "--out"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, tmp_path / "whole"], env=env, check=True, capture_output=True)
    out = tmp_path / "killed"
    for kept in ("shards/pgd-*/*", "probes/robustness.json"):
        process = subprocess.Popen([*words, out], env=env, stdout=subprocess.DEVNULL)
        while not any(out.glob(kept)) and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not json.loads((out / "run.json").read_text())["finished"]
    subprocess.run([*words, out], env=env, check=True, capture_output=True)
    assert killing.outcome(out) == killing.outcome(tmp_path / "whole")


def context_of(folder, classifier, images, **options):
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    samples = Samples.of_pixels(pixels, nets.predictions(classifier, images), name="some")
    words = {"model_words": [], "data_words": [], "precision": "exact"}
    return Context(classifier=classifier, samples=samples, folder=folder, **words, **options)


def test_the_budget_of_each_image_is_found_by_bisection(tmp_path, monkeypatch):
    """With every attack replaced by one that breaks image i from its own budget on."""
    classifier, images = nets.small(), nets.random_images(12)
    context = context_of(tmp_path, classifier, images)
    swept = [level / 255 for level in (1, 2, 4, 8, 16)]
    breaks = torch.tensor([0.5, 1, 2, 2.5, 3, 4, 5, 8, 9, 16, 17, 99]) / 255
    asked = []

    def attack(method, rows, goal):
        eps = method.threat.eps if method.threat.norm == "linf" else float("inf")
        asked.append((method.threat.norm, len(rows)))
        success = breaks[rows] <= eps + 1e-9
        context.outcomes.append(
            {
                "attack": "pgd",
                "norm": method.threat.norm,
                "eps": method.threat.eps,
                "rows": rows.tolist(),
                "broken": {str(r): float(min(breaks[r], eps)) for r in rows[success].tolist()},
                "useless": [],
            }
        )
        found = images.clone()[rows]
        return type("Found", (), {"success": success, "originals": found, "images": found})

    monkeypatch.setattr(context, "attack", attack)
    answer = robustness.probe(context)
    for point in answer.figures["linf"][1:]:
        standing = (breaks > point["x"] + 1e-9).double().mean().item()
        assert point["y"] == pytest.approx(standing)
    assert [point["x"] for point in answer.figures["linf"][1:]] == pytest.approx(swept)
    assert sum(count for norm, count in asked if norm == "linf") < 5 * 12  # ten would be all
    assert sorted(answer.rows) == list(range(12))


def test_what_is_whole_when_the_time_is_up_is_the_answer(tmp_path, monkeypatch):
    classifier, images = nets.small(), nets.random_images(12)
    context = context_of(tmp_path, classifier, images)
    whole, calls = context.attack, [0]

    def attack(method, rows, goal):
        calls[0] += 1
        if calls[0] > 12:
            raise TimeUp
        return whole(method, rows, goal)

    monkeypatch.setattr(context, "attack", attack)
    with until(Deadline(600)):
        answer = robustness.probe(context)
    assert 4 <= len(answer.rows) < 12
    assert set(answer.rows) == set(context.in_random_order()[: len(answer.rows)])
    with until(Deadline(0)), pytest.raises(TimeUp):
        robustness.probe(context)


def test_the_accuracy_of_all_images_lies_in_the_interval_of_those_in_time():
    """A hundred orders, stopped anywhere: the first images in random order are a sample of all."""
    draw = np.random.default_rng(0)
    for accuracy in (0.03, 0.3, 0.7):
        robust = draw.random(256) < accuracy
        inside = 0
        for _ in range(100):
            stop = int(draw.integers(8, 256))
            low, high = wilson(int(robust[draw.permutation(256)[:stop]].sum()), stop)
            inside += low <= robust.mean() <= high
        assert inside >= 93


def test_a_probe_takes_fewer_images_where_all_do_not_fit(tmp_path):
    probe = type("Probe", (), {"COST": Cost(forwards=30, gradients=80)})
    fixed = type("Probe", (), {"COST": Cost(fixed_gradients=200)})
    plan = Plan(Computation(tmp_path, {}, "json"), forwards_per_second=30.0, gradients_per_second=80.0)
    assert plan.seconds(probe, 64) == 128
    assert [plan.fitting(probe, 64, left) for left in (128, 127, 63, 32, 31)] == [64, 32, 16, 16, 0]
    assert plan.fitting(probe, 5, 10) == 5
    assert [plan.fitting(probe, 64, 128, following) for following in (0, 1, 2, 50)] == [64, 32, 16, 16]
    assert [plan.fitting(fixed, 64, left) for left in (2, 3)] == [0, 64]
    assert plan.affordable(1000, 10) == 30
    plan.begin("robustness", 16)
    assert Plan.open(Computation(tmp_path, {}, "json")).images == {"robustness": 16}


def test_a_busy_moment_does_not_count_as_the_speed(monkeypatch):
    now, costs = [0.0], iter([9.0, 0.8, 0.1])
    monkeypatch.setattr(plans.time, "perf_counter", lambda: now[0])

    def call() -> torch.Tensor:
        now[0] += next(costs)
        return torch.zeros(1)

    assert plans._fastest(call) == pytest.approx(9.0)  # a slow network is not asked again
    monkeypatch.setattr(plans, "ENOUGH", 60)
    monkeypatch.setattr(plans, "TIMINGS", 2)
    assert plans._fastest(call) == pytest.approx(0.1)
