"""The rules of the studies, on made-up rows: each can end in every one of the three verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ostrich.errors import InputError
from ostrich.models import Classifier, architectures
from ostrich.studies import find, removal
from ostrich.studies.breaking import MNIST_ALONE
from ostrich.studies.points import at_least, at_most
from ostrich.studies.schema import Done, Findings, Row, Trial
from ostrich.studies.systematic import COMPARISONS

REPRODUCED, DIRECTION, NOT = "reproduced", "direction only", "not reproduced"
WIGGLE = (-1.0, 1.0, 0.5, -0.5, 0.0)  # of the seeds, in turn: means stay, intervals have a width


def judged(name: str, rows: Callable[[Trial], Iterable[Row]], **settings: Any) -> Findings:
    """The findings of a study's trials at scale cpu, where each trial gives these rows."""
    study = find(name)
    spec = replace(study.spec("cpu"), **settings)
    done = [Done(trial=t, rows=list(rows(t)), folder=Path()) for t in study.trials(spec)]
    found = study.judge(spec, done)
    assert found.because.endswith(".")
    return found


def verdict(name: str, rows: Callable[[Trial], Iterable[Row]], **settings: Any) -> str:
    return judged(name, rows, **settings).verdict


def wiggle(trial: Trial, size: float) -> float:
    return size * WIGGLE[trial["seed"] % len(WIGGLE)]


def ends(**values: float) -> dict[str, float]:
    """What `measured` gives, with these values."""
    return {"train_loss": 0.0, "train_error": 0.0, "test_loss": 0.0, "test_error": 0.0, **values}


# Of training and depth ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "residual", "test", "width", "expected"),
    [
        (5.0, 0.0, -1.5, 0.1, REPRODUCED),
        (5.0, 0.0, 0.0, 0.1, DIRECTION),  # residual networks hold, but do not fall
        (5.0, 0.5, -1.5, 0.5, NOT),  # a rise of at most 1: not surely less than what plain networks lose
        (5.0, 0.0, -1.5, 3.0, NOT),  # no wide interval passes for "does not rise"
        (0.5, 0.0, -1.5, 0.1, NOT),  # plain networks do not lose enough
    ],
)
def test_depth(plain, residual, test, width, expected):
    def rows(trial: Trial) -> list[Row]:
        grown = (trial["depth"] - 8) / 48  # 0 at 8 layers, 1 at 56
        step = {"step": 1, "running_train_error": 50.0}
        train = grown * ((plain if trial["kind"] == "plain" else residual) + wiggle(trial, width))
        return [step, {"step": None, **ends(train_error=1 + train, test_error=9 + test * grown)}]

    assert verdict("depth", rows) == expected


@pytest.mark.parametrize(
    ("deepened", "scratch", "apart", "expected"),
    [
        (0.010, 1.0, 0.0, REPRODUCED),  # the shallow one goes from .030 to .010 by the further steps
        (0.014, 1.0, 0.0, REPRODUCED),
        (0.0199, 1.0, 0.0, DIRECTION),
        (0.010, 0.0101, 0.0, DIRECTION),
        (0.025, 1.0, 0.0, NOT),  # below the shallow one, but not by half of what the steps alone bring
        (0.010, 1.0, 1e-4, NOT),
        (0.010, math.nan, 0.0, REPRODUCED),  # what diverged is above
    ],
)
def test_identity(deepened, scratch, apart, expected):
    def rows(trial: Trial) -> list[Row]:
        noise = wiggle(trial, 0.001)
        return [
            {"what": "shallow", **ends(train_loss=0.030)},
            {"what": "construction", "apart": apart, "predictions_changed": 0},
            {"what": "deepened", **ends(train_loss=deepened + noise)},
            {"what": "shallow, trained on", **ends(train_loss=0.010)},
            {"what": "from scratch", **ends(train_loss=scratch + noise)},
        ]

    assert verdict("identity", rows) == expected


def test_identity_is_not_judged_by_the_shallow_network_that_was_not_trained_on():
    def rows(trial: Trial) -> list[Row]:
        losses = {"shallow": 0.03, "deepened": 0.028, "shallow, trained on": 0.01, "from scratch": 0.02}
        made = {"what": "construction", "apart": 0.0, "predictions_changed": 0}
        return [made, *({"what": what, **ends(train_loss=loss)} for what, loss in losses.items())]

    # every deepened one is below the shallow one, every one from scratch too: the earlier rule let both pass
    assert verdict("identity", rows) == NOT


@pytest.mark.parametrize(
    ("learn", "stall", "ratio", "expected"),
    [
        (24, 24, 1.0, REPRODUCED),
        (18, 18, 1.0, REPRODUCED),  # lower end of 18 of 24: 55 %
        (15, 24, 1.0, DIRECTION),  # 43 to 79 %: more seeds would decide
        (3, 24, 1.0, NOT),  # surely fewer than half learn
        (24, 3, 1.0, NOT),
        (12, 12, 1.0, NOT),  # as many learn from Xavier as from He
        (24, 24, 1.1, NOT),
    ],
)
def test_initialization(learn, stall, ratio, expected):
    def rows(trial: Trial) -> list[Row]:
        if trial["part"] == "signal":
            each = {"he": math.log2(ratio), "xavier": -1.0}
            return [
                {"start": s, "layer": k, "log2_signal": k * each.get(s, 1.0), "log2_gradient": -k * 1.0}
                for s in ("normal", "xavier", "he", "twice-he", "default")
                for k in range(31)
            ]
        good = trial["seed"] < learn if trial["start"] == "he" else trial["seed"] >= stall
        loss = 0.1 if good else math.log(10)
        return [
            {"what": "end", **ends(train_loss=loss)},
            {"what": "way", "step": 1, "train_loss": loss},
            {"what": "line", "t": 0.0, "train_loss": loss},
        ]

    assert verdict("initialization", rows) == expected


@pytest.mark.parametrize(
    ("rise", "other", "unfitted", "width", "expected"),
    [
        (30.0, 4.0, 1.0, 0.5, REPRODUCED),
        (30.0, -2.0, 1.0, 0.5, REPRODUCED),  # the other cuts cost nothing
        (30.0, 4.0, 9.0, 0.5, DIRECTION),  # of a network that is not fitted
        (30.0, 15.0, 1.0, 0.5, DIRECTION),  # no cliff
        (8.0, 2.0, 1.0, 8.0, DIRECTION),  # not surely above the others
        (-2.0, -3.8, 1.0, 0.5, NOT),  # a cut that helps is no cliff, though the others help more
        (3.0, 4.0, 1.0, 0.5, NOT),
    ],
)
def test_ablation(rise, other, unfitted, width, expected):
    def rows(trial: Trial) -> list[Row]:
        more = {"none": 0.0, "3467": rise + wiggle(trial, width)}.get(trial["without"], other)
        return [{"classes": 10, "parameters": 1, **ends(train_error=unfitted, test_error=20 + more)}]

    assert verdict("ablation", rows) == expected


@pytest.mark.parametrize(
    ("times", "learn_without", "learn_with", "expected"),
    [
        (4, 0, 20, REPRODUCED),
        (4, 3, 17, REPRODUCED),
        (4, 9, 20, DIRECTION),  # 26 to 66 % learn without it
        (1.6, 0, 20, DIRECTION),  # faster, but surely not twice
        (4, 18, 20, NOT),
        (4, 0, 2, NOT),
        (1, 0, 20, NOT),
    ],
)
def test_batchnorm(times, learn_without, learn_with, expected):
    def rows(trial: Trial) -> list[Row]:
        norm, rate, seed = trial["norm"], trial["rate"], trial["seed"]
        end = {"step": None, "classes": 10, **ends()}
        if rate == 1.0:
            learns = seed < (learn_with if norm else learn_without)
            return [{"step": 400, "test_accuracy": 60.0 if learns else 10.0}, end]
        if rate == 0.1:
            return [{"step": 400, "test_accuracy": 50.0}, end]
        first = 400 if not norm else round(400 / times) + int(wiggle(trial, 10))
        return [{"step": first, "test_accuracy": 90.0}, end]

    assert verdict("batchnorm", rows) == expected


def test_batch_norm_has_to_reach_it_with_every_seed():
    def rows(trial: Trial) -> list[Row]:
        lost = trial["norm"] and trial["seed"] == 3
        return [{"step": 9, "test_accuracy": 80.0 if lost else 90.0}, {"step": None, "classes": 10, **ends()}]

    assert verdict("batchnorm", rows) == NOT


@pytest.mark.parametrize(
    ("gain", "times", "steadier", "expected"),
    [
        (0.5, 4, 0.3, REPRODUCED),
        (0.0, 4, 0.3, DIRECTION),  # faster, no better
        (0.5, 4, 0.0, DIRECTION),  # faster and better, no steadier
        (0.5, 1, 0.3, NOT),
        (-0.5, 4, 0.3, NOT),  # the accuracy of the network without is not reached
    ],
)
def test_batchnorm_mnist(gain, times, steadier, expected):
    """The rate is chosen on held-out images: at .1 tests are better still, and have no part in it."""

    def rows(trial: Trial) -> list[Row]:
        norm, chosen = trial["norm"], trial["rate"] == 1.0
        noise = wiggle(trial, 0.02)
        last = (97 + gain if norm else 97.0) if chosen else 99.9
        first = 1000 // times + round(100 * noise) if norm else 1000
        at = {f"p{p}": 0.0 for p in (15, 50, 85)}
        return [
            {"step": first, "test_accuracy": last, **at},
            {
                "step": None,
                "held_out_accuracy": 97.0 if chosen else 90.0,
                "test_accuracy": last,
                "drift": 0.5 - (steadier if norm else 0) + noise * (1 if norm else -1),
            },
        ]

    assert verdict("batchnorm-mnist", rows) == expected


@pytest.mark.parametrize(
    ("whole", "wide", "expected"),
    [(3.0, 3.5, REPRODUCED), (3.0, 3.0, DIRECTION), (3.9, 3.9, NOT), (4.0, 4.5, NOT)],
)
def test_ensemble(monkeypatch, whole, wide, expected):
    """Ensembles have an error of `whole`, single networks of 4, the wide one of `wide`."""
    study = find("ensemble")
    module = __import__(study.judge.__module__, fromlist=["judge"])

    class Split:
        def tensors(self) -> tuple[None, list[int]]:
            return None, []

    class Splits:
        test = Split()

    monkeypatch.setattr(module, "_splits", lambda spec, seed: Splits())
    monkeypatch.setattr(
        module, "_logits", lambda done, kind, seed: [(kind, seed)] * (8 if kind == "plain" else 4)
    )
    monkeypatch.setattr(module, "_ensemble", lambda logits, labels, k, way: whole if k > 1 else 4.0)

    def rows(trial: Trial) -> list[Row]:
        error = {"wide": wide, "dropout": 3.5}.get(trial["kind"], 4.0)
        noise = 0.0 if trial["kind"] != "plain" else wiggle(trial, 0.5)
        return [{**ends(test_error=error + noise), "multiplications": 1}]

    assert verdict("ensemble", rows) == expected


# Of data and features ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exponent", "noise", "width", "expected"),
    [
        (-0.15, 5.0, 0.1, REPRODUCED),
        (-0.09, 5.0, 0.1, DIRECTION),  # surely falling, surely not as published
        (-0.15, 0.0, 0.1, DIRECTION),  # wrong labels cost nothing
        (-0.15, 2.0, 9.0, NOT),  # an interval that holds zero
        (0.05, 5.0, 0.1, NOT),
    ],
)
def test_data_size(exponent, noise, width, expected):
    def rows(trial: Trial) -> list[Row]:
        slope = exponent * (1 + wiggle(trial, width))  # of this seed
        error = 60 * (trial["n"] / 300) ** slope
        cost = (noise + wiggle(trial, width)) if trial["noise"] else 0.0
        return [{"classes": 10, **ends(test_error=error + cost)}]

    assert verdict("data-size", rows) == expected


def test_wrong_labels_are_paired_by_seed():
    """Draws that differ much: the means of ten are no test, but each draw loses by wrong labels."""

    def rows(trial: Trial) -> list[Row]:
        slope = -0.15 + wiggle(trial, 0.01)
        error = (45 + 8 * wiggle(trial, 1)) * (trial["n"] / 300) ** slope + (2 if trial["noise"] else 0)
        return [{"classes": 10, **ends(test_error=error)}]

    assert verdict("data-size", rows) == REPRODUCED


@pytest.mark.parametrize(
    ("pixels", "hog", "untrained", "width", "expected"),
    [
        (38, 34, 45, 1.0, REPRODUCED),
        (38, 34, 45, 9.0, DIRECTION),
        (38, 34, 49, 1.0, NOT),  # the untrained network does as well
        (49, 34, 45, 1.0, NOT),
    ],
)
def test_off_the_shelf(pixels, hog, untrained, width, expected):
    def rows(trial: Trial) -> list[Row]:
        base = [
            {"what": what, "layer": what, "accuracy": float(value), "validation": 0.0}
            for what, value in (("pixels", pixels), ("HOG", hog))
        ]
        deep = {"trained": 48 + wiggle(trial, width), "untrained": float(untrained)}
        layers = [
            {"what": what, "layer": name, "place": i, "accuracy": [40.0, top][i], "validation": float(i)}
            for what, top in deep.items()
            for i, name in enumerate(("relu1", "relu4"))
        ]
        return [{"what": "source", **ends()}, *base, *layers]

    assert verdict("off-the-shelf", rows) == expected


@pytest.mark.parametrize(
    ("one_mask", "width", "many", "expected"),
    [
        (5.0, 0.1, 0.01, REPRODUCED),
        (5.0, 9.0, 0.01, DIRECTION),
        (5.0, 0.1, 0.9, DIRECTION),  # many masks are no farther in the mean, and not surely
        (3.5, 0.1, 0.01, NOT),
    ],
)
def test_masks_are_compared_with_all_units_by_their_intervals(one_mask, width, many, expected):
    def rows(trial: Trial) -> list[Row]:
        whole = 4.0 if trial["drop"] else 5.0
        found: list[Row] = [{"way": "weight scaling", **ends(test_error=whole + wiggle(trial, 0.01))}]
        for k in find("dropout").spec("cpu").masks if trial["drop"] else ():
            value = one_mask + wiggle(trial, width) if k == 1 else 4.0 + wiggle(trial, many)
            found.append({"way": "Monte-Carlo", "masks": k, "test_error": value})
        return found

    assert verdict("dropout", rows) == expected


@pytest.mark.parametrize(
    ("plain", "dropout", "both", "width", "expected"),
    [
        (1.60, 1.25, 1.06, 0.01, REPRODUCED),
        (1.60, 1.25, 1.06, 0.6, NOT),  # nothing is decided
        (1.90, 1.25, 1.06, 0.01, DIRECTION),  # too far from the published figure
        (1.60, 1.25, 1.30, 0.01, DIRECTION),  # max-norm brings nothing
        (1.45, 1.50, 1.20, 0.01, NOT),  # dropout is worse
    ],
)
def test_dropout_on_mnist(plain, dropout, both, width, expected):
    """Earlier steps do not count: there the order is the reverse."""
    means = dict(zip(("plain", "dropout", "dropout and max-norm"), (plain, dropout, both)))
    sign = {"plain": 1, "dropout": -1, "dropout and max-norm": 1}

    def rows(trial: Trial) -> list[Row]:
        value = means[trial["kind"]] + sign[trial["kind"]] * wiggle(trial, width)
        return [
            {"step": step, "test_error": error, "train_error": 0.0}
            for step, error in ((10, 9 - value), (find("dropout-mnist").spec("cpu").steps, value))
        ]

    assert verdict("dropout-mnist", rows) == expected


@pytest.mark.parametrize(
    ("turned", "factor", "width", "expected"),
    [
        ((), 1.0, 0.1, REPRODUCED),
        (("ELU for ReLU",), 1.0, 0.1, DIRECTION),  # 16 of 17, but that one surely goes the other way
        (("ELU for ReLU",), 1.0, 9.0, REPRODUCED),  # perhaps the other way
        (("average for max pooling", "HSV for RGB", "YCrCb for RGB", "grey for RGB"), 1.0, 0.1, DIRECTION),
        (("half the width", "4x batch", "HSV for RGB", "YCrCb for RGB", "grey for RGB"), 1.0, 0.1, NOT),  # 12
        ((), -1.0, 0.1, NOT),
        (("4x batch and rate", "batch norm before ReLU"), 1.0, 0.1, REPRODUCED),  # nothing is asked of these
    ],
)
def test_systematic(turned, factor, width, expected):
    """Each variant is as far from its rival as published, `turned` ones the other way round."""
    accuracies = {"baseline": 60.0}
    for one in sorted(COMPARISONS, key=lambda one: one.against != "baseline"):
        sign = -1 if one.name in turned else 1
        accuracies.setdefault(one.variant, accuracies[one.against] + factor * sign * one.theirs())

    def rows(trial: Trial) -> list[Row]:
        moved = 0.0 if trial["variant"] in ("baseline", "norm before") else wiggle(trial, width)
        right = accuracies[trial["variant"]] + moved
        return [{"epoch": None, "held_out_accuracy": right, "test_accuracy": 100 - right}]

    assert verdict("systematic", rows) == expected


@pytest.mark.parametrize(
    ("hog", "here", "untrained", "width", "expected"),
    [
        (40, 45, 50, 1.0, REPRODUCED),
        (40, 45, 50, 60.0, DIRECTION),
        (40, 61, 50, 1.0, NOT),  # a network trained on the same images does better
        (40, 45, 62, 1.0, NOT),
        (61, 45, 50, 1.0, NOT),
    ],
)
def test_off_the_shelf_of_imagenet(hog, here, untrained, width, expected):
    """The layer counts that is best on validation images: blocks.6, not bn1 with 99 % on test images."""

    def rows(trial: Trial) -> list[Row]:
        base = {"pixels": 35.0, "HOG": float(hog)}
        found: list[Row] = [
            {"what": what, "layer": what, "validation": 0.0, "accuracy": value}
            for what, value in base.items()
        ]
        for place, name in enumerate(find("off-the-shelf-imagenet").spec("cpu").layers):
            best = name == "blocks.6"
            for what, top in (("trained", 60 + wiggle(trial, width)), ("untrained", float(untrained))):
                value = top if best else 99.0 if name == "bn1" else 20.0
                row = {"what": what, "layer": name, "place": place, "validation": float(best)}
                found.append({**row, "accuracy": value})
        for i, name in enumerate(find("off-the-shelf-imagenet").spec("cpu").rivals):
            accuracy = float(here) if i == 0 else 99.0
            found.append({"what": "trained here", "layer": name, "validation": 1.0 - i, "accuracy": accuracy})
        return found

    assert verdict("off-the-shelf-imagenet", rows) == expected


def test_the_layer_off_the_shelf_is_chosen_without_the_test_images():
    """relu1 is the best on validation images, relu4 on test images: what counts is relu1's test accuracy."""

    def rows(trial: Trial) -> list[Row]:
        found = [("relu1", 50.0, 41.0), ("relu4", 40.0, 60.0)]
        layers = [
            {"what": what, "layer": name, "place": i, "accuracy": test, "validation": known}
            for what in ("trained", "untrained")
            for i, (name, known, test) in enumerate(found)
        ]
        base = [{"what": w, "layer": w, "accuracy": 30.0, "validation": 0.0} for w in ("pixels", "HOG")]
        return [{"what": "source", **ends()}, *base, *layers]

    found = judged("off-the-shelf", rows)
    assert found.verdict == NOT
    assert found.figures["over_pixels"] == pytest.approx(11)
    assert "relu1 10 times" in found.because
    assert len(find("off-the-shelf").trials(find("off-the-shelf").spec("cpu"))) >= 10


@pytest.mark.parametrize(
    ("verified", "broken", "both", "spread", "expected"),
    [
        (45, 4, 0, 0, REPRODUCED),  # of 100 images 50 are right: 46 stand, 45 are verified
        (43, 4, 0, 2, DIRECTION),  # 1, 3 and 5 points: the interval of 3 reaches 8
        (40, 0, 0, 0, DIRECTION),
        (20, 0, 0, 0, NOT),  # less than half of what stands
        (45, 4, 1, 0, NOT),  # one is both
    ],
)
def test_bounds(verified, broken, both, spread, expected):
    def rows(trial: Trial) -> list[Row]:
        return [
            {
                "image": i,
                "right": i < 50,
                "verified": i < verified + spread * (trial["seed"] - 1),
                "broken": i < both or 50 - broken <= i < 50,
            }
            for i in range(100)
        ]

    found = judged("bounds", rows)
    assert found.verdict == expected
    assert found.figures["both"] == 3 * both
    assert found.figures["attacked"] == 50 - broken - both


@pytest.mark.parametrize(
    ("shortcut", "costs", "expected"),
    [
        (True, [5.0] * 10, REPRODUCED),
        (True, [5.0] * 9 + [80.0], REPRODUCED),  # nearly every
        (True, [5.0] * 4 + [20.0] * 3, DIRECTION),  # 4 of 7, whose median is cheap
        (True, [5.0] * 3, DIRECTION),  # every one of three: the interval reaches below one half
        (True, [5.0] * 3 + [80.0] * 4, NOT),
        (False, [85.0] * 5, REPRODUCED),  # a plain network that does what the paper says
        (False, [85.0] * 3 + [40.0] * 2, DIRECTION),
        (False, [5.0] * 5, NOT),
    ],
)
def test_removal(shortcut, costs, expected):
    def rows(trial: Trial) -> list[Row]:
        whole = {"part": "whole", "name": "", "accuracy": 100.0, "n": 256, "classes": 10}
        parts = [
            {"part": "block", "name": f"b{i}", "accuracy": 100 - cost, "shortcut": shortcut}
            for i, cost in enumerate(costs)
        ]
        return [whole, *parts]

    found = judged("removal", rows)
    assert found.verdict == expected
    assert ("residual" if shortcut else "plain") in found.because


def test_removal_says_where_nothing_can_be_removed():
    whole = {"part": "whole", "name": "", "accuracy": 100.0, "n": 256, "classes": 10}
    channels = {"part": "channels", "name": "features.0", "accuracy": 90.0, "share": 0.1}
    with pytest.raises(InputError, match="none can be removed"):
        judged("removal", lambda trial: [whole, channels])


@pytest.mark.parametrize(("name", "expected"), [("resnet20", True), ("plain20", False)])
def test_a_shortcut_is_found_by_what_a_block_computes(name, expected):
    network, _, _ = architectures.build(f"{name},width=0.25,classes=10,size=16x16")
    classifier = Classifier(network.eval(), size=(16, 16), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        parts = removal.removable(classifier, images)
        blocks = {n: m for n, m in parts.items() if removal._kind(n, parts) == "block"}
        before = classifier(images)
        found = {n: removal.has_shortcut(classifier, m, images) for n, m in blocks.items()}
        assert torch.equal(classifier(images), before)  # no hook is left behind
    assert len(blocks) >= 5
    assert set(found.values()) == {expected}


# Of games ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "perceptron", "expected"),
    [
        ("collapsed", "", REPRODUCED),
        ("", "diverged", DIRECTION),  # nothing collapses: that perceptrons diverge is another matter
        ("", "", DIRECTION),
        ("near", "", NOT),
    ],
)
def test_stability(plain, perceptron, expected):
    def rows(trial: Trial) -> list[Row]:
        bad = {"without batch norm": plain, "perceptron": perceptron}.get(trial["game"], "")
        far = {"DCGAN": 7.0, "perceptron": 18.0}.get(trial["game"], 6.0 if plain == "near" else 16.0)
        lost = bad == "diverged" and trial["factor"] > 1
        return [
            {
                "step": 2000,
                "told_apart": 0.9,
                "distance": None if lost else far + wiggle(trial, 1),
                "diversity": None if lost else 0.1 if bad == "collapsed" else 0.9,
                "collapsed": float(bad == "collapsed"),
                "diverged": float(lost),
            }
        ]

    found = judged("stability", rows)
    assert found.verdict == expected
    assert found.figures["collapsed_perceptron"] == 0
    assert found.figures["diverged_perceptron"] == (4 if perceptron else 0)


def test_a_game_of_dcgan_that_collapses_or_diverges_is_none_that_is_stable():
    for how in ("collapsed", "diverged"):

        def rows(trial: Trial, how: str = how) -> list[Row]:
            worst = trial["game"] == "without batch norm"
            mine = trial["game"] == "DCGAN" and trial["factor"] > 1 and trial["seed"] == 0
            base: Row = {"step": 2000, "told_apart": 0.9, "collapsed": float(worst), "diverged": 0.0}
            base |= {"distance": 7.0 if trial["game"] == "DCGAN" else 16.0, "diversity": 0.9}
            return [base | ({how: 1.0} if mine else {})]

        assert verdict("stability", rows) == NOT  # perceptrons lose no run here


@pytest.mark.parametrize("name", ["dcgan-cifar10", "perceptron-gan-mnist"])
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, REPRODUCED),
        ({"share_of_mean_image": 0.34}, DIRECTION),
        ({"memorised": True}, DIRECTION),
        ({"score_gaussian": 3.1}, NOT),  # a Gaussian of the pixels is recognised as well
        ({"score_noise": 3.1}, NOT),
        ({"share_of_mean_image": 1.1, "frechet_distance": 110.0}, NOT),
        ({"share_of_mean_image": 0.5, "gaussian": 20.0}, NOT),  # farther than the Gaussian
        ({"diverged": True}, NOT),
    ],
)
def test_generated_images(name, changed, expected):
    """One seed of three decides; what the rule asks is asked of every seed."""
    good = {
        "diverged": False,
        "score_samples": 3.0,
        "score_noise": 1.1,
        "score_gaussian": 1.5,
        "score_real": 6.0,
        "frechet_distance": 30.0,
        "floor_two_halves_of_real": 2.0,
        "ceiling_mean_image": 100.0,
        "ceiling_noise": 120.0,
        "gaussian": 90.0,
        "share_of_mean_image": 0.3,
        "precision": 0.5,
        "recall": 0.2,
        "diversity": 0.9,
        "memorised": False,
        "copies": 0,
        "largest_step": 0.15,
    }

    def rows(trial: Trial) -> list[Row]:
        end = {**good, **(changed if trial["seed"] == 1 else {})}
        if end["diverged"]:
            end = {"diverged": True}
        way = {"step": 500, "told_apart": 0.9, "judge_distance": 5.0, "diversity": 0.9}
        return [way, {"step": None, **end}]

    assert verdict(name, rows) == expected


# Of attacks --------------------------------------------------------------------------------------


def breaking(row: str, rows: list[Row], *, classes: int = 10, of: int = 3) -> Findings:
    """The findings of one row of the study `breaking`, of whose shares so many are there."""
    study = find("breaking")
    spec = replace(study.spec("cpu"), attacks=(row,))
    about = {"kind": "about", "classes": classes, "of": 100, "right": 90, "fitted": 60}
    plan = study.trials(spec)
    assert len(plan) == 3
    return study.judge(spec, [Done(trial=t, rows=[about, *rows], folder=Path()) for t in plan[:of]])


def images(hits: int, n: int, field: str = "broken", **more: Any) -> list[Row]:
    return [{"kind": "image", "image": i, field: i < hits, **more} for i in range(n)]


def far(distance: float) -> dict[str, float]:
    lengths = {"l2": 1.0, "relative": 1.0, "rms": 1.0}
    return {f"{name}{end}": distance * x for name, x in lengths.items() for end in ("", "_of_file")}


SOME_ARRIVE = [*images(0, 7, confidence=0.99995), *images(0, 3, confidence=0.5)]
CHANCE = {"kind": "chance", "rate": 0.05, "of": 20}
EVOLUTION = {"kind": "evolution", "of_classes": 1000, "generations": 9, "population": 5, "mean": 0.5}


@pytest.mark.parametrize(
    ("row", "rows", "classes", "expected"),
    [
        ("deepfool", images(40, 40, **far(0.02)), 10, REPRODUCED),
        ("deepfool", images(40, 40, **far(0.02)), 1000, DIRECTION),  # ten times what is published there
        ("deepfool", images(40, 40, **far(0.002)), 1000, REPRODUCED),
        ("deepfool", images(30, 40, **far(0.02)), 10, NOT),
        ("cw", images(40, 40, **far(0.2)), 10, REPRODUCED),
        ("cw", images(40, 40, **far(0.4)), 10, DIRECTION),
        ("cw", [*images(20, 20, **far(0.1)), *images(20, 20, **far(0.3))], 10, REPRODUCED),
        ("cw", [*images(2, 2, **far(0.05)), *images(1, 1, **far(0.5))], 10, DIRECTION),  # a wide interval
        ("cw", images(30, 40, **far(0.2)), 10, NOT),
        ("fgsm", images(26, 40), 10, REPRODUCED),  # 35 % stand
        ("fgsm", images(39, 40), 10, DIRECTION),
        ("fgsm", images(2, 3), 10, DIRECTION),  # of nine the interval is wide
        ("fgsm", images(10, 40), 10, NOT),
        ("pgd", images(40, 40), 10, REPRODUCED),
        ("pgd", images(39, 40), 1000, DIRECTION),
        ("pgd", images(30, 40), 10, NOT),
        ("fooling-ascent", images(0, 10, confidence=0.99995), 1000, REPRODUCED),
        ("fooling-ascent", images(0, 10, confidence=0.995), 1000, DIRECTION),
        ("fooling-ascent", SOME_ARRIVE, 1000, NOT),  # though the median is where the ascent ends
        ("fooling-ascent", images(0, 10, confidence=0.95), 1000, NOT),
        ("fooling-cppn", [{**EVOLUTION, "median": 0.9, "sure": 300}], 1000, REPRODUCED),
        ("fooling-cppn", [{**EVOLUTION, "median": 0.9, "sure": 300}], 10, DIRECTION),  # MNIST's 99.99
        ("fooling-direct", [{**EVOLUTION, "median": 0.1, "sure": 99}], 1000, NOT),
        ("universal", [*images(32, 40, "changed"), CHANCE], 1000, REPRODUCED),
        ("universal", [*images(30, 40, "changed"), CHANCE], 1000, DIRECTION),  # its interval reaches 77.8
        ("universal", [*images(16, 40, "changed"), CHANCE], 1000, DIRECTION),
        ("universal", [*images(2, 40, "changed"), CHANCE], 1000, NOT),
        ("patch-10", [*images(36, 40), CHANCE], 1000, REPRODUCED),
        ("patch-10", [*images(16, 40), CHANCE], 1000, DIRECTION),
        ("patch-10", [*images(1, 40), CHANCE], 1000, NOT),
        ("patch-10", [*images(4, 40), CHANCE], 1000, NOT),  # above chance, and not surely
        ("one-pixel", images(3, 10), 10, REPRODUCED),
        ("one-pixel", images(10, 10), 10, DIRECTION),  # more than published
        ("one-pixel", images(1, 2), 10, DIRECTION),  # of six the interval is wide
        ("one-pixel", images(0, 10), 10, NOT),
        ("printed", images(30, 40, "photograph_wrong", clean_photograph_wrong=False), 1000, REPRODUCED),
        ("printed", images(10, 40, "photograph_wrong", clean_photograph_wrong=False), 1000, DIRECTION),
        ("printed", images(2, 40, "photograph_wrong", clean_photograph_wrong=False), 1000, NOT),
    ],
)
def test_breaking(row, rows, classes, expected):
    found = breaking(row, rows, classes=classes)
    assert found.verdict == expected
    assert row in found.because
    assert found.figures[f"{row}_n"] >= 1
    assert found.compared[0][1] != "-"


@pytest.mark.parametrize(
    ("row", "rows", "classes"),
    [
        ("patch-5", [*images(36, 40), CHANCE], 1000),
        ("one-pixel", images(3, 10), 1000),
        ("cw", images(40, 40, **far(0.2)), 1000),
        ("lbfgs", images(40, 40, **far(0.004)), 10),
        ("lbfgs", images(0, 40, **far(0.004)), 10),
    ],
)
def test_what_has_nothing_published_beside_it_is_not_judged(row, rows, classes):
    found = breaking(row, rows, classes=classes)
    assert found.verdict == NOT  # nothing is judged: nothing is claimed
    assert "1 have nothing comparable published" in found.because
    assert (found.compared[0][1] == "-") == (row not in MNIST_ALONE)


def test_a_row_is_judged_when_all_of_its_shares_are_there():
    found = breaking("pgd", images(40, 40), of=2)
    assert found.verdict == NOT
    assert "1 are not whole yet" in found.because
    assert found.tables[0].rows[0][-1] == "so far, 2 of 3 shares"
    assert found.figures["pgd_n"] == 80


def test_one_row_that_is_not_reproduced_decides():
    study = find("breaking")
    spec = replace(study.spec("cpu"), attacks=("fgsm", "pgd"))
    about = {"kind": "about", "classes": 10, "of": 100, "right": 90}

    def verdict_of(fgsm: int, pgd: int) -> str:
        hits = {"fgsm": fgsm, "pgd": pgd}
        done = [
            Done(trial=t, rows=[about, *images(hits[t["row"]], 40)], folder=Path())
            for t in study.trials(spec)
        ]
        return study.judge(spec, done).verdict

    assert verdict_of(26, 40) == REPRODUCED
    assert verdict_of(39, 40) == DIRECTION
    assert verdict_of(26, 10) == NOT


# Prior -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recognised", "reached", "expected"),
    [
        ({"prior": 9, "lucid": 6, "plain": 1}, True, REPRODUCED),
        (
            {"prior": 9, "lucid": 6, "plain": 1},
            False,
            DIRECTION,
        ),  # the prior is not there: another activation
        ({"prior": 6, "lucid": 6, "plain": 1}, True, NOT),
        ({"prior": 9, "lucid": 10, "plain": 1}, True, NOT),
    ],
)
def test_prior(recognised, reached, expected):
    def rows(trial: Trial) -> list[Row]:
        hits = recognised.get(trial["way"], 10)
        return [
            {"judge": name, "class": k, "recognised": k < hits, "reached": reached or trial["way"] != "prior"}
            for name in ("zoo:toybox-resnet20", "zoo:toybox-alexnet")
            for k in range(10)
        ]

    assert judged("prior", rows).verdict == expected


def test_who_had_a_part_in_the_images_is_no_judge(tmp_path):
    study = find("prior")
    for name in ("zoo:toybox-plain14", "zoo:toybox-robust"):  # what is climbed, and the generator's encoder
        spec = replace(study.spec("smoke"), judges=(name,))
        with pytest.raises(InputError, match="is no judge"):
            study.run(spec, study.trials(spec)[0], tmp_path)


def test_bounds_in_a_sentence_are_rounded_to_their_safe_side():
    values = (3.46e-16, 0.0168, 0.1, 0.0, 1.37e-6, 7.0)
    assert [at_most(value) for value in values] == ["3.5e-16", "0.017", "0.1", "0", "1.4e-06", "7"]
    assert [at_least(value) for value in values] == ["3.4e-16", "0.016", "0.1", "0", "1.3e-06", "7"]
