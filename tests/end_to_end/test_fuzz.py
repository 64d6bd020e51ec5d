"""The first cases of `tests/helpers/fuzz.py`, and that it can tell what is against its rule."""

from __future__ import annotations

import json

import fuzz
import pytest

from ostrich.runtime import runs


def test_commands_leave_as_they_are_to_whatever_they_are_given():
    assert fuzz.fuzz(0, range(140)) == []


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["attack"], fuzz.Left(3, "", "ostrich: a fault of ours")),
        (["attack"], fuzz.Left(1, "", "")),
        (["check"], fuzz.Left(2, "", "Usage:")),
        (["check"], fuzz.Left(0, "", "Traceback")),
    ],
)
def test_a_command_that_leaves_otherwise_is_found(words, left):
    assert fuzz.wrong(words, left)
    assert fuzz.wrong(["check"], fuzz.Left(1, "", "")) is None


def test_damage_that_is_not_noticed_is_found(monkeypatch):
    """With checksums that are not compared, a damaged run ends with other results."""
    monkeypatch.setattr(
        runs, "read_json", lambda path, checked=True: json.loads(path.read_text(encoding="utf-8"))
    )
    found = fuzz.fuzz(0, range(6, 7 * 120, 7))
    assert any("another difference" in text for text in found)
