"""What stands behind settings of our own: the page has every choice, rivals do what they are said to do."""

from __future__ import annotations

import re

import nets
import torch

import ostrich
from benchmarks.choices import CHOICES, RESULTS, FromTheOriginal, section
from ostrich.attacks.minimum_norm.cw import to_images, to_space


def test_the_page_has_a_table_of_every_choice():
    assert re.findall(r"<!-- row (\S+) -->", RESULTS.read_text()) == list(CHOICES)


def test_a_section_shows_what_was_found():
    shown = section(CHOICES["cw"], "cw", {"ours": {"median L2": 0.25}, "theirs": {"median L2": 0.5}})
    assert "| ours | 0.25 |\n| theirs | 0.5 |" in shown
    assert "`python -m benchmarks.choices cw`" in shown


def test_rounds_of_the_rival_of_cw_begin_at_the_original():
    classifier, images = nets.small(), nets.random_images(3)
    begun: list[bool] = []
    before = torch.zeros(3, dtype=torch.int64)

    def watch(_step: int, state: object) -> None:
        fresh = state.round > before[: len(state.round)]
        before[: len(state.round)] = state.round
        begun.extend(torch.equal(state.images[i], to_images(to_space(images[i]))) for i in fresh.nonzero())

    method = FromTheOriginal(constants=3, iterations=4, learning_rate=0.1, abort=False)
    goal = ostrich.Untargeted(nets.predictions(classifier, images))
    ostrich.attacks.attack(method, classifier, images, goal, watch=watch, active_set=False)
    assert begun
    assert all(begun)
