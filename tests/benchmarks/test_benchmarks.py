"""The harness of the benchmarks: who is measured how often, what is compared, what is kept."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.bench")


def row(bench: ModuleType, contestants: dict[str, Callable[[], Tensor]], **more: object):
    return bench.Row(
        name="Counting",
        setting="Nothing",
        contestants=contestants,
        judge=lambda found: {"sum": found.sum().item()},
        work=8,
        **more,
    )


def calls_of(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[list[str], dict]:
    """Who ran, where each contestant takes so long by the clock."""
    calls, now = [], [0.0]

    def contestant(name: str) -> Callable[[], Tensor]:
        def run() -> Tensor:
            calls.append(name)
            now[0] += seconds
            return torch.ones(3)

        return run

    monkeypatch.setattr(bench.gc, "collect", lambda: 0)
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(bench.time, "process_time", lambda: now[0])
    three = {name: contestant(name) for name in ("ostrich", "a", "b")}
    return calls, bench.measure(row(bench, three), rounds=4)


def test_rounds_are_interleaved_and_the_first_is_dropped(bench, monkeypatch):
    calls, measured = calls_of(bench, monkeypatch, seconds=1.0)
    assert len(calls) == 3 * 5
    assert [calls[i] for i in range(0, 15, 3)] == ["ostrich", "a", "b", "ostrich", "a"]
    assert all(m.cpu == [1.0] * 4 and m.verdict == {"sum": 3.0} for m in measured.values())


def test_long_rounds_are_fewer_and_all_count(bench, monkeypatch):
    calls, measured = calls_of(bench, monkeypatch, seconds=31.0)
    assert len(calls) == 3 * bench.FEWER
    assert all(m.cpu == [31.0] * bench.FEWER for m in measured.values())


def test_times_are_compared_by_work(bench):
    measured = {
        "ostrich": bench.Measured(cpu=[2.0, 1.0, 9.0], wall=[1.0], verdict={"success": 1.0}),
        "slow": bench.Measured(cpu=[1.0], wall=[1.0], verdict={"success": 0.5}),
        "quick": bench.Measured(cpu=[4.0], wall=[1.0], verdict={"success": 0.25}),
    }
    contestants = dict.fromkeys(measured, lambda: torch.ones(1))
    text = bench.table(row(bench, contestants, few={"slow": 1}, missing=("absent",)), measured)
    cells = {
        line[0]: line[1:] for line in re.findall(r"^\| " + r" \| ".join(["(.*?)"] * 7) + r" \|$", text, re.M)
    }
    # 8 images in 2 s, 1 in 1 s, 8 in 4 s: 4, 1 and 2 a second; the quickest that is not ours has 2
    assert cells["ostrich"] == ("2", "1-9", "1", "4", "2.00", "1")
    assert cells["slow"][3:5] == ("1", "0.50")
    assert cells["quick"][3:5] == ("2", "1.00")
    assert "Not installed: absent." in text


def test_a_new_section_replaces_its_own_alone(bench):
    first, last = bench.ROWS[0], bench.ROWS[-1]
    text = bench.merged("", last, "## Last\n\nold\n")
    text = bench.merged(text, first, "## First\n")
    text = bench.merged(text, last, "## Last\n\nnew\n")
    assert "old" not in text
    assert text.index("## First") < text.index("## Last") < text.index("new")
    assert text.startswith(bench.HEAD)
    assert bench.merged(text, last, "## Last\n\nnew\n") == text


def test_every_row_is_a_file(bench, monkeypatch):
    for name in bench.ROWS:
        assert callable(importlib.import_module(f"benchmarks.{name}").rows)


def test_the_results_are_of_rows_that_exist_and_complete(bench):
    text = bench.RESULTS.read_text(encoding="utf-8")
    found = re.findall(r"<!-- row (\S+) -->", text)
    assert found == [name for name in bench.ROWS if name in found] != []
    assert text.count("Measured 2") == len(found)
    assert "Not installed" not in text
