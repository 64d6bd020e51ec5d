"""Networks as strangers have them, from the shared kit: judged as the closed form of `colour` says.

An image whose two strongest channel means differ by m falls within Linf eps exactly where eps > m / 2: of 18
stand 14 at 8/255, and of the 12 of two classes as many as of the twin with two logits.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ostrich
from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.decision_based.rays import RayS
from ostrich.attacks.gradient.pgd import PGD
from ostrich.attacks.score_based.square import Square
from ostrich.data import loading as datasets
from ostrich.data.files import class_folders
from ostrich.errors import InputError
from ostrich.models.answers import predictions
from ostrich.models.answers import right as correct

BUDGET = ostrich.Linf(8 / 255)
SLOPED = (  # as `colour`, and with a gradient
    *("half", "double", "in_a_tuple", "in_a_dict", "in_an_object", "one_by_one_map", "batch_of_four"),
    *("saturated", "log_softmax_saturated", "softmax_out"),
)
ONE = ("one_logit", "one_logit_flat", "one_sigmoid")


def standing(
    spec: str, written: Path, method: InputSpecificAttack, folder: str = "named", names: str = "classes.txt"
) -> tuple[int, int]:
    """How many are right before, and how many stand after the attack."""
    model = ostrich.load(spec, size=16, classes=written / names)
    samples = datasets.load(
        class_folders(str(written / folder)),
        size=(16, 16),
        channels=model.channels,
        class_names=model.class_names,
    )
    assert samples.labels is not None
    images, labels = samples.images(), samples.labels
    right = correct(predictions(model.predict(images)), labels)
    goal = ostrich.Untargeted(labels)
    found = ostrich.attacks.attack(method, model, images, goal, labels=labels)
    return int(right.sum()), int((right & ~found.success).sum())


@pytest.mark.parametrize("name", SLOPED)
def test_read_as_its_scores_it_falls_as_the_closed_form_says(shared, written, name):
    spec = f"{shared / 'strangers/networks.py'}:{name}"
    assert standing(spec, written, PGD(threat=BUDGET)) == (18, 14)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*quant")  # torch moves it to another package
@pytest.mark.parametrize("name", ["softmax_out", "static_int8"])
def test_without_a_slope_square_finds_them(shared, written, name):
    spec = f"{shared / 'strangers/networks.py'}:{name}"
    assert standing(spec, written, Square(threat=BUDGET)) == (18, 14)


@pytest.mark.parametrize("name", ONE)
def test_one_output_is_the_twin_of_two_logits(shared, written, name):
    two = {"folder": "two", "names": "classes-two.txt"}
    found, twin = (
        standing(f"{shared / 'strangers/networks.py'}:{one}", written, PGD(threat=BUDGET), **two)
        for one in (name, "two_logits")
    )
    assert found == twin
    assert found[1] < found[0] == 12


def test_classes_that_are_switched_off_change_nothing(shared, written):
    spec = f"{shared / 'strangers/networks.py'}:masked_classes"
    assert standing(spec, written, PGD(threat=BUDGET), names="classes-five.txt") == (18, 14)


def test_no_answer_is_a_wrong_answer(shared, written):
    spec = f"{shared / 'strangers/networks.py'}:not_a_number"
    assert standing(spec, written, PGD(threat=BUDGET))[0] == 12


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "kept"), [(6, 18), (8, 14), (10, 8), (12, 4), (16, 0)])
@pytest.mark.parametrize("name", ["no_gradient", "hard_vote"])
def test_labels_alone_find_them_all(shared, written, name, levels, kept):
    spec = f"{shared / 'strangers/networks.py'}:{name}"
    assert standing(spec, written, RayS(threat=ostrich.Linf(levels / 255), queries=4000)) == (18, kept)


def test_what_cannot_be_judged_is_said(shared):
    kit = shared / "strangers/networks.py"
    with pytest.raises(InputError, match="several classes can be true at once"):
        ostrich.load(f"{kit}:multi_label", size=16)
    depends = ostrich.load(f"{kit}:batch_statistics", size=16)
    assert "depends on the others" in (depends.neighbours or "")
    assert ostrich.load(f"{kit}:noisy", size=16).neighbours is None
    masked = ostrich.load(f"{kit}:masked_classes", size=16)
    assert torch.isinf(masked.predict(torch.rand(2, 3, 16, 16))).any()


@pytest.mark.filterwarnings("ignore:.*quant")  # torch moves it to another package
def test_scales_of_the_batch_are_avoided(shared):
    model = ostrich.load(f"{shared / 'strangers/networks.py'}:dynamic_int8", size=16)
    assert (model.batch, model.access) == (1, "scores")


@pytest.mark.parametrize(("name", "channels"), [("four_channels", 4), ("eleven_channels", 11)])
def test_bands(shared, written, name, channels):
    model = ostrich.load(f"{shared / 'strangers/networks.py'}:{name}", size=16)
    data = class_folders(str(written / f"bands{channels}"))
    samples = datasets.load(data, size=(16, 16), channels=channels, num_classes=channels)
    assert torch.equal(model.predict(samples.images()).argmax(1), torch.arange(channels))
    with pytest.raises(InputError, match=f"takes {channels} channels"):
        datasets.load(class_folders(str(written / "named")), size=(16, 16), channels=channels)
