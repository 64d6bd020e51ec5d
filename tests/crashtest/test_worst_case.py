"""The crash test's worst case: at the budgets that gates judge, and between known bounds."""

from __future__ import annotations

import runpy

import nets
import numpy as np
import pytest
import torch

import ostrich
from ostrich.attacks import L2, AutoAttack, Linf, Untargeted
from ostrich.attacks.engine.runner import attack
from ostrich.crashtest.context import Context
from ostrich.crashtest.probes import worst_case
from ostrich.data.dataset import Samples
from ostrich.runtime.deadline import Deadline, TimeUp, until

ONE_IMAGE = 0.005  # of the 200 images of the networks with known bounds


def context_of(folder, classifier, pixels, labels, **options):
    samples = Samples.of_pixels(pixels, labels, name="some")
    words = {"model_words": [], "data_words": [], "precision": "exact"}
    return Context(classifier=classifier, samples=samples, folder=folder, **words, **options)


@pytest.fixture
def short(monkeypatch):
    """AutoAttack of a few iterations and queries."""
    monkeypatch.setattr(
        worst_case, "AutoAttack", lambda threat, preset: AutoAttack(threat=threat, iterations=4, queries=20)
    )


def small_context(folder, **options):
    """Six random images whose labels are the clean predictions."""
    classifier, images = nets.small(), nets.random_images(6)
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return context_of(folder, classifier, pixels, nets.predictions(classifier, images), **options)


@pytest.mark.usefixtures("short")
def test_it_is_asked_for_at_the_budgets_that_gates_judge(tmp_path):
    budgets = {"l2": [0.5], "linf": [4 / 255, 1 / 255]}
    context = small_context(tmp_path, budgets=budgets)
    answer = worst_case.probe(context)
    assert answer.budgets == [("linf", 1 / 255), ("linf", 4 / 255), ("l2", 0.5)]
    first, *further = (answer.figures, *answer.figures["further"])
    for one, threat in zip((first, *further), (Linf(1 / 255), Linf(4 / 255), L2(0.5)), strict=True):
        method = AutoAttack(threat=threat, iterations=4, queries=20)
        alone = attack(
            method, context.classifier, context.images, Untargeted(context.labels), precision="exact"
        )
        assert one["robust_accuracy"] == (~alone.success).double().mean().item()
        assert sum(one["broken_by"].values()) == int(alone.success.sum())


@pytest.mark.usefixtures("short")
def test_without_a_gate_it_is_asked_for_once(tmp_path):
    answer = worst_case.probe(small_context(tmp_path))
    assert answer.budgets == [("linf", 1 / 255)]
    assert "further" not in answer.figures


@pytest.mark.usefixtures("short")
def test_without_time_there_is_no_answer(tmp_path):
    with until(Deadline(0)), pytest.raises(TimeUp):
        worst_case.probe(small_context(tmp_path))


@pytest.mark.usefixtures("short")
def test_attacks_for_which_there_is_no_time_are_said(tmp_path, monkeypatch):
    context = small_context(tmp_path)
    whole, tried = context.attack, []

    def attack_once(method, rows, goal):
        tried.append(method.title)
        if len(set(tried)) > 1:
            raise TimeUp
        return whole(method, rows, goal)

    monkeypatch.setattr(context, "attack", attack_once)
    answer = worst_case.probe(context)
    assert "For 4 of the attacks there was no time." in answer.sentence
    assert [count > 0 for count in answer.figures["tried_on"].values()] == [True, False, False, False, False]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["adv", "adv4", "mix", "mix4"])
def test_the_worst_case_lies_between_what_is_verified_and_what_was_attacked(
    name, shared, tmp_path, monkeypatch
):
    """With a fifth of Square's queries: what gradients leave decides, and Square is half of the time."""
    monkeypatch.setattr(
        worst_case,
        "AutoAttack",
        lambda threat, preset: AutoAttack(threat=threat, preset=preset, queries=200),
    )
    known = runpy.run_path(str(shared / "strangers" / "bounded.py"))
    kept = np.load(shared / "data" / "cifar-cnn-a-images.npz")
    path = f"{shared / 'strangers' / 'bounded.py'}:{name}"
    classifier = ostrich.load(path, mean=known["MEAN"], std=known["STD"], size=32, device="cpu")
    labels = torch.from_numpy(kept["labels"]).long()
    context = context_of(tmp_path, classifier, kept["images"], labels, budgets={"linf": [2 / 255]})
    found = worst_case.probe(context).figures["robust_accuracy"]
    clean, *verified, attacked = (percent / 100 for percent in known["PUBLISHED"][name])
    assert context.correct.double().mean().item() == pytest.approx(clean)
    assert max(verified) - 1e-9 <= found <= attacked + ONE_IMAGE + 1e-9
