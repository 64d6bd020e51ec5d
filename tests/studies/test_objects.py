"""The study `objects`: what is drawn, painted and judged, and the rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ostrich.data.meshes import toybox, views_of
from ostrich.errors import InputError
from ostrich.models import load
from ostrich.studies import find
from ostrich.studies.objects import APART, BLOCK, Settings, look_at, paint
from ostrich.studies.schema import Done

SPEC = Settings(
    network="zoo:toybox-resnet20",
    objects=("school bus", "ostrich"),
    views=5,
    budgets=(128,),
    fit=6,
    held_out=8,
    epochs=1,
)


def test_untouched_views_are_the_same_in_every_run_and_others_for_each_seed(tmp_path):
    classifier = load(SPEC.network, device="cpu")
    rows = look_at(SPEC, {"seed": 1, "kind": "seen", "object": "ostrich"}, classifier, tmp_path)
    assert [row["view"] for row in rows] == [5, 6, 7, 8, 9]
    views = views_of(toybox("ostrich"), range(5, 10), (64, 64), 3)
    said = [classifier.class_name(int(k)) for k in classifier.predict(views.untouched).argmax(1)]
    assert [row["said"] for row in rows] == said
    assert [row["right"] for row in rows] == [name == "ostrich" for name in said]


def test_what_is_painted_is_judged_on_views_that_it_was_not_fitted_on(tmp_path):
    classifier = load(SPEC.network, device="cpu")
    rows = paint(SPEC, {"seed": 2, "kind": "painted", "eps": 128}, classifier, tmp_path)
    first = APART + 2 * BLOCK + SPEC.fit
    assert rows
    assert {row["view"] for row in rows} <= set(range(first, first + SPEC.held_out))
    views = views_of(toybox("school bus"), [row["view"] for row in rows], (64, 64), 3)
    said = classifier.predict(views.untouched).argmax(1)
    assert (said == classifier.class_index("school bus")).all()  # only what was recognised is judged
    assert all(row["broken"] == (row["said"] == "ostrich") for row in rows)
    assert not (tmp_path / "fitting.checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("broken", "count", "verdict"),
    [
        (95, 110, "reproduced"),
        (60, 90, "direction only"),
        (90, 110, "direction only"),
        (40, 110, "not reproduced"),
    ],
)
def test_the_rule(broken, count, verdict):
    study = find("objects")
    rows = [{"view": i, "broken": i < broken, "wrong": i < broken, "said": "ostrich"} for i in range(count)]
    seen = [{"view": 0, "right": True, "said": "school bus"}]
    done = [
        Done(trial={"seed": 0, "kind": "painted", "eps": 128}, rows=rows, folder=Path()),
        *(
            Done(trial={"seed": 0, "kind": "seen", "object": name}, rows=seen, folder=Path())
            for name in SPEC.objects
        ),
    ]
    found = study.judge(SPEC, done)
    assert found.verdict == verdict
    assert f"{100 * broken / count:.1f}" in found.because


def test_more_views_than_there_are_is_refused():
    with pytest.raises(InputError, match="1000 views"):
        Settings(fit=900, held_out=200)
    with pytest.raises(InputError, match="at least"):
        Settings(views=0)
    assert torch.equal(  # views do not depend on which others are drawn
        views_of(toybox("airship"), [3], (32, 32), 3).untouched,
        views_of(toybox("airship"), [1, 3], (32, 32), 3).untouched[1:],
    )
