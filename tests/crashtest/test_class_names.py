"""Probes that ask for classes by name find them as data does: case, blanks, `-` and `_` do not matter."""

from __future__ import annotations

import nets
import pytest
import torch

from ostrich.crashtest.context import CannotRun, Context
from ostrich.crashtest.probes import generated, texture
from ostrich.data.dataset import Samples
from ostrich.models.loading import load


def named(folder, names):
    """The bundled network, its classes called so."""
    classifier = load("zoo:toybox-resnet20")
    classifier.class_names = tuple(names(name) for name in classifier.class_names)
    samples = Samples.of(nets.random_images(2, (64, 64)), torch.tensor([0, 1]))
    return Context(classifier=classifier, samples=samples, folder=folder, model_words=[], data_words=[])


@pytest.mark.slow
def test_generated_images_are_asked_for_by_the_names_as_a_network_spells_them(tmp_path):
    spellings = (str, lambda name: name.title().replace(" ", "_"))
    same, spelt = (generated.probe(named(tmp_path, names)) for names in spellings)
    assert same.figures == spelt.figures
    assert same.figures["as_asked"] > 0.5


def test_what_is_one_class_of_several_is_not_asked_for(tmp_path):
    alike = named(tmp_path, lambda name: "ostrich")
    with pytest.raises(CannotRun, match="does not know"):
        generated.probe(alike)
    with pytest.raises(CannotRun, match="None of its classes"):
        texture.known_object(alike)


def test_a_painted_object_is_found_by_the_name_as_a_network_spells_it(tmp_path):
    spellings = (str, lambda name: name.replace(" ", "-").upper())
    plain, spelt = (texture.known_object(named(tmp_path, names)) for names in spellings)
    assert plain == spelt
