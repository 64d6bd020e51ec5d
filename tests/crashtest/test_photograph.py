"""The demo's real network: a photograph of a cat becomes an ostrich."""

from __future__ import annotations

import nets
import pytest

from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.probes import photograph
from ostrich.data.dataset import Samples
from ostrich.models import packaged


def context_of(folder):
    classifier, images = nets.small(), nets.random_images(4)
    samples = Samples.of(images, nets.predictions(classifier, images))
    return Context(classifier=classifier, samples=samples, folder=folder, model_words=[], data_words=[])


@pytest.mark.slow
@pytest.mark.skipif(not packaged.is_installed(), reason="needs the package of the weights: extra imagenet")
def test_two_levels_of_255_make_the_cat_an_ostrich(tmp_path):
    context = context_of(tmp_path)
    answer = photograph.probe(context)
    assert answer.figures["success"]
    assert answer.figures["budget"] <= 2 / 255
    (pair,) = answer.blocks[0].items
    assert "cat" in pair.before[0][0] or pair.before[0][0] == "tabby"
    assert pair.after[0][0] == "ostrich"
    assert [one.title for one in answer.blocks[1].items] == [
        "Grad-CAM, photograph",
        "Grad-CAM, changed",
        "what it looks for: ostrich",
        "certain of noise",
    ]
    assert all((tmp_path / file).is_file() for file in context.saved)
    assert 0 < answer.figures["buses"] <= answer.figures["of"]


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "package_file", lambda package, file: None)
    with pytest.raises(CannotRun, match="imagenet"):
        photograph.probe(context_of(tmp_path))
