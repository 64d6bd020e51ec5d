"""Strangers cannot make the server take memory: its own, measured from outside, while they try."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.playground_memory import AT_ONCE, MOST, strained

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc"),
]


def test_strangers_are_refused_or_bounded(tmp_path: Path) -> None:
    found = strained("zoo:toybox-resnet20", str(tmp_path))
    assert {what: round(more) for what, (more, _) in found.items() if more > MOST} == {}
    came = {what: answered for what, (_, answered) in found.items()}
    for what, answered in came.items():
        if isinstance(answered, dict):
            assert sum(answered.values()) == AT_ONCE, what
            assert set(answered) <= {200, 503}, what
            assert answered[503] > 0, what
    refused = [answered for what, answered in came.items() if what.startswith(("a picture of", "more bytes"))]
    assert refused == [400, 400] or refused == [400, 0]  # the line may be cut before all bytes are sent
