"""The networks of the shared kit through the verbs in Python: attacks, the crash test, its gates, the doctor.

At 8/255 stand 14 of 18 images and at 16/255 none, of two classes 10 of 12, whatever is around `colour`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import ostrich
from ostrich.data import loading as datasets
from ostrich.data.files import class_folders
from ostrich.errors import InputError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.filterwarnings("ignore:.*quant"),  # torch moves it to another package
]
SLOPED = (
    *("colour", "saturated", "log_softmax_saturated", "softmax_out", "masked_classes", "in_a_tuple"),
    *("in_a_dict", "in_an_object", "one_by_one_map", "half", "bfloat16", "double", "batch_of_four"),
)
FLAT = ("no_gradient", "hard_vote", "static_int8", "coarse_input")  # no gradient leads anywhere
TWO = ("two_logits", "one_logit", "one_logit_flat", "one_sigmoid")
BANDS = {"four_channels": (4, 3), "eleven_channels": (11, 8)}  # images, and those that stand at 8/255
RANDOM = ("noisy", "dropout_in_evaluation")
FOUND = {  # by the doctor
    "saturated": {"saturated-logits"},
    "log_softmax_saturated": {"saturated-logits"},
    "softmax_out": {"softmax-as-logits"},
    "no_gradient": {"zero-gradient"},
    "hard_vote": {"zero-gradient"},
    "coarse_input": {"quantized-input", "zero-gradient"},
    "static_int8": {"quantized-input", "zero-gradient"},
}


@pytest.fixture
def opened(shared, written):
    """A network and its images with labels, by its name."""

    def open_(name: str, **options: Any) -> tuple[ostrich.Classifier, Tensor, Tensor]:
        folder, names = "named", "classes.txt"
        if name in TWO:
            folder, names = "two", "classes-two.txt"
        elif name in BANDS:
            folder, names = f"bands{BANDS[name][0]}", ""
        elif name == "masked_classes":
            names = "classes-five.txt"
        if names:
            options["classes"] = written / names
        model = ostrich.load(f"{shared / 'strangers/networks.py'}:{name}", size=16, **options)
        samples = datasets.load(
            class_folders(str(written / folder)),
            size=(16, 16),
            channels=model.channels,
            class_names=model.class_names,
            num_classes=model.num_classes,
        )
        assert samples.labels is not None
        return model, samples.images(), samples.labels

    return open_


def left(found: Any) -> tuple[int, int, str | None]:
    """Images right before, those that stand, and the bound."""
    standing = found.attacked & ~found.success
    return int(found.attacked.sum()), int(standing.sum()), found.figures["bound"]


def checked(model: ostrich.Classifier, images: Tensor, labels: Tensor, **options: Any) -> Any:
    gates = ["linf:8/255=0.5", "linf:16/255=0.5"]
    probes = "robustness,worst-case"
    return ostrich.check(model, (images, labels), images=18, only=probes, fail_under=gates, **options)


def figures(check: Any) -> list[tuple[int, int, str | None]]:
    """At 8/255 and 16/255: n, how many stand, and the bound."""
    known = {round(255 * one["eps"]): one for one in check.figures["robustness"] if one["norm"] == "linf"}
    found = [known[8], known[16]]
    return [(one["n"], round(one["robust_accuracy"] * one["n"]), one["bound"]) for one in found]


def codes(result: Any) -> set[str]:
    return {one["code"] for one in result.figures["findings"]}


def truth(name: str) -> tuple[int, int]:
    """How many images there are, and how many stand at 8/255."""
    return (12, 10) if name in TWO else BANDS.get(name, (18, 14))


@pytest.mark.parametrize("name", [*SLOPED, *FLAT, *TWO, *BANDS])
def test_figures_gates_and_findings(opened, name):
    count, kept = truth(name)
    model, images, labels = opened(name)
    by_gradient = left(ostrich.attack("pgd", model, images, labels, eps=8 / 255))
    assert by_gradient == ((count, count, None) if name in FLAT else (count, kept, "upper"))
    by_scores = left(ostrich.attack("square", opened(name)[0], images, labels, eps=8 / 255, queries=600))
    kept_by_scores = 13 if name == "coarse_input" else kept  # another function, a staircase
    assert by_scores == (count, kept_by_scores, None if name == "hard_vote" else "upper")
    by_labels = left(ostrich.attack("rays", opened(name)[0], images, labels, eps=8 / 255, queries=1000))
    assert by_labels == (count, kept, "upper")
    check = checked(opened(name)[0], images, labels)
    assert figures(check) == [(count, kept_by_scores, "upper"), (count, 0, "upper")]
    assert [gate["passed"] for gate in check.gates] == [True, False]
    assert codes(ostrich.doctor(opened(name)[0], (images, labels))) == FOUND.get(name, set())


def test_without_an_answer_none_is_right(opened):
    model, images, labels = opened("not_a_number")
    assert left(ostrich.attack("pgd", model, images, labels, eps=8 / 255)) == (12, 9, "upper")
    assert figures(checked(model, images, labels)) == [(18, 9, "upper"), (18, 0, "upper")]
    assert codes(ostrich.doctor(model, (images, labels))) == {"not-finite-output"}


def test_in_eight_bits_by_a_surrogate(opened, shared):
    lent = {"surrogate": f"{shared / 'strangers/networks.py'}:dynamic_int8_float"}
    model, images, labels = opened("dynamic_int8")
    with pytest.raises(InputError, match="--surrogate"):
        ostrich.attack("pgd", model, images, labels)
    assert left(ostrich.attack("pgd", model, images, labels, eps=8 / 255, **lent)) == (18, 14, "upper")
    assert left(ostrich.attack("square", model, images, labels, eps=8 / 255, queries=600))[1] == 14
    assert figures(checked(model, images, labels, **lent)) == [(18, 14, "upper"), (18, 0, "upper")]


def test_several_labels_are_refused_or_said(opened):
    with pytest.raises(InputError, match="several classes can be true at once"):
        opened("multi_label")[0].probe()
    model, images, labels = opened("multi_label", output="logits")
    assert figures(checked(model, images, labels)) == [(18, 14, "upper"), (18, 0, "upper")]
    assert codes(ostrich.doctor(model, (images, labels))) == {"sigmoid-as-logits"}


def test_answers_that_depend_on_the_batch_pass_no_gate(opened):
    model, images, labels = opened("batch_statistics")
    assert left(ostrich.attack("pgd", model, images, labels, eps=8 / 255))[2] is None
    check = checked(model, images, labels)
    assert [bound for *_, bound in figures(check)] == [None, None]
    assert not any(gate["passed"] for gate in check.gates)
    assert "batch-dependent-output" in codes(ostrich.doctor(model, (images, labels)))


@pytest.mark.parametrize("name", RANDOM)
def test_random_answers_pass_no_gate_and_claims_fool_in_most_draws(opened, name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, images, labels = opened(name)
        assert model.draws == 20
        found = ostrich.attack("pgd", model, images, labels, eps=16 / 255)
        assert found.success.any()
        changed, classes = found.images[found.success], labels[found.success]
        with torch.no_grad():
            fooled = torch.stack([model.network(changed).argmax(1) != classes for _ in range(100)])
        assert (fooled.double().mean(0) > 0.5).all()
        check = checked(model, images, labels)
        assert [bound for *_, bound in figures(check)] == [None, None]
        assert not any(gate["passed"] for gate in check.gates)
        assert "stochastic-output" in codes(ostrich.doctor(model, (images, labels)))
