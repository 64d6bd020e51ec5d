"""The probes of corruptions and of calibration, and the gate on corruptions."""

from __future__ import annotations

import json

import nets
import numpy as np
import pytest
import torch
from torch import nn

import ostrich
from ostrich.corruptions import NAMES, SEVERITIES, corrupt
from ostrich.crashtest.comparable import comparable
from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.gates import judge_corruption, read_floor
from ostrich.crashtest.probes import calibration, corruptions
from ostrich.crashtest.summary import UNDER_CORRUPTION
from ostrich.data.dataset import Samples
from ostrich.models.answers import predictions
from ostrich.published import published
from ostrich.runtime.deadline import Deadline, TimeUp, until
from ostrich.statistics import bootstrap, rank_correlation, wilson


def context_of(folder, classifier, images, labels=None, **options):
    samples = Samples.of(images, labels, name="some")
    return Context(
        classifier=classifier, samples=samples, folder=folder, model_words=[], data_words=[], **options
    )


@pytest.fixture
def small():
    classifier, images = nets.small(), nets.random_images(20)
    labels = nets.predictions(classifier, images)
    labels[::5] = (labels[::5] + 1) % 5  # four are wrong
    return classifier, images, labels


# Corruptions -----------------------------------------------------------------------------------


def test_each_accuracy_is_that_of_the_corrupted_images(tmp_path, small):
    classifier, images, labels = small
    context = context_of(tmp_path, classifier, images, labels)
    found = corruptions.probe(context)
    figures = found.figures
    assert (figures["n"], figures["clean"]) == (20, 0.8)
    hits = torch.zeros(20, 15, 5)
    for i, name in enumerate(NAMES):
        for severity in SEVERITIES:
            said = predictions(classifier.predict(corrupt(images, name, severity)))
            hits[:, i, severity - 1] = (said == labels).float()
            assert figures["corruptions"][name][str(severity)] == pytest.approx(
                float(hits[:, i, severity - 1].mean())
            )
        assert figures["corruptions"][name]["error"] == pytest.approx(1 - float(hits[:, i].mean()), abs=1e-6)
    judged = figures["severities"]["3"]
    assert judged["accuracy"] == pytest.approx(float(hits[:, :, 2].mean()), abs=1e-6)
    assert judged["interval"][0] <= judged["accuracy"] <= judged["interval"][1]
    whole = figures["all_severities"]
    assert whole["mean_error"]["value"] == pytest.approx(1 - float(hits.mean()), abs=1e-6)
    assert (whole["n"], whole["mce"], whole["relative_mce"]) == (20, None, None)  # five classes
    assert figures["worst"] in found.sentence.replace(" ", "_")
    assert (tmp_path / "pictures/corruption-fog.png").exists()
    (line,) = found.summary
    assert (line["value"], line["n"], line["low"]) == (judged["accuracy"], 20, judged["interval"][0])
    json.dumps(figures)
    again = corruptions.probe(context_of(tmp_path, classifier, images, labels))  # what is kept is found
    assert again.figures == figures


def test_errors_over_those_of_alexnet(tmp_path):
    """A network of ImageNet's classes that errs exactly as AlexNet does has an mCE of 1."""
    classifier = nets.small(num_classes=1000)
    context = context_of(tmp_path, classifier, nets.random_images(4), torch.zeros(4, dtype=torch.int64))
    assert corruptions.of_imagenet(classifier)
    alexnet = torch.tensor([published(f"alexnet-imagenet-c/{n}-error").value for n in NAMES]).double()
    clean = published("alexnet-imagenet-c/clean-error").value
    images = torch.tensor([0.5, 1.5]).double()[:, None]  # one errs half as often as AlexNet, one as much more
    found = corruptions._mean_errors(context, images * alexnet, torch.tensor([False, True]))
    assert found["mce"]["value"] == pytest.approx(1)
    assert found["rank_correlation"] == pytest.approx(1)
    relative = ((alexnet - 0.5) / (alexnet - clean)).mean()
    assert found["relative_mce"]["value"] == pytest.approx(float(relative))
    named = nets.small(num_classes=1000)
    named.class_names = tuple(str(i) for i in range(1000))
    assert not corruptions.of_imagenet(named)


def test_severity_three_comes_first_and_what_is_whole_in_time_is_the_answer(tmp_path, small, monkeypatch):
    classifier, images, labels = small
    calls, whole = [], corruptions._Corrupted.__call__

    def predicted(self, given, checkpoint):
        calls.append((len(given[0]), given[1]))
        if len(calls) > 7:
            raise TimeUp
        return whole(self, given, checkpoint)

    monkeypatch.setattr(corruptions._Corrupted, "__call__", predicted)
    context = context_of(tmp_path, classifier, images, labels)
    with until(Deadline(600)):
        found = corruptions.probe(context).figures
    assert calls[:6] == [(4, 3), (4, 1), (4, 2), (4, 4), (4, 5), (4, 3)]
    assert (found["severities"]["3"]["n"], found["severities"]["1"]["n"]) == (8, 8)
    assert (found["severities"]["5"]["n"], found["all_severities"]["n"]) == (4, 4)
    calls[:] = [()] * 7
    with until(Deadline(600)), pytest.raises(TimeUp):
        corruptions.probe(context_of(tmp_path / "b", classifier, images, labels))


def test_a_network_that_is_never_right_has_nothing_to_lose(tmp_path, small):
    classifier, images, _ = small
    labels = (nets.predictions(classifier, images) + 1) % 5
    with pytest.raises(CannotRun):
        corruptions.probe(context_of(tmp_path, classifier, images, labels))


# The gate --------------------------------------------------------------------------------------


def test_a_floor_under_corruption_is_read():
    floor = read_floor("corruption:3=0.5")
    assert (floor.kind, floor.eps, floor.accuracy) == ("corruption", 3, 0.5)
    for text, said in (
        ("corruption:6=0.5", "1, 2, 3, 4 or 5"),
        ("corruption:2.5=0.5", "1, 2, 3, 4 or 5"),
        ("corruption:3=1.5", "between 0 and 1"),
        ("corruption=0.5", "corruption:3=0.5"),
        ("corrupt:3=0.5", "corruption"),
    ):
        with pytest.raises(ostrich.InputError, match=said):
            read_floor(text)


FIGURES = {"severities": {"3": {"accuracy": 0.6, "interval": [0.5, 0.7], "n": 40}}}


@pytest.mark.parametrize(
    ("text", "figures", "labelled", "passed", "said"),
    [
        ("corruption:3=0.5", FIGURES, True, True, "0.600 (n = 40): it reaches 0.5"),
        ("corruption:3=0.6", FIGURES, True, True, "reaches"),
        ("corruption:3=0.61", FIGURES, True, False, "stays below"),
        ("corruption:5=0.5", FIGURES, True, None, "was not measured"),
        ("corruption:3=0.5", {}, True, None, "was not measured"),
        ("corruption:3=0.5", FIGURES, False, None, "labels"),
    ],
)
def test_a_gate_on_corruption(text, figures, labelled, passed, said):
    gate = judge_corruption(read_floor(text), figures, labelled)
    assert gate["passed"] is passed
    assert said in gate["sentence"]


def test_gates_of_a_check(tmp_path, small):
    classifier, images, labels = small
    asked = ["corruption:3=0.01", "corruption:1=1"]
    found = ostrich.check(classifier, (images, labels), only="corruptions", images=20, fail_under=asked)
    assert [gate["passed"] for gate in found.gates] == [True, False]
    assert not found.passed
    other = ostrich.check(classifier, (images, labels), only="clean", images=20, fail_under=asked[:1])
    assert [gate["passed"] for gate in other.gates] == [None]
    assert not other.passed
    known = comparable({"results": found.figures})[UNDER_CORRUPTION]
    unlabelled = ostrich.check(classifier, images, only="corruptions", images=20, fail_under=asked[:1])
    assert UNDER_CORRUPTION not in comparable({"results": unlabelled.figures})
    assert "of its clean answer on" in unlabelled.figures["verdict"]
    assert known["value"] == found.figures["probes"]["corruptions"]["severities"]["3"]["accuracy"]


# Calibration -----------------------------------------------------------------------------------


class Said(nn.Module):
    """Scores that lie in the pixels: the first five values, ten times."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 10 * images.flatten(1)[:, :5]


def test_calibration_of_a_network_that_is_too_sure(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 3, 8, 8, generator=generator).mul(255).round().div(255)
    classifier = ostrich.load(Said(), size=(8, 8))
    logits = classifier.predict(images)
    labels = torch.multinomial((logits / 2).softmax(1), 1, generator=generator)[:, 0]
    figures = calibration.probe(context_of(tmp_path, classifier, images, labels)).figures
    clean, mended = figures["clean"], figures["temperature"]
    assert clean["confidence"] > clean["accuracy"] + 0.05
    assert clean["interval"][0] > 0
    assert mended["value"] == pytest.approx(2, rel=0.25)  # of 150 images
    assert mended["after"]["error"] < mended["before"]["error"]
    assert mended["after"]["negative_log_likelihood"] < mended["before"]["negative_log_likelihood"]
    assert mended["fitted_on"] + mended["after"]["n"] == clean["n"] == 300
    assert set(figures["unknown"]) == {"noise", "digits"}
    area = figures["unknown"]["noise"]["max_softmax"]
    assert area["area"] == pytest.approx(0.5, abs=0.1)  # its images are noise
    assert area["interval"][0] < 0.5 < area["interval"][1]
    assert figures["corrupted"]["n"] == 300
    json.dumps(figures)


def test_calibration_is_not_known_of_labels_alone_or_without_labels(tmp_path, small):
    classifier, images, labels = small
    with pytest.raises(CannotRun, match="Without labels"):
        calibration.probe(context_of(tmp_path, classifier, images))
    with pytest.raises(CannotRun, match="16"):
        calibration.probe(context_of(tmp_path, classifier, images[:9], labels[:9]))
    own = nets.predictions(classifier, images)
    mended = calibration.probe(context_of(tmp_path, classifier, images, own)).figures["temperature"]
    assert (mended["value"], "right on all" in mended["reason"]) == (None, True)


def test_without_time_for_more_the_clean_images_are_the_answer(tmp_path, small):
    classifier, images, labels = small
    context = context_of(tmp_path, classifier, images, labels)
    context.logits.sum()
    with until(Deadline(0)):
        figures = calibration.probe(context).figures
    assert figures["clean"]["n"] == 20
    assert figures["unknown"] == {}
    assert "corrupted" not in figures


def test_digits_are_not_unknown_to_a_network_of_digits(tmp_path):
    classifier = ostrich.load("zoo:digits-cnn")
    images, labels = (
        ostrich.data.load(ostrich.data.open_data("digits"), size=(8, 8), channels=1, limit=20)
    ).tensors()
    figures = calibration.probe(context_of(tmp_path, classifier, images.float() / 255, labels)).figures
    assert set(figures["unknown"]) == {"noise", "parts of photographs"}


# Statistics ------------------------------------------------------------------------------------


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    x, y = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0], [2.0, 7.0, 1.0, 8.0, 2.0, 8.0]
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation(x, [1.0] * 6) != rank_correlation(x, [1.0] * 6)  # NaN


def test_the_bootstrap_of_a_mean():
    values = torch.randn(200, generator=torch.Generator().manual_seed(0)).tolist()
    low, high = bootstrap(values)
    mean, half = sum(values) / 200, 1.96 * torch.tensor(values).std().item() / 200**0.5
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02)
    assert bootstrap(values) == (low, high)
    assert bootstrap([1.0] * 4) == pytest.approx(wilson(4, 4))  # resamples alone would say that it is sure
    low, high = bootstrap([0.4] * 10)
    assert wilson(4, 10)[0] < low < 0.3 < 0.5 < high < wilson(4, 10)[1]
    assert bootstrap([1.5, 1.5]) == (1.5, 1.5)  # no share


def test_one_value_that_differs_a_little_changes_the_interval_a_little():
    equal, nearly = bootstrap([1.0] * 16), bootstrap([1.0] * 15 + [14 / 15])
    assert nearly == pytest.approx(equal, abs=0.005)
    middle = bootstrap([0.5] * 15 + [0.51])
    assert middle == pytest.approx(bootstrap([0.5] * 16), abs=0.005)


def test_the_bootstrap_holds_the_mean_of_few_shares_and_of_rare_failures():
    """Of images that fail in all corruptions once in fifty, and in one of fifteen once in ten."""
    mean, draw = 0.98 * (1 - 0.1 / 15), np.random.default_rng(0)
    for count in (4, 16, 64):
        held = 0
        for _ in range(200):
            failed, slipped = draw.random((2, count))
            low, high = bootstrap(np.where(failed < 0.02, 0, 1 - (slipped < 0.1) / 15).tolist(), draws=500)
            held += low <= mean <= high
        assert held >= 190


def test_the_interval_of_a_share_holds_the_share():
    for count in range(1, 301):
        for hits in {0, 1, count // 2, count}:
            low, high = wilson(hits, count)
            assert 0 <= low <= hits / count <= high <= 1
        assert (wilson(0, count)[0], wilson(count, count)[1]) == (0, 1)
